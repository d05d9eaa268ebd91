"""The plan of a job, without doing it: what is done, what is to do, how long it may take, what is left out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from divseg.errors import DivsegError
from divseg.results import Marker, RunStore
from divseg.workflow.engine import Job, Result, perform
from divseg.workflow.progress import LogReporter, Reporter
from divseg.workflow.sharing import Options
from divseg.workflow.stage import RunContext, RunStage, Unit, keys_of_all
from divseg.workflow.unit_work import UnitWork, describe_failure, unchanged_sources


@dataclass(frozen=True)
class Rates:
    """Seconds of each stage, for one unit or the whole run, and bytes of the results of one unit."""

    seconds: dict[str, float]
    bytes: float
    source: str

    @classmethod
    def of(
        cls, store: RunStore, names: Sequence[str], source: str, training: Callable[[RunStore], float] | None
    ) -> Rates | None:
        """Return the rates of what is done in a folder, None if nothing is."""
        markers = [store.read_marker(name) for name in names]
        records = [marker.stages for marker in markers if marker.stages]
        if not records:
            return None
        stages = {name for record in records for name in record}
        seconds = {name: fmean(r[name].seconds for r in records if name in r) for name in stages}
        seconds |= {name: stage.get("seconds", 0.0) for name, stage in store.read_stages().items()}
        if training is not None:
            seconds["model"] = training(store)
        files = [[store.folder / file for stage in record.values() for file in stage.files] for record in records]
        return cls(seconds, fmean(sum(f.stat().st_size for f in each if f.is_file()) for each in files), source)


def carry_out(
    job: Job,
    out: str | os.PathLike[str],
    options: Options | None,
    reporter: Reporter | None,
    notes: Sequence[str] = (),
    *,
    dry_run: bool = False,
    check: Callable[[Any], Any] = lambda unit: None,
    trial: Callable[[Path, Any], Any] | None = None,
    training: Callable[[RunStore], float] | None = None,
) -> Result:
    """Do a job after telling the reporter the notes, or describe what would be done.

    Parameters and errors are those of :func:`divseg.workflow.engine.perform` and of :func:`describe_plan`.
    """
    folder, options, reporter = Path(out).expanduser(), options or Options(), reporter or LogReporter()
    if dry_run:
        return describe_plan(job, folder, options, notes, check=check, trial=trial, training=training)
    for line in notes:
        reporter.say(line)
    return perform(job, folder, options, reporter)


def describe_plan(
    job: Job,
    folder: Path,
    options: Options,
    notes: Sequence[str] = (),
    *,
    check: Callable[[Any], Any] = lambda unit: None,
    trial: Callable[[Path, Any], Any] | None = None,
    training: Callable[[RunStore], float] | None = None,
) -> Result:
    """Describe what would be done; nothing is written.

    Parameters
    ----------
    job : Job
        What would be done.
    folder : Path
        Where results would go.
    options : Options
        How the work would be shared out.
    notes : sequence of str
        What is known of the input.
    check : callable, optional
        Raises DivsegError for a unit that the work would fail on.
    trial : callable, optional
        Does the work in a folder on a unit, for the rates, if there is no earlier run: ``trial(folder, unit)``.
    training : callable, optional
        Returns the seconds that training will take, given the folder of an earlier run or of the trial.

    Returns
    -------
    Result
        Without a folder: how many units can be worked on, how many files would be left out, and the plan as text.

    Raises
    ------
    DivsegError
        Wherever the job itself would refuse to begin.
    """
    executor = options.make_executor(len(job.units), job.device)
    redo = job.stages_to_redo(options.redo)
    store = RunStore.existing(folder, job.command)
    failures = [dict(row) for row in job.failures]
    units = []
    for unit in job.units:
        error = _unusable(unit, store, check)
        if error is None:
            units.append(unit)
        else:
            failures.append({"image": unit.name, "file": str(unit.file), "error": error})
    lines = [*notes, *(f"left out: {row['file']}: {row['error']}" for row in failures)]
    if not units:
        return Result(None, 0, len(failures), "\n".join([*lines, "nothing can be done"]))
    to_do = _to_do(job, store, units, failures, redo)
    once = {stage.name for stage in (*job.before, *job.after)}
    for name, count in to_do.items():
        total = 1 if name in once else len(units)
        lines.append(f"{name}: {total - count} done, {count} to do")
    if any(to_do.values()):
        lines += _estimate(job, store, units, to_do, executor.workers, trial, training)
    return Result(None, len(units), len(failures), "\n".join([*lines, "dry run: nothing was written"]))


def _unusable(unit: Unit, store: RunStore | None, check: Callable[[Any], Any]) -> str | None:
    """Return why a unit would be left out; files that an earlier run has worked on are not read again."""
    marker = Marker(unit.name) if store is None else store.read_marker(unit.name)
    if marker.stages and marker.failure is None and len(unchanged_sources(unit, marker)) == len(unit.sources):
        return None
    try:
        check(unit)
        for source in unit.sources:
            unit.fingerprint(source)
    except Exception as error:  # one file never stops a folder, whatever is wrong with it
        return describe_failure("check", error)["error"]
    return None


def _to_do(
    job: Job,
    store: RunStore | None,
    units: Sequence[Unit],
    failures: Sequence[Mapping[str, str]],
    redo: frozenset[str],
) -> dict[str, int]:
    """Return how many units each stage has to be done for, 0 or 1 for stages of the whole run."""
    stages = tuple(job.stages(None))
    after = dict.fromkeys([stage.name for stage in job.after], 1)
    all_units = dict.fromkeys([stage.name for stage in stages], len(units)) | after
    if store is None:
        return dict.fromkeys([stage.name for stage in job.before], 1) | all_units
    keys: dict[str, str] = {}
    counts: dict[str, int] = {}
    context = RunContext(store, list(units), LogReporter(), lambda *_: None)
    for stage in job.before:
        counts[stage.name] = int(1 in counts.values() or not _is_done(stage, context, keys, redo))
    if any(counts.values()):
        return counts | all_units
    stages = tuple(job.stages(context.outcomes))
    work = UnitWork(stages, keys, store.folder, job.command, redo=redo)
    plans = [work.stages_to_do(unit, store) for unit in units]
    counts |= {stage.name: sum(stage.name in plan for plan in plans) for stage in stages}
    if any(counts.values()):
        return counts | after
    keys |= keys_of_all([store.read_marker(unit.name) for unit in units], [stage.name for stage in stages], failures)
    for stage in job.after:
        counts[stage.name] = int(not _is_done(stage, context, keys, redo))
    return counts


def _is_done(stage: RunStage, context: RunContext, keys: dict[str, str], redo: frozenset[str]) -> bool:
    """Tell whether a stage of the whole run is done; if so its outcome is noted."""
    earlier = context.store.read_stages().get(stage.name, {})
    if stage.name in redo or earlier.get("key") != (key := stage.key(keys)):
        return False
    if stage.recall is not None and not stage.recall(context, earlier["outcome"]):
        return False
    keys[stage.name] = stage.outcome_key(key, earlier["outcome"])
    context.outcomes[stage.name] = earlier["outcome"]
    return True


def _estimate(
    job: Job,
    store: RunStore | None,
    units: Sequence[Unit],
    to_do: dict[str, int],
    jobs: int,
    trial: Callable[[Path, Any], Any] | None,
    training: Callable[[RunStore], float] | None,
) -> list[str]:
    names = [unit.name for unit in job.units]
    rates = Rates.of(store, names, "of an earlier run", training) if store is not None else None
    if rates is None and trial is not None:
        with tempfile.TemporaryDirectory(prefix="divseg_") as place:
            try:
                trial(Path(place) / "trial", units[0])
            except DivsegError as error:
                return [f"time and disk: not known, the first image failed ({error})"]
            rates = Rates.of(
                RunStore(Path(place) / "trial", job.command), names, "measured on the first image", training
            )
    if rates is None:
        return ["time and disk: not known before the first image is done"]
    stages = [stage.name for stage in (*job.before, *job.after)]
    once = sum(rates.seconds.get(name, 0.0) * to_do[name] for name in stages if name != "model")
    model = rates.seconds.get("model", 0.0) if to_do.get("model") else 0.0
    unit_stages = [name for name in to_do if name not in stages]
    work = sum(rates.seconds.get(name, 0.0) * to_do[name] for name in unit_stages) / max(jobs, 1)
    size = rates.bytes * max((to_do[name] for name in unit_stages), default=0)
    parts = [f"training {_duration(model)}"] if model else []
    parts += [f"images {_duration(work)}" + (f" with {jobs} jobs" if jobs > 1 else "")]
    lines = [f"time: about {_duration(once + model + work)} ({', '.join(parts)}; rates {rates.source})"]
    if rates.bytes:
        lines.append(f"disk: about {size / 1e6:.1f} MB ({rates.bytes / 1e6:.1f} MB an image)")
    return lines


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
