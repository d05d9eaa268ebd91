"""The work on one unit: what is done is skipped, what fails is noted, in whatever process it happens."""

from __future__ import annotations

import contextlib
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from divseg.device import gpu_failed
from divseg.errors import DivsegError, DivsegWarning, OutputError
from divseg.results import Marker, RunStore
from divseg.results.writer import forget
from divseg.workflow.executors import Spent
from divseg.workflow.progress import end_if_asked
from divseg.workflow.stage import Stage, Unit, UnitContext


@dataclass
class Outcome:
    """What came of one unit.

    Attributes
    ----------
    done : list of str
        Stages that were done, the skipped ones left out.
    failure : dict, optional
        `stage` and `error` for failures.csv.
    warnings : list of str
        What the user should know.
    traceback : str
        Of an error that is not the user's.
    """

    done: list[str] = field(default_factory=list)
    failure: dict[str, str] | None = None
    warnings: list[str] = field(default_factory=list)
    traceback: str = ""


@dataclass
class UnitWork:
    """All stages of one unit, one after the other; sent to every worker once.

    Attributes
    ----------
    stages : tuple of Stage
        In the order in which they are done.
    upstream : dict of str to str
        Keys of the stages of the whole run.
    folder : Path
        The run folder.
    command : str
        Command of the run folder.
    tools : object
        What all units share; opened in each process when it is first needed.
    redo : frozenset of str
        Stages that are done even if they were done before.
    """

    stages: tuple[Stage, ...]
    upstream: Mapping[str, str]
    folder: Path
    command: str
    tools: Any = None
    redo: frozenset[str] = frozenset()
    _store: RunStore | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the store out: it is opened anew in another process."""
        return {**self.__dict__, "_store": None}

    @property
    def store(self) -> RunStore:
        """The run folder."""
        if self._store is None:
            self._store = RunStore(self.folder, self.command)
        return self._store

    def __call__(self, item: Unit, tell: Callable[[str], None]) -> Outcome:
        """Do what is not done yet.

        Raises
        ------
        OutputError
            If results cannot be written: the next unit would fail as well.
        Spent
            If the GPU failed in such a way that this process cannot use it any more.
        """
        unit, outcome = item, Outcome()
        marker = self.store.read_marker(unit.name)
        context = UnitContext(unit, self.store, marker, self.tools, tell)
        at, left, known = "read", list(self.stages), dict(marker.sources)
        fingerprints: dict[str, str] = {}
        keys = dict(self.upstream)
        try:
            while left:
                end_if_asked()
                stage = left[0]
                at = "read"
                for source in set(stage.reads) & set(unit.sources):
                    fingerprints[source] = self._fingerprint(unit, marker, source)
                at = stage.name
                keys[stage.name] = stage.key(unit, fingerprints, keys)
                if stage.name in self.redo or not self.store.is_done(marker, stage.name, keys[stage.name], stage.keeps):
                    for earlier in self.stages[: self.stages.index(stage)]:
                        if earlier.name in stage.needs and earlier.name not in outcome.done:
                            self._recall(earlier, context, keys, outcome)
                    self._do(stage, context, keys[stage.name], outcome)
                left.pop(0)
            if not outcome.done and marker.sources != known:
                marker.write(self.store.marker(unit.name))  # files were touched but hold what they held
        except OutputError:
            raise
        except Exception as error:
            end_if_asked()
            outcome.failure = describe_failure(at, error)
            if not isinstance(error, DivsegError):
                outcome.traceback = traceback.format_exc()
            forget(self.store, marker, [stage.name for stage in left], outcome.failure)
            if gpu_failed(error):
                raise Spent(outcome, f"the GPU failed at {unit.name} ({outcome.failure['error']})") from error
        return outcome

    def stages_to_do(self, unit: Unit, store: RunStore | None = None) -> list[str]:
        """Return the stages that are not done with these settings and files; nothing is read or done."""
        store = store or self.store
        marker = store.read_marker(unit.name)
        fingerprints = {source: marker.sources[source]["fingerprint"] for source in unchanged_sources(unit, marker)}
        changed = set(unit.sources) - fingerprints.keys()
        keys = dict(self.upstream)
        to_do = []
        for stage in self.stages:
            if changed.isdisjoint(stage.reads) and keys.keys() >= set(stage.needs):
                keys[stage.name] = stage.key(unit, fingerprints, keys)
            if stage.name in self.redo or not store.is_done(marker, stage.name, keys.get(stage.name), stage.keeps):
                to_do.append(stage.name)
        return to_do

    def _fingerprint(self, unit: Unit, marker: Marker, source: str) -> str:
        """Return a hash of an input; an unchanged file is not read again."""
        stat = unit.stat(source)
        if marker.sources.get(source, {}).get("stat") != stat:
            marker.sources[source] = {"stat": stat, "fingerprint": unit.fingerprint(source)}
        return str(marker.sources[source]["fingerprint"])

    def _recall(self, stage: Stage, context: UnitContext, keys: Mapping[str, str], outcome: Outcome) -> None:
        if stage.recall is None or f"recalled {stage.name}" in context.memory:
            return
        context.memory[f"recalled {stage.name}"] = True
        with _caught(outcome):
            if stage.recall(context):
                return
        for earlier in self.stages[: self.stages.index(stage)]:
            if earlier.name in stage.needs and earlier.name not in outcome.done:
                self._recall(earlier, context, keys, outcome)
        self._do(stage, context, keys[stage.name], outcome)

    def _do(self, stage: Stage, context: UnitContext, key: str, outcome: Outcome) -> None:
        began = time.monotonic()
        context.write = self.store.writer(context.marker, stage.name)
        first = len(outcome.warnings)
        try:
            with _caught(outcome):
                stage.process(context)
            context.write.commit(key, outcome.warnings[first:], time.monotonic() - began, stage.keeps)
        except BaseException:
            context.write.discard()
            raise
        outcome.done.append(stage.name)


class _caught:
    """Collect the warnings that are meant for the user; others go their way."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome

    def __enter__(self) -> None:
        self._catch = warnings.catch_warnings(record=True)
        self._warnings = self._catch.__enter__()
        warnings.simplefilter("always", DivsegWarning)

    def __exit__(self, *error: Any) -> None:
        self._catch.__exit__(*error)
        for warning in self._warnings or ():
            if not issubclass(warning.category, DivsegWarning):
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
            elif str(warning.message) not in self.outcome.warnings:
                self.outcome.warnings.append(str(warning.message))


def unchanged_sources(unit: Unit, marker: Marker) -> list[str]:
    """Return the inputs of a unit that are as they were when the unit was worked on; none is read."""
    unchanged = []
    for source in unit.sources:
        with contextlib.suppress(OSError):
            if marker.sources.get(source, {}).get("stat") == unit.stat(source):
                unchanged.append(source)
    return unchanged


def describe_failure(stage: str, error: BaseException) -> dict[str, str]:
    """Return `stage` and `error` for failures.csv: one line on what went wrong."""
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, DivsegError):
        text = f"{type(error).__name__}: {text} (see run.log)"
    return {"stage": stage, "error": text}
