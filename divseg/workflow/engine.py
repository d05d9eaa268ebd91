"""The engine: the only place that skips, fails, warns, logs, is interrupted, and writes tables and records."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from divseg.device import count_gpus
from divseg.errors import ConfigError, DivsegWarning, InputError
from divseg.io import config_hash
from divseg.results import RunStore
from divseg.results.writer import forget
from divseg.versions import versions
from divseg.workflow.executors import Done, Executor, Lost, Progress, make_executor
from divseg.workflow.lock import exclusive, run_lock
from divseg.workflow.progress import LogReporter, Reporter, logged, terminable
from divseg.workflow.stage import RunContext, RunStage, Stage, Unit, stages_to_redo
from divseg.workflow.unit_work import Outcome, UnitWork, describe_failure

if TYPE_CHECKING:
    from divseg.results.open_run import Run

log = logging.getLogger("divseg")

Outcomes = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Job:
    """What a command does, as lists of stages and units.

    Attributes
    ----------
    command : str
        Name of the command.
    units : sequence of Unit
        In the order of the tables.
    stages : callable
        Returns the stages of each unit, given the outcomes of the stages of the whole run; None if these are not done.
    before : sequence of RunStage
        Stages of the whole run that come before those of the units.
    tools : callable, optional
        Returns what all units share, given store and outcomes.
    failures : sequence of dict
        Rows of failures.csv that are known beforehand.
    left_out : sequence of dict
        `file` and `reason` of files among the inputs that are not worked on.
    facts : callable, optional
        Returns what run.json holds beside counts, versions and timings, given store and outcomes.
    summarize : callable, optional
        Makes the table summary of the table scores.
    report : callable, optional
        Writes the report of the run folder, if the results are not those of the report that is there.
    lines : callable, optional
        Returns the lines that end the work, given the store and the tables.
    invocation : mapping
        Arguments of the command, from which it can be started again.
    """

    command: str
    units: Sequence[Unit]
    stages: Callable[[Outcomes | None], Sequence[Stage]]
    before: Sequence[RunStage] = ()
    tools: Callable[[RunStore, Outcomes], Any] = lambda *_: None
    failures: Sequence[dict[str, str]] = ()
    left_out: Sequence[dict[str, str]] = ()
    facts: Callable[[RunStore, Outcomes], dict[str, Any]] = lambda *_: {}
    summarize: Callable[[pd.DataFrame], pd.DataFrame] = lambda scores: scores
    report: Callable[[RunStore], Any] | None = None
    lines: Callable[[RunStore, Mapping[str, pd.DataFrame]], list[str]] = lambda *_: []
    invocation: Mapping[str, Any] = field(default_factory=dict)

    @property
    def plan(self) -> str:
        """Hash of what is done to what: runs of one plan may share a folder."""
        names = [unit.name for unit in self.units]
        return config_hash({"command": self.command, "invocation": dict(self.invocation), "units": names})

    def stages_to_redo(self, names: Sequence[str]) -> frozenset[str]:
        """Return the stages that are done again if `names` are, the report left out.

        Raises
        ------
        ConfigError
            A stage that does not exist.
        """
        others = [name for name in names if name != "report" or self.report is None]
        return stages_to_redo(others, [*self.before, *self.stages(None)])


@dataclass(frozen=True)
class Options:
    """How the work is shared out; the results do not depend on it.

    Attributes
    ----------
    executor : str
        ``"serial"``, ``"processes"`` or ``"dask"`` with options, see :func:`divseg.workflow.executors.make_executor`.
    jobs : int
        Units that are worked on at the same time.
    shard : (int, int), optional
        Work on part I of N alone, I from 1, and leave tables and report to ``divseg finalize``.
    redo : tuple of str
        Stages that are done again.
    finalize : bool
        Only write tables and report of what is done.
    """

    executor: str = "serial"
    jobs: int = 1
    shard: tuple[int, int] | None = None
    redo: tuple[str, ...] = ()
    finalize: bool = False

    @classmethod
    def of(
        cls,
        jobs: int = 1,
        executor: str | None = None,
        shard: tuple[int, int] | None = None,
        redo: Sequence[str] = (),
        finalize: bool = False,
    ) -> Options:
        """Check the options; several jobs ask for processes if no executor is named.

        Raises
        ------
        ConfigError
            A shard that is not one of I of N.
        """
        if shard is not None and not 1 <= shard[0] <= shard[1]:
            raise ConfigError(f"shard {shard[0]}/{shard[1]}: give I/N with I from 1 to N")
        return cls(executor or ("processes" if jobs > 1 else "serial"), jobs, shard, tuple(redo), finalize)


@dataclass(frozen=True)
class Result:
    """What came of a command on a folder.

    Attributes
    ----------
    out : Path or None
        Run folder; None after a dry run.
    n_images, n_failed : int
        Images whose results are there, and rows of failures.csv.
    text : str
        What to show the user at the end.
    summary : DataFrame
        Scores of each input, if there is ground truth.
    """

    out: Path | None
    n_images: int
    n_failed: int
    text: str = ""
    summary: pd.DataFrame = field(default_factory=pd.DataFrame)

    def open(self) -> Run:
        """Return the :class:`divseg.Run` of the folder."""
        from divseg.results.open_run import open_run

        if self.out is None:
            raise InputError("a dry run has no results to open")
        return open_run(self.out)


def perform(job: Job, out: Path, options: Options | None = None, reporter: Reporter | None = None) -> Result:
    """Do a job: what is done already is skipped, what fails is a row of failures.csv, Ctrl-C and SIGTERM lose nothing.

    Parameters
    ----------
    job : Job
        What is done.
    out : Path
        Run folder.
    options : Options, optional
        How the work is shared out.
    reporter : Reporter, optional
        Told what is done; by default everything goes to the ``divseg`` logger.

    Returns
    -------
    Result

    Raises
    ------
    DivsegError
        If nothing can be done at all, or results cannot be written. A unit that fails is a row of failures.csv.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM, when the tables of what is finished are written.
    """
    options = options or Options()
    gpus = count_gpus() if options.executor == "processes" else 0
    executor = make_executor(options.executor, options.jobs, gpus)
    redo = job.stages_to_redo(options.redo)
    store = RunStore(out, job.command)
    with run_lock(store.folder, job.plan, options.shard), logged(store.log, reporter or LogReporter()) as tell:
        return _Engine(job, store, options, executor, redo, tell).work()


class _Engine:
    """One job on one run folder."""

    def __init__(
        self, job: Job, store: RunStore, options: Options, executor: Executor, redo: frozenset[str], tell: Reporter
    ) -> None:
        self.job, self.store, self.options = job, store, options
        self.executor, self.redo, self.tell = executor, redo, tell
        self.failures = [dict(row) for row in job.failures]
        self.failed: set[str] = set()
        self.keys: dict[str, str] = {}
        self.context = RunContext(store, list(job.units), tell, self._fail)
        self.timings: dict[str, float] = {}
        self.finished: set[str] = set()
        self.interrupted: BaseException | None = None

    def work(self) -> Result:
        """Do all stages, and write tables and record, even if Ctrl-C came in between."""
        began = time.monotonic()
        for row in self.failures:
            self.tell.say(f"failed: {row['image']}: {row['file']}: {row['error']}")
        if self.store.read_run().get("invocation") is None or self.options.shard is None:
            self._record(invocation=dict(self.job.invocation))
        with terminable():
            try:
                self._stages_of_the_run()
                self._units()
            except KeyboardInterrupt as error:
                self.interrupted = error
                self.tell.say("interrupted: writing the tables of what is finished")
        self.timings["total_s"] = time.monotonic() - began
        result = self._finish()
        if self.interrupted is not None:
            raise self.interrupted
        return result

    # --- stages of the whole run

    def _stages_of_the_run(self) -> None:
        for stage in self.job.before:
            key = stage.key(self.keys)
            if self.options.finalize:
                if stage.name not in (finished := self.store.read_stages()):
                    raise InputError(f"{self.store.folder}: stage {stage.name} is not done yet; run a shard first")
                outcome = finished[stage.name]["outcome"]
            else:
                with exclusive(self.store.folder, stage.name, self.tell.say):
                    outcome = self._once(stage, key, stage.name in self.redo)
            self.context.outcomes[stage.name] = outcome
            self.keys[stage.name] = stage.outcome_key(key, outcome)

    def _once(self, stage: RunStage, key: str, forced: bool) -> Mapping[str, Any]:
        """Return the outcome of an earlier run, or do the stage."""
        earlier = self.store.read_stages().get(stage.name, {})
        if (
            not forced
            and earlier.get("key") == key
            and (stage.recall is None or stage.recall(self.context, earlier["outcome"]))
        ):
            return dict(earlier["outcome"])
        began = time.monotonic()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DivsegWarning)
            outcome = stage.process(self.context)
        for warning in caught:
            if issubclass(warning.category, DivsegWarning):
                self.tell.say(f"note: {warning.message}")
            else:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        seconds = time.monotonic() - began
        self.store.write_stage(stage.name, key, outcome, seconds)
        self.timings[f"{stage.name}_s"] = seconds
        return outcome

    # --- units

    def _units(self) -> None:
        stages = tuple(self.job.stages(self.context.outcomes))
        units = self._own_units()
        if self.options.finalize or not units:
            return
        began = time.monotonic()
        tools = self.job.tools(self.store, self.context.outcomes)
        work = UnitWork(stages, dict(self.keys), self.store.folder, self.store.command, tools, self.redo)
        finished = skipped = 0

        def listen(event: Progress) -> None:
            self.tell.images(finished, len(units), f"{units[event.index].name}, {event.text}")

        self.tell.images(0, len(units), units[0].name)
        results = self.executor.run(work, units, listen)
        try:
            for event in results:
                unit = units[event.index]
                finished += 1
                if isinstance(event, Done):
                    self._tell_outcome(unit, event.value)
                    if event.value.failure is None:
                        self.finished.add(unit.name)
                        skipped += not event.value.done
                elif isinstance(event, Lost):
                    self._note_failure(unit, {"stage": "work", "error": event.error})
                self.tell.images(finished, len(units), f"{unit.name}, finished")
        finally:
            close = getattr(results, "close", None)
            if close is not None:
                close()
        if skipped:
            self.tell.say(f"{skipped} of {len(units)} images were finished before and are skipped")
        self.timings["images_s"] = time.monotonic() - began

    def _tell_outcome(self, unit: Unit, outcome: Outcome) -> None:
        for text in outcome.warnings:
            self.tell.say(f"note: {unit.name}: {text}")
        if outcome.traceback:
            log.error("%s: %s", unit.name, outcome.traceback)
        if outcome.failure is not None:
            self._note_failure(unit, outcome.failure)

    def _fail(self, unit: Unit, stage: str, error: BaseException) -> None:
        self.context.units = [other for other in self.context.units if other is not unit]
        marker, failure = self.store.read_marker(unit.name), describe_failure(stage, error)
        forget(self.store, marker, list(marker.stages), failure)
        self._note_failure(unit, failure)

    def _note_failure(self, unit: Unit, failure: Mapping[str, str]) -> None:
        self.failed.add(unit.name)
        self.failures.append({"image": unit.name, "file": str(unit.file), **failure})
        self.tell.say(f"failed: {unit.name}: {failure['error']}")

    def _own_units(self) -> list[Unit]:
        """Return the units that this process works on; shards part all units, those that turned out unusable too."""
        part, of = self.options.shard or (1, 1)
        usable = {unit.name for unit in self.context.units}
        return [unit for unit in self.job.units[part - 1 :: of] if unit.name in usable]

    # --- results

    def _finish(self) -> Result:
        if self.options.shard is not None:
            part, of = self.options.shard
            text = f"part {part} of {of} is done; when all are, run: divseg finalize {self.store.folder}"
            return Result(self.store.folder, len(self._own_units()), len(self.failures), text)
        if not all(stage.name in self.keys for stage in self.job.before):  # interrupted before any unit
            self._record(interrupted=True, timings=self._all_timings())
            return Result(self.store.folder, 0, len(self.failures))
        stages = [stage.name for stage in self.job.stages(self.context.outcomes)]
        units = [unit for unit in self.context.units if unit.name not in self.failed]
        names = [unit.name for unit in units if self._is_finished(unit)]
        tables = self.store.collect(names, stages)
        if self.options.finalize:
            text = "not worked on yet: run the command, or the shard that it belongs to"
            for unit in units:
                if unit.name not in names:
                    failure = self.store.read_marker(unit.name).failure
                    self._note_failure(unit, failure or {"stage": "finalize", "error": text})
        tables["failures"] = pd.DataFrame(self.failures, columns=["image", "file", "stage", "error"])
        for name in ("objects", "alternatives", "scores"):
            if tables[name].columns.tolist() == ["image"]:
                del tables[name]
        if "scores" in tables:
            tables["summary"] = self.job.summarize(tables["scores"])
        self.store.write_tables(tables)
        self._record(**self._facts(len(names)))
        if self.job.report is not None:
            self._report(names, stages)
        lines = list(self.job.lines(self.store, tables))
        if self.failures:
            lines.insert(1, f"{len(self.failures)} failed: see {self.store.table('failures')}")
        lines.append(f"results: {self.store.folder}")
        summary = tables.get("summary", pd.DataFrame())
        return Result(self.store.folder, len(names), len(self.failures), "\n".join(lines), summary)

    def _report(self, names: Sequence[str], stages: Sequence[str]) -> None:
        """Write the report, unless the one that is there tells of the same results."""
        done = {name: self.store.read_marker(name).stages for name in names}
        keys = {name: [record[stage].key for stage in stages] for name, record in done.items()}
        stage = RunStage("report", self._write_report, {"results": keys, "failures": self.failures, "keys": self.keys})
        forced = "report" in self.options.redo or not self.store.report.is_file()
        self._once(stage, stage.key({}), forced)

    def _write_report(self, context: RunContext) -> dict[str, Any]:
        if self.job.report is not None:
            self.job.report(self.store)
        return {}

    def _is_finished(self, unit: Unit) -> bool:
        """Tell whether all stages of a unit are done with the present settings and files."""
        if unit.name in self.finished:
            return True
        stages = tuple(self.job.stages(self.context.outcomes))
        return not UnitWork(stages, dict(self.keys), self.store.folder, self.job.command).stages_to_do(unit, self.store)

    def _facts(self, n_done: int) -> dict[str, Any]:
        return {
            "divseg": versions()["divseg"],
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "n_images": n_done,
            "n_failed": len(self.failures),
            "interrupted": self.interrupted is not None,
            "timings": self._all_timings(),
            "inputs": [{**unit.record(), "fingerprint": self._fingerprint(unit)} for unit in self.job.units],
            "left_out": list(self.job.left_out),
            **self.job.facts(self.store, self.context.outcomes),
        }

    def _fingerprint(self, unit: Unit) -> str | None:
        sources = self.store.read_marker(unit.name).sources
        return sources.get(unit.sources[0], {}).get("fingerprint")

    def _all_timings(self) -> dict[str, float]:
        timings = {**self.store.read_run().get("timings", {}), **self.timings}
        return {name: round(seconds, 2) for name, seconds in timings.items()}

    def _record(self, **facts: Any) -> None:
        self.store.write_run({**self.store.read_run(), **facts})
