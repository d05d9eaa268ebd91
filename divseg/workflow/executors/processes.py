"""Worker processes on this machine.

A pool of its own, because those of the standard library give up as soon as one process dies, and on large images
processes do die: the kernel kills them where memory runs out. Here the item is done again by a new process.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from typing import Any

from divseg.errors import DivsegError
from divseg.workflow.executors.contract import Done, Event, Listener, Lost, Progress, Spent, Work
from divseg.workflow.executors.environment import environment, one_gpu, thread_limits

ATTEMPTS = 3
"""How often an item is tried whose worker process dies."""


class ProcessExecutor:
    """Hands each item to the next free process; see :class:`divseg.workflow.executors.Executor`.

    The processes are daemons of :mod:`multiprocessing`: they end with this one, however it ends, and work in them
    cannot use multiprocessing itself.

    Parameters
    ----------
    workers : int
        Number of processes. Each has its share of the CPU's cores for the threads of torch, Numba and BLAS.
    gpus : int
        If above 0, process i sees only the CUDA GPU i modulo `gpus`.
    """

    name = "processes"

    def __init__(self, workers: int = 1, gpus: int = 0) -> None:
        self.workers, self.gpus = workers, gpus

    def run(self, work: Work, items: Sequence[Any], listen: Listener | None = None) -> Iterator[Event]:
        """Do the work on all items.

        Raises
        ------
        DivsegError
            If the processes cannot start.
        """
        payload = pickle.dumps(work, protocol=5)
        queue = deque(range(len(items)))
        deaths: Counter[int | None] = Counter()
        pool: list[_Worker] = []
        finished = False
        try:
            for slot in range(min(self.workers, len(items))):
                pool.append(self._start(slot))
            while queue or any(worker.index is not None for worker in pool):
                for worker in pool:
                    if queue and worker.ready and worker.index is None:
                        index = queue.popleft()
                        worker.give(index, items[index])
                signs = wait([sign for worker in pool for sign in (worker.pipe, worker.process.sentinel)])
                for worker in [w for w in pool if w.pipe in signs or w.process.sentinel in signs]:
                    match worker.receive():
                        case ("ready",):
                            worker.start_with(payload)
                        case ("told", index, text):
                            progress = Progress(index, text)
                            if listen is None:
                                yield progress
                            else:
                                listen(progress)
                        case ("done", index, value):
                            worker.index = None
                            yield Done(index, value)
                        case ("raised", error, text):
                            raise _exception(error, text)
                        case None:
                            pool.remove(worker)
                            lost = _bury(worker, deaths, queue)
                            if lost is not None:
                                yield lost
                            if sum(w.index is None for w in pool) < len(queue):
                                pool.append(self._start(worker.slot))
            finished = True
        finally:
            for worker in pool:
                worker.end(at_once=not (finished and worker.ready))

    def _start(self, slot: int) -> _Worker:
        return _Worker(slot, {**thread_limits(self.workers), **one_gpu(slot, self.gpus)})


class _Worker:
    """The near end of a worker process."""

    def __init__(self, slot: int, variables: Mapping[str, str]) -> None:
        context: SpawnContext = multiprocessing.get_context("spawn")
        self.slot = slot
        self.ready = False
        self.index: int | None = None  # of the item that it is at
        self.pipe, far_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(far_end,), name=f"divseg-{slot}", daemon=True)
        with environment(variables), _no_interrupt():
            self.process.start()
        # only the worker holds it now, so that its death closes the pipe
        far_end.close()

    def start_with(self, payload: bytes) -> None:
        """Send the work."""
        self.ready = True
        self._send(payload)

    def give(self, index: int, item: Any) -> None:
        """Send an item."""
        message = pickle.dumps((index, item), protocol=5)
        self.index = index
        self._send(message)

    def _send(self, message: bytes) -> None:
        with contextlib.suppress(OSError):  # it has died: the next wait notices
            self.pipe.send_bytes(message)

    def receive(self) -> Any:
        """Return the next message, None if there is none because the process has died."""
        try:
            message = self.pipe.recv_bytes() if self.pipe.poll() else None
        except (EOFError, OSError):
            return None
        return None if message is None else pickle.loads(message)

    def end(self, at_once: bool = False) -> int:
        """End the process; return its exit code, below 0 where a signal ended it.

        Parameters
        ----------
        at_once : bool
            Kill it: it holds nothing but its item. Otherwise it has some seconds for an orderly end.
        """
        self.pipe.close()
        if not at_once:
            self.process.join(5)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        code = self.process.exitcode
        assert code is not None
        return code


def _bury(worker: _Worker, deaths: Counter[int | None], queue: deque[int]) -> Lost | None:
    """Put the item of a dead worker back into the queue, or return it if it was tried often enough.

    Raises
    ------
    DivsegError
        If the process died while it started.
    """
    code, index = worker.end(), worker.index
    if index is None and worker.ready:
        return None
    if index is None and code >= 0:
        raise DivsegError(
            f"a worker process could not start (exit code {code}, its message stands above); a script that uses "
            'several processes must do so under: if __name__ == "__main__":'
        )
    deaths[index] += 1
    if code >= 0:
        cause = f"the worker process ended with exit code {code}"
    else:
        cause = f"the worker process was killed (signal {-code})"
        if code == -9:
            cause += ", perhaps for lack of memory: give fewer --jobs"
    if deaths[index] < ATTEMPTS:
        if index is not None:
            queue.append(index)  # last: when less goes on beside it, memory may suffice
        return None
    if index is None:
        raise DivsegError(f"in each of {ATTEMPTS} attempts to start it {cause}")
    return Lost(index, f"in each of {ATTEMPTS} attempts {cause}")


def _exception(pickled: bytes | None, text: str) -> BaseException:
    """Return the exception that was raised in a worker; one that cannot be pickled becomes a RuntimeError."""
    error: BaseException
    try:
        error = RuntimeError(text) if pickled is None else pickle.loads(pickled)
    except Exception:
        error = RuntimeError(text)
    error.add_note(f"In a worker process:\n{text}")
    return error


@contextlib.contextmanager
def _no_interrupt() -> Iterator[None]:
    """Keep Ctrl-C from a process that has not yet come to ignore it; here it is only put off."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # otherwise the first start starts it, and unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# what follows runs in the worker processes


def _serve(pipe: Connection) -> None:
    """Do item after item until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent decides what it means
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, name="divseg-watch", daemon=True).start()
    lock = threading.Lock()  # the work may tell something from any of its threads

    def send(message: tuple[Any, ...]) -> None:
        data = pickle.dumps(message, protocol=5)
        with lock:
            try:
                pipe.send_bytes(data)
            except OSError:  # the parent is gone
                os._exit(1)

    def teller(index: int) -> Callable[[str], None]:
        return lambda text: send(("told", index, text))

    send(("ready",))
    try:
        work: Work | None = None
        while (message := _next(pipe)) is not None:
            if work is None:
                work = pickle.loads(message)
                continue
            index, item = pickle.loads(message)
            try:
                send(("done", index, work(item, teller(index))))
            except Spent as spent:  # the next process goes on
                send(("done", index, spent.value))
                return
    except Exception as error:
        text = traceback.format_exc()
        try:
            send(("raised", pickle.dumps(error, protocol=5), text))
        except Exception:
            send(("raised", None, text))


def _next(pipe: Connection) -> bytes | None:
    try:
        return pipe.recv_bytes()
    except (EOFError, OSError):
        return None


def _end_with_parent() -> None:
    """End this process as soon as its parent has ended, also in the middle of an item."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
