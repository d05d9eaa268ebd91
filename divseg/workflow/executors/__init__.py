"""Who does the work: this process, several processes on this machine, or a dask cluster.

An executor is given one picklable piece of work and many items, and yields what becomes of each item in the order in
which they are finished. It neither reads nor writes files, and it does not look inside the items.
"""

from __future__ import annotations

from dataclasses import dataclass

from divseg.errors import ConfigError
from divseg.specs import Number, Option, canonical, read_options, split_spec, unknown
from divseg.workflow.executors.contract import Done, Event, Executor, Listener, Lost, Progress, Spent, Work

__all__ = ["Done", "Event", "Executor", "Listener", "Lost", "Progress", "Spent", "Work", "make_executor"]


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
