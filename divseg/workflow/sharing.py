"""How work is shared out: one image after the other, several side by side, or a part of them in each of many jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from divseg.device import count_gpus
from divseg.errors import ConfigError
from divseg.workflow.executors import Executor, make_executor
from divseg.workflow.executors.environment import cores

JOBS_PER_GPU = 4
"""Images that share a GPU: while it draws samples of one, the CPU segments and fuses others."""


@dataclass(frozen=True)
class Options:
    """How the work is shared out; the results do not depend on it.

    Attributes
    ----------
    jobs : int, optional
        Units that are worked on at the same time; by default :func:`default_jobs`.
    executor : str, optional
        ``"serial"``, ``"processes"`` or ``"dask"`` with options, see :func:`divseg.workflow.executors.make_executor`;
        processes for several jobs if none is named.
    shard : (int, int), optional
        Work on part I of N alone, I from 1, and leave tables and report to ``divseg finalize``.
    redo : sequence of str
        Stages that are done again.
    finalize : bool
        Only write tables and report of what is done.

    Raises
    ------
    ConfigError
        A shard that is not one of I of N.
    """

    jobs: int | None = None
    executor: str | None = None
    shard: tuple[int, int] | None = None
    redo: Sequence[str] = ()
    finalize: bool = False

    def __post_init__(self) -> None:
        if self.shard is not None and not 1 <= self.shard[0] <= self.shard[1]:
            raise ConfigError(f"shard {self.shard[0]}/{self.shard[1]}: give I/N with I from 1 to N")

    def make_executor(self, units: int, device: str) -> Executor:
        """Return the executor for so many units, whose stages compute on a device.

        Raises
        ------
        ConfigError
            As :func:`divseg.workflow.executors.make_executor`.
        """
        gpus = 0 if device == "cpu" or self.executor == "serial" else count_gpus()
        jobs = self.jobs
        if jobs is None and self.executor in (None, "processes"):
            of_one = self.shard[1] if self.shard else 1
            jobs = default_jobs(-(-units // of_one), gpus, cores())
        # a worker sees the one GPU that is its own; of a GPU that was named it must see the number
        spread = gpus if device in ("auto", "cuda") else 0
        return make_executor(self.executor or ("processes" if (jobs or 1) > 1 else "serial"), jobs, spread)


def default_jobs(units: int, gpus: int, cores: int) -> int:
    """Return how many units are worked on at the same time if nobody says.

    One on a CPU, whose cores one unit keeps busy. With GPUs four for each, but with two cores for each at least, and
    not more than half of the units: starting a process takes seconds.
    """
    return max(1, min(JOBS_PER_GPU * gpus, cores // 2, units // 2))
