"""The engine: the only place that skips, fails, warns, logs, is interrupted, and writes tables and records."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from divseg.errors import DivsegWarning, InputError
from divseg.io import config_hash
from divseg.io.atomic import as_utf8
from divseg.packages import versions
from divseg.results import RunStore
from divseg.results.writer import forget
from divseg.workflow.executors import Done, Executor, Lost, Progress
from divseg.workflow.lock import exclusive, run_lock
from divseg.workflow.progress import LogReporter, Reporter, logged, terminable
from divseg.workflow.sharing import Options
from divseg.workflow.stage import RunContext, RunStage, Stage, Unit, keys_of_all, stages_to_redo
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
    before, after : sequence of RunStage
        Stages of the whole run that come before those of the units, and after them.
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
    derive : callable, optional
        Returns further tables, given those of the run.
    parquet : bool
        Whether tables are written as Parquet too.
    lines : callable, optional
        Returns the lines that end the work, given the store and the tables.
    invocation : mapping
        Arguments of the command, from which it can be started again.
    device : str
        Where the stages of the units compute, ``"auto"`` for a GPU if there is one.
    """

    command: str
    units: Sequence[Unit]
    stages: Callable[[Outcomes | None], Sequence[Stage]]
    before: Sequence[RunStage] = ()
    after: Sequence[RunStage] = ()
    tools: Callable[[RunStore, Outcomes], Any] = lambda *_: None
    failures: Sequence[dict[str, str]] = ()
    left_out: Sequence[dict[str, str]] = ()
    facts: Callable[[RunStore, Outcomes], dict[str, Any]] = lambda *_: {}
    summarize: Callable[[pd.DataFrame], pd.DataFrame] = lambda scores: scores
    derive: Callable[[Mapping[str, pd.DataFrame]], dict[str, pd.DataFrame]] = lambda tables: {}
    parquet: bool = False
    lines: Callable[[RunStore, Mapping[str, pd.DataFrame]], list[str]] = lambda *_: []
    invocation: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"

    @property
    def plan(self) -> str:
        """Hash of what is done to what: runs of one plan may share a folder."""
        names = [unit.name for unit in self.units]
        return config_hash({"command": self.command, "invocation": dict(self.invocation), "units": names})

    def stages_to_redo(self, names: Sequence[str]) -> frozenset[str]:
        """Return the stages that are done again if `names` are.

        Raises
        ------
        ConfigError
            A stage that does not exist.
        """
        return stages_to_redo(names, [*self.before, *self.stages(None), *self.after])


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
    executor = options.make_executor(len(job.units), job.device)
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
        self.began = time.monotonic()

    def work(self) -> Result:
        """Do all stages, and write tables and record, even if Ctrl-C came in between."""
        for row in self.failures:
            self.tell.say(f"failed: {row['image']}: {row['file']}: {row['error']}")
        if self.store.read_run().get("invocation") is None or self.options.shard is None:
            self._record(invocation=dict(self.job.invocation))
        with self._interruptible("interrupted: writing the tables of what is finished"):
            self._stages_of_the_run()
            self._units()
        result = self._finish()
        if self.interrupted is not None:
            raise self.interrupted
        return result

    @contextmanager
    def _interruptible(self, text: str) -> Iterator[None]:
        """Note Ctrl-C and SIGTERM, so that what is finished can be written down before they end the work."""
        with terminable():
            try:
                yield
            except KeyboardInterrupt as error:
                self.interrupted = error
                self.tell.say(text)

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
                    outcome = self._once(stage, key)
            self._note_outcome(stage, key, outcome)

    def _stages_after_the_units(self, units: Sequence[Unit], stages: Sequence[str]) -> None:
        self.context.units = list(units)
        self.keys |= keys_of_all([self.store.read_marker(unit.name) for unit in units], stages, self.failures)
        for stage in self.job.after:
            key = stage.key(self.keys)
            self._note_outcome(stage, key, self._once(stage, key))

    def _note_outcome(self, stage: RunStage, key: str, outcome: Mapping[str, Any]) -> None:
        self.context.outcomes[stage.name] = outcome
        self.keys[stage.name] = stage.outcome_key(key, outcome)

    def _once(self, stage: RunStage, key: str) -> Mapping[str, Any]:
        """Return the outcome of an earlier run, or do the stage."""
        earlier = self.store.read_stages().get(stage.name, {})
        if (
            stage.name not in self.redo
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
            own = len(self._own_units())
            return Result(self.store.folder, own, len(self.failures) if own else 0, text)
        if not all(stage.name in self.keys for stage in self.job.before):  # interrupted before any unit
            self._record(interrupted=True, timings=self._all_timings())
            return Result(self.store.folder, 0, len(self.failures))
        stages = [stage.name for stage in self.job.stages(self.context.outcomes)]
        units = [unit for unit in self.context.units if unit.name not in self.failed]
        done = [unit for unit in units if self._is_finished(unit)]
        names = [unit.name for unit in done]
        tables = self.store.collect(names, stages)
        if self.options.finalize:
            text = "not worked on yet: run the command, or the shard that it belongs to"
            for unit in units:
                if unit.name not in names:
                    failure = self.store.read_marker(unit.name).failure
                    self._note_failure(unit, failure or {"stage": "finalize", "error": text})
        failures = [{name: as_utf8(value) for name, value in row.items()} for row in self.failures]
        tables["failures"] = pd.DataFrame(failures, columns=["image", "file", "stage", "error"])
        for name in ("objects", "measurements", "alternatives", "words", "scores"):
            if tables[name].columns.tolist() == ["image"]:
                del tables[name]
        if "scores" in tables:
            tables["summary"] = self.job.summarize(tables["scores"])
        tables |= self.job.derive(tables)
        self.store.write_tables(tables, self.job.parquet)
        self._record(**self._facts(len(names)))
        if self.job.after and self.interrupted is None:
            with self._interruptible("interrupted: the same command goes on from here"):
                self._stages_after_the_units(done, stages)
            facts = self.job.facts(self.store, self.context.outcomes)
            self._record(interrupted=self.interrupted is not None, timings=self._all_timings(), **facts)
        if self.interrupted is not None:
            return Result(self.store.folder, len(names), len(self.failures))
        lines = list(self.job.lines(self.store, tables))
        if self.failures:
            lines.insert(1, f"{len(self.failures)} failed: see {self.store.table('failures')}")
        lines.append(f"results: {self.store.folder}")
        summary = tables.get("summary", pd.DataFrame())
        return Result(self.store.folder, len(names), len(self.failures), "\n".join(lines), summary)

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
        total = {"total_s": time.monotonic() - self.began}
        timings = {**self.store.read_run().get("timings", {}), **self.timings, **total}
        return {name: round(seconds, 2) for name, seconds in timings.items()}

    def _record(self, **facts: Any) -> None:
        self.store.write_run({**self.store.read_run(), **facts})
