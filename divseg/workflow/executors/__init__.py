"""Who does the work: this process, several processes on this machine, or a dask cluster.

An executor is given one picklable piece of work and many items, and yields what becomes of each item in the order in
which they are finished. It neither reads nor writes files, and it does not look inside the items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from divseg.errors import ConfigError
from divseg.specs import Number, Option, canonical, read_options, split_spec, unknown


class Work(Protocol):
    """What is done to each item; picklable, and sent once to each worker."""

    def __call__(self, item: Any, tell: Callable[[str], None]) -> Any:
        """Do one item.

        Parameters
        ----------
        item : object
            Picklable.
        tell : callable
            Takes a line of text about how far the item has come.

        Returns
        -------
        object
            Picklable; becomes :attr:`Done.value`.
        """


@dataclass(frozen=True)
class Done:
    """An item is finished.

    Attributes
    ----------
    index : int
        Position of the item in the sequence.
    value : object
        What the work returned.
    """

    index: int
    value: Any


@dataclass(frozen=True)
class Progress:
    """How far an item has come.

    Attributes
    ----------
    index : int
        Position of the item in the sequence.
    text : str
        What the work said.
    """

    index: int
    text: str


@dataclass(frozen=True)
class Lost:
    """An item that cannot be done because its workers died, each time that it was tried.

    Attributes
    ----------
    index : int
        Position of the item in the sequence.
    error : str
        How they died and what to do about it, one line.
    """

    index: int
    error: str


Event: TypeAlias = Done | Progress | Lost
Listener: TypeAlias = Callable[[Progress], None]


class Executor(Protocol):
    """Does work on many items.

    Attributes
    ----------
    name : str
        Canonical string, for example ``"processes"`` or ``"dask,workers=4"``.
    workers : int
        How many items are worked on at once.
    """

    name: str
    workers: int

    def run(self, work: Work, items: Sequence[Any], listen: Listener | None = None) -> Iterator[Event]:
        """Do the work on all items.

        Closing the iterator, or an exception such as KeyboardInterrupt while it waits, ends the workers at once.

        Parameters
        ----------
        work : Work
            What is done to each item.
        items : sequence
            The items.
        listen : callable, optional
            Takes each :class:`Progress` as soon as it is there; it is then not among what is yielded. In this process
            an iterator cannot yield in the middle of an item, so without `listen` the serial executor yields the
            progress of an item only when the item is finished.

        Yields
        ------
        Done, Progress or Lost
            One Done or Lost for each item, in the order in which they are finished.

        Raises
        ------
        Exception
            Whatever the work raises, also in another process. The rest of the items is given up.
        """


@dataclass(frozen=True)
class _Text:
    """Any text, such as an address."""

    def read(self, text: str) -> str:
        return text

    def show(self, value: str) -> str:
        return value


METHODS: dict[str, dict[str, Option]] = {
    "serial": {},
    "processes": {},
    "dask": {
        "address": Option(_Text(), None, "address of a scheduler that runs already, such as tcp://10.0.0.1:8786"),
        "scheduler_file": Option(_Text(), None, "file in which a scheduler has written its address"),
        "workers": Option(Number(1, whole=True), None, "how many processes to start on this machine"),
    },
}
"""Executors and their options."""


def make_executor(text: str = "serial", jobs: int | None = None, gpus: int = 0) -> Executor:
    """Return the executor that a string names.

    Parameters
    ----------
    text : str
        ``"serial"``: one item after the other in this process. ``"processes"``: `jobs` processes on this machine.
        ``"dask"``: `jobs` dask workers on this machine (``"dask,workers=2"`` says how many), or the cluster of
        ``"dask,address=tcp://..."`` or ``"dask,scheduler_file=..."`` with all its workers.
    jobs : int, optional
        How many items to work on at once; the number of GPUs if it is left out, 1 where there is none. The CPU's
        cores are shared out among them.
    gpus : int
        How many CUDA GPUs the worker processes of this machine use: each process sees one of them.

    Returns
    -------
    Executor

    Raises
    ------
    ConfigError
        Unknown executor or option, less than one job, or no dask scheduler that answers.
    ExtraRequired
        If dask is not installed.

    Examples
    --------
    >>> from divseg.workflow.executors import make_executor
    >>> def double(item, tell):
    ...     return 2 * item
    >>> list(make_executor("serial").run(double, [3, 4]))
    [Done(index=0, value=6), Done(index=1, value=8)]
    """
    method, pairs = split_spec(text, "executor", "processes")
    if method not in METHODS:
        raise unknown("executor", method, METHODS)
    values = read_options(method, pairs, METHODS[method], what="executor")
    if jobs is not None and jobs < 1:
        raise ConfigError(f"jobs is {jobs}, but must be at least 1: it is how many images are worked on at once")
    count = jobs or max(1, gpus)
    if method == "serial":
        if count > 1:
            raise ConfigError(f"executor serial does one image at a time: for {count} jobs choose executor processes")
        from divseg.workflow.executors.serial import SerialExecutor

        return SerialExecutor()
    if method == "processes":
        from divseg.workflow.executors.processes import ProcessExecutor

        return ProcessExecutor(count, gpus)
    from divseg.workflow.executors.cluster import DaskExecutor

    if values["address"] and values["scheduler_file"]:
        raise ConfigError(f"executor {text!r}: give either address or scheduler_file, not both")
    if values["workers"] and (values["address"] or values["scheduler_file"]):
        raise ConfigError(f"executor {text!r}: the cluster has its own workers; leave out workers")
    name = canonical(method, values, METHODS[method])
    return DaskExecutor(name, values["address"], values["scheduler_file"], values["workers"] or count)
