"""Work for worker processes, in a module that they can import."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from divseg.errors import OutputError
from divseg.workflow.executors import Spent


def double(item, tell):
    tell(f"doubling {item}")
    return 2 * item


def wait_for(condition):
    """Wait until it is true, for at most a minute."""
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.01)


@dataclass(frozen=True)
class Meet:
    """Return process and environment as soon as two processes are at work."""

    folder: Path

    def __call__(self, item, tell):
        (self.folder / str(os.getpid())).touch()
        wait_for(lambda: len(list(self.folder.iterdir())) == 2)
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
        return os.getpid(), {name: os.environ.get(name) for name in (*names, "CUDA_VISIBLE_DEVICES")}


@dataclass(frozen=True)
class Blocked:
    """Leave a mark for each item and wait for a file; None is done at once."""

    begun: Path
    go: Path

    def __call__(self, item, tell):
        if item is not None:
            (self.begun / str(item)).touch()
            wait_for(self.go.exists)


def show(item, tell):
    return repr(item)


def until_there(item, tell):
    if item is not None:
        wait_for(item.exists)
    return item


def forever(item, tell):
    tell(str(os.getpid()))
    while True:
        time.sleep(0.01)


@dataclass(frozen=True)
class Killer:
    """Kill the own process on odd items, the first `times` times that each is tried."""

    folder: Path
    times: int
    signal: int = getattr(signal, "SIGKILL", signal.SIGTERM)

    def __call__(self, item, tell):
        if item % 2:
            tries = len(list(self.folder.glob(f"{item}_*")))
            (self.folder / f"{item}_{tries}").touch()
            if tries < self.times:
                os.kill(os.getpid(), self.signal)
                time.sleep(60)
        return item


class Peculiar(Exception):
    """Cannot be pickled and made again: its arguments are not what it is made of."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def fail(item, tell):
    if item == "output":
        raise OutputError("disk full")
    if item == "file":
        from divseg.errors import FileProblem

        raise FileProblem("a.tif", "it is empty", "leave it out")
    if item == "peculiar":
        raise Peculiar(1, 2)
    if item == "exit":
        os._exit(3)
    if item == "result":
        return lambda: None
    return item


class Unreadable:
    """Work that cannot be unpickled."""

    def __call__(self, item, tell):
        return item

    def __reduce__(self):
        return _broken, ()


def _broken():
    raise ValueError("not readable here")


def spend(item, tell):
    """Return item and process; a process can do no more after "last"."""
    if item == "last":
        raise Spent((item, os.getpid()), "the device failed")
    return item, os.getpid()
