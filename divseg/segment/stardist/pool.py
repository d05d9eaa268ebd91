"""Worker processes for what the interpreter lock would put behind the network.

Plain child processes with pipes instead of :mod:`multiprocessing`: they do not import the user's main module, they
do not inherit torch's threads or the GPU, and they end by themselves when the parent does. A process runs this module
(``python -m divseg.segment.stardist.pool``): jobs and results are pickles on its standard input and output, and the end
of the input ends it, also if the parent was killed.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import traceback
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np

from divseg.errors import DivsegError
from divseg.labels import LabelImage
from divseg.segment.stardist.objects import Job, find_objects

Idle: TypeAlias = "queue.SimpleQueue[subprocess.Popen[bytes]]"


class Pool:
    """Some processes that turn candidates into objects.

    Parameters
    ----------
    count : int
        Number of processes. They start at once and are usable when :attr:`ready`.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._idle: Idle = queue.SimpleQueue()
        self._children = [_start() for _ in range(count)]
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="divseg-stardist")
        self._starts = [self._threads.submit(_greet, child, self._idle) for child in self._children]
        self._end = weakref.finalize(self, _stop, self._children, self._threads)

    @property
    def ready(self) -> bool:
        """Whether all processes have loaded what they need.

        Raises
        ------
        DivsegError
            If one could not start.
        """
        if not all(start.done() for start in self._starts):
            return False
        for start in self._starts:
            start.result()
        return True

    def submit(self, job: Job) -> Future[LabelImage]:
        """Hand over a job; its result is in the future."""
        return self._threads.submit(_do, job, self._idle)

    def close(self) -> None:
        """End the processes; what is not begun is dropped."""
        self._end()


# functions, not methods: a thread must not keep a pool alive that nobody refers to any more


def _greet(child: subprocess.Popen[bytes], idle: Idle) -> None:
    try:
        _receive(child)
    finally:
        idle.put(child)


def _do(job: Job, idle: Idle) -> LabelImage:
    child = idle.get()
    try:
        assert child.stdin is not None
        pickle.dump(job, child.stdin, protocol=5)
        child.stdin.flush()
        labels = _receive(child)
        assert labels is not None
        return labels
    except (BrokenPipeError, ValueError):
        raise _ended(child) from None
    finally:
        # also one that has ended: whoever gets it next gets the error, and does not wait for ever
        idle.put(child)


def _start() -> subprocess.Popen[bytes]:
    home = str(Path(__file__).parents[3])  # where divseg is imported from
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    # one process is one core's work: the compiled code must not start threads of its own
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "divseg.segment.stardist.pool"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def _receive(child: subprocess.Popen[bytes]) -> LabelImage | None:
    assert child.stdout is not None
    try:
        kind, value = pickle.load(child.stdout)
    except (EOFError, OSError, ValueError, pickle.UnpicklingError):
        raise _ended(child) from None
    if kind == "failed":
        raise DivsegError(f"StarDist's suppression or painting failed in a worker process:\n{value}")
    labels: LabelImage | None = value
    return labels


def _ended(child: subprocess.Popen[bytes]) -> DivsegError:
    try:
        code: int | None = child.wait(5)
    except subprocess.TimeoutExpired:
        code = None
    return DivsegError(
        f"a worker process of StarDist ended with code {code}, perhaps for lack of memory; "
        "use fewer of them (processes=1, or 0 for none)"
    )


def _stop(children: list[subprocess.Popen[bytes]], threads: ThreadPoolExecutor) -> None:
    threads.shutdown(wait=False, cancel_futures=True)
    for child in children:
        child.kill()  # a worker holds nothing but its job
    for child in children:
        child.wait()
    for child in children:
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def serve() -> None:
    """Turn candidates into label images, job after job, until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when work ends
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not get between the pickles
    jobs = sys.stdin.buffer

    # load everything that a job needs before the first one comes
    ray = np.ones((2, 32), np.float32)
    find_objects(Job(ray[:, 0] * 0.5, ray * 3, np.array([[4, 4], [12, 12]]), (16, 16), 0.4))
    _send(answers, ("ready", None))
    while True:
        try:
            job = pickle.load(jobs)
        except EOFError:
            return
        answer: tuple[str, object]
        try:
            answer = ("done", find_objects(job))
        except Exception:
            answer = ("failed", traceback.format_exc())
        _send(answers, answer)


def _send(stream: BinaryIO, answer: tuple[str, object]) -> None:
    try:
        pickle.dump(answer, stream, protocol=5)
        stream.flush()
    except BrokenPipeError:  # the parent is gone
        os._exit(0)


if __name__ == "__main__":
    serve()
