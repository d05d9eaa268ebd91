"""Stages: steps of the work on one unit, or on the whole run, each with a key that says what its results depend on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from divseg.errors import ConfigError, DivsegWarning, did_you_mean
from divseg.io import config_hash
from divseg.packages import versions
from divseg.results import Marker, RunStore, StageWriter
from divseg.workflow.progress import Reporter


class Unit(Protocol):
    """What is worked on: an image with its ground truth, or a set of label images. Small and picklable."""

    @property
    def name(self) -> str:
        """Name that results are filed under."""

    @property
    def file(self) -> Path:
        """File that messages name."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Inputs that it has, such as image and truth."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Settings of its own, such as weights."""

    def stat(self, source: str) -> list[Any]:
        """Return what tells, without reading it, that an input is unchanged."""

    def fingerprint(self, source: str) -> str:
        """Return a hash of the content of an input."""

    def row(self) -> dict[str, Any]:
        """Return the columns of images.csv that every command writes."""

    def load(self) -> Any:
        """Read it."""

    def record(self) -> dict[str, Any]:
        """Return what run.json says of it."""


@dataclass(frozen=True)
class Stage:
    """A step of the work on each unit.

    Attributes
    ----------
    name : str
        Name in markers, in failures.csv and for ``--redo``.
    process : callable
        Does the work; a function of a module, so that it can be sent to other processes.
    settings : mapping
        The part of the settings that its results depend on.
    needs : tuple of str
        Stages whose results it reads, of the whole run too.
    reads : tuple of str
        Inputs of the unit that it reads.
    unit_settings : tuple of str
        Settings of the unit's own that its results depend on.
    recall : callable, optional
        Brings into memory what later stages need of it, if it was done before; False if that cannot be done, and the
        stage is then done again.
    keeps : tuple of str
        What it writes only because the user keeps it. It is done again if more is kept than was, which changes nothing
        for the stages that need it.
    version : int
        Raised if the stage makes other results of the same settings.
    """

    name: str
    process: Callable[[UnitContext], None]
    settings: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    unit_settings: tuple[str, ...] = ()
    recall: Callable[[UnitContext], bool] | None = None
    keeps: tuple[str, ...] = ()
    version: int = 1

    def key(self, unit: Unit, fingerprints: Mapping[str, str], upstream: Mapping[str, str]) -> str:
        """Return a hash of the stage, its settings, the inputs it reads, and the keys of the stages it needs."""
        return config_hash(
            {
                "stage": [self.name, self.version, versions()["divseg"]],
                "settings": dict(self.settings),
                "unit": {name: unit.settings[name] for name in self.unit_settings},
                "inputs": {source: fingerprints.get(source) for source in self.reads},
                "upstream": {name: upstream[name] for name in self.needs},
            }
        )


@dataclass(frozen=True)
class RunStage:
    """A step of the work that is done once for all units.

    Attributes
    ----------
    name : str
        Name in stages.json and for ``--redo``.
    process : callable
        Does the work and returns its outcome: plain values, on which later stages depend.
    settings : mapping
        What its results depend on.
    needs : tuple of str
        Stages that come before it and whose outcome it depends on; of those of the units that of all finished units,
        and ``"failures"`` stands for the rows of failures.csv.
    recall : callable, optional
        Tells whether the results of an earlier run are still there, given their outcome.
    """

    name: str
    process: Callable[[RunContext], dict[str, Any]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    recall: Callable[[RunContext, Mapping[str, Any]], bool] | None = None

    def key(self, upstream: Mapping[str, str]) -> str:
        """Return a hash of the stage, its settings, and the keys of the stages it needs."""
        return config_hash(
            {
                "stage": [self.name, versions()["divseg"]],
                "settings": dict(self.settings),
                "upstream": {name: upstream[name] for name in self.needs},
            }
        )

    def outcome_key(self, key: str, outcome: Mapping[str, Any]) -> str:
        """Return the key that stages depending on this one see: what it made counts, not when."""
        return config_hash({"key": key, "outcome": dict(outcome)})


@dataclass
class RunContext:
    """What a stage of the whole run works with.

    Attributes
    ----------
    store : RunStore
        The run folder.
    units : list
        Units that can still be worked on; a stage may take out those that it finds unusable, see `fail`.
    reporter : Reporter
        Told what is done.
    fail : callable
        Notes that a unit cannot be worked on: ``fail(unit, stage, error)``.
    outcomes : dict
        Outcome of each stage of the run so far.
    """

    store: RunStore
    units: list[Any]
    reporter: Reporter
    fail: Callable[[Unit, str, BaseException], None]
    outcomes: dict[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass
class UnitContext:
    """What a stage works with on one unit.

    Attributes
    ----------
    unit : Unit
        The unit.
    store : RunStore
        The run folder.
    marker : Marker
        What is done of the unit.
    tools : object
        What all units share, such as the model.
    step : callable
        Told what begins, in a few words.
    memory : dict
        What stages leave for later ones of the same unit.
    write : StageWriter
        Takes the results of the stage.
    """

    unit: Any
    store: RunStore
    marker: Marker
    tools: Any
    step: Callable[[str], None]
    memory: dict[str, Any] = field(default_factory=dict)
    write: StageWriter = field(init=False)

    def load(self) -> Any:
        """Return what the unit is made of, read once."""
        if "loaded" not in self.memory:
            self.memory["loaded"] = self.unit.load()
        return self.memory["loaded"]

    def warn(self, text: str) -> None:
        """Note something that the user should know about this unit."""
        warnings.warn(text, DivsegWarning, stacklevel=2)


def keys_of_all(
    markers: Sequence[Marker], stages: Sequence[str], failures: Sequence[Mapping[str, str]]
) -> dict[str, str]:
    """Return the keys of the units' stages for stages of the whole run that come after them, and of the failures.

    Parameters
    ----------
    markers : sequence of Marker
        Of the finished units.
    stages : sequence of str
        Stages of the units.
    failures : sequence of dict
        Rows of failures.csv.
    """
    done = {stage: {marker.name: marker.stages[stage] for marker in markers} for stage in stages}
    keys = {
        stage: config_hash({name: [record.key, record.kept] for name, record in records.items()})
        for stage, records in done.items()
    }
    return keys | {"failures": config_hash({"failures": [[row["image"], row["error"]] for row in failures]})}


def stages_to_redo(names: Sequence[str], stages: Sequence[Stage | RunStage]) -> frozenset[str]:
    """Return the stages that ``--redo`` names, and those that depend on them.

    Raises
    ------
    ConfigError
        A stage that does not exist.
    """
    known = [stage.name for stage in stages]
    forced: set[str] = set()
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown stage {name!r} to redo{did_you_mean(name, known)} (stages: {', '.join(known)})")
        forced.add(name)
    for stage in stages:
        if forced & set(stage.needs):
            forced.add(stage.name)
    return frozenset(forced)
