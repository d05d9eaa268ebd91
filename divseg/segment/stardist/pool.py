"""Worker processes for what the interpreter lock would put behind the network.

Plain child processes with pipes instead of :mod:`multiprocessing`: they do not import the user's main module, they
do not inherit torch's threads or the GPU, and they end by themselves when the parent does.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import divseg
from divseg.errors import DivsegError
from divseg.segment.stardist.objects import Job, StarDistObjects

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

    def submit(self, job: Job) -> Future[StarDistObjects]:
        """Hand over a job; its result is in the future."""
        return self._threads.submit(_do, job, self._idle)

    def close(self) -> None:
        """End the processes; what is not begun is dropped."""
        self._end()


# functions, not methods: a thread must not keep a pool alive that nobody holds any more


def _greet(child: subprocess.Popen[bytes], idle: Idle) -> None:
    try:
        _receive(child)
    finally:
        idle.put(child)


def _do(job: Job, idle: Idle) -> StarDistObjects:
    child = idle.get()
    try:
        assert child.stdin is not None
        pickle.dump(job, child.stdin, protocol=5)
        child.stdin.flush()
        found = _receive(child)
        assert found is not None
        return found
    except (BrokenPipeError, ValueError):
        raise _ended(child) from None
    finally:
        # also one that has ended: whoever gets it next is told, and does not wait for ever
        idle.put(child)


def _start() -> subprocess.Popen[bytes]:
    home = str(Path(divseg.__file__).parents[1])
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    # one process is one core's work: the compiled code must not start threads of its own
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "divseg.segment.stardist.worker"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def _receive(child: subprocess.Popen[bytes]) -> StarDistObjects | None:
    assert child.stdout is not None
    try:
        kind, value = pickle.load(child.stdout)
    except (EOFError, OSError, ValueError, pickle.UnpicklingError):
        raise _ended(child) from None
    if kind == "failed":
        raise DivsegError(f"StarDist's suppression or painting failed in a worker process:\n{value}")
    found: StarDistObjects | None = value
    return found


def _ended(child: subprocess.Popen[bytes]) -> DivsegError:
    try:
        code: int | None = child.wait(5)
    except subprocess.TimeoutExpired:
        code = None
    return DivsegError(
        f"a worker process of StarDist ended with code {code}, perhaps for want of memory; "
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
