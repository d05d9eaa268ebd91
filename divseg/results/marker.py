"""What is done of one image: a small JSON file, written after the results that it speaks of."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from divseg.errors import DAMAGE
from divseg.io import write_json
from divseg.io.json_file import read_json_object, real

FORMAT = 2


@dataclass
class StageRecord:
    """What one stage made of one unit.

    Attributes
    ----------
    key : str
        Hash of everything that the results depend on.
    files : list of str
        Files of the stage, relative to the run folder.
    row : dict
        Figures for the row of the unit in images.csv.
    scores : list of dict
        Rows of scores.csv.
    info : dict
        What later stages want to know.
    warnings : list of str
        What the user should know.
    seconds : float
        Time that it took.
    kept : list of str
        What it wrote only because the user keeps it.
    """

    key: str
    files: list[str] = field(default_factory=list)
    row: dict[str, Any] = field(default_factory=dict)
    scores: list[dict[str, Any]] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    kept: list[str] = field(default_factory=list)


@dataclass
class Marker:
    """What is done of one unit.

    Attributes
    ----------
    name : str
        Name of the unit.
    sources : dict of str to dict
        For each input its `stat` (what tells without reading that it is unchanged) and `fingerprint`.
    stages : dict of str to StageRecord
        Finished stages.
    failure : dict, optional
        `stage` and `error` of the last attempt, if it failed.
    """

    name: str
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    stages: dict[str, StageRecord] = field(default_factory=dict)
    failure: dict[str, str] | None = None

    @classmethod
    def read(cls, path: Path, name: str) -> Marker:
        """Read a marker; one that is missing, damaged or of another version says that nothing is done."""
        try:
            record = read_json_object(path)
            if record["format"] != FORMAT or record["name"] != name:
                return cls(name)
            stages = {stage: _stage(values) for stage, values in record["stages"].items()}
            sources = {source: dict(values) for source, values in record["sources"].items()}
            failure = record["failure"]
            if failure is not None:
                failure = {key: _kind(failure[key], str) for key in ("stage", "error")}
            return cls(name, sources, stages, failure)
        except DAMAGE:
            return cls(name)

    def write(self, path: Path) -> None:
        """Write the marker.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        write_json(path, {"format": FORMAT, **asdict(self)}, nan=True)


def _stage(values: dict[str, Any]) -> StageRecord:
    """Return a stage's record; an exception of DAMAGE if it is not one."""
    record = StageRecord(**values)
    for path in map(PurePosixPath, record.files):
        if path.is_absolute() or ".." in path.parts:  # the files of a stage are replaced and removed
            raise ValueError(f"{path} lies outside the run folder")
    for value, kind in ((record.key, str), (record.row, dict), (record.info, dict), (record.files, list)):
        _kind(value, kind)
    for items, kind in ((record.scores, dict), (record.warnings, str), (record.files, str), (record.kept, str)):
        for value in _kind(items, list):
            _kind(value, kind)
    record.seconds = real(record.seconds)
    return record


def _kind(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} expected")
    return value
