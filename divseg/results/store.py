"""The run folder as a whole: what it is of, which stages are done, and the tables."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from divseg.errors import DAMAGE, OutputError, one_line
from divseg.io import write_csv, write_json
from divseg.io.atomic import PART, as_utf8, output_error
from divseg.io.json_file import read_json, read_json_object
from divseg.io.parquet import write_parquet
from divseg.results.layout import TABLES, RunLayout
from divseg.results.marker import FORMAT, Marker
from divseg.results.reader import read_table
from divseg.results.run_record import check_record
from divseg.results.writer import StageWriter

_IGNORED = {".DS_Store", "Thumbs.db", "desktop.ini", ".lock", "run.log"}


class RunStore(RunLayout):
    """The run folder; its files are named by :class:`RunLayout`.

    Each image is a unit. The marker of a unit is written after the files that it speaks of and holds what the tables
    need, so a run that was killed goes on where it stopped and loses nothing. Nothing is deleted that was not written
    by an earlier run.

    Parameters
    ----------
    folder : path
        Made if it is missing. An existing folder must be empty or of an earlier run of the same command.
    command : str
        The command of ``divseg`` that keeps its results there.

    Raises
    ------
    OutputError
        If the folder holds something else, or cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str], command: str = "run") -> None:
        super().__init__(Path(folder).expanduser(), command)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(self.folder, error) from error
        if not self.check():
            self.write_run({})

    @classmethod
    def existing(cls, folder: str | os.PathLike[str], command: str = "run") -> RunStore | None:
        """Open a run folder without writing anything; None if there is nothing yet.

        Raises
        ------
        OutputError
            As for :class:`RunStore`.
        """
        store = cls.__new__(cls)
        RunLayout.__init__(store, Path(folder).expanduser(), command)
        if store.folder.exists() and not store.folder.is_dir():
            raise OutputError(f"{store.folder}: the output is an existing file; give a folder with --out")
        return store if store.folder.is_dir() and store.check() else None

    def check(self) -> bool:
        """Tell whether the folder holds a run; False if it is empty.

        Raises
        ------
        OutputError
            If it holds something else, or the run of another command or version.
        """
        try:
            # The list first, run.json after it: a process that starts beside this one writes run.json first
            present = [p.name for p in self.folder.iterdir() if p.name not in _IGNORED and p.suffix != PART]
        except OSError as error:
            raise output_error(self.folder, error) from error
        if not self.run_json.exists():
            if present:
                raise OutputError(
                    f"{self.folder}: this folder is not empty and not of a divseg run (it has no run.json); "
                    "choose another --out"
                )
            return False
        record = self.read_run()
        if (version := record.get("format")) != FORMAT:
            raise OutputError(
                f"{self.folder}: this folder is of another version of divseg (format {version or 1}, not {FORMAT}); "
                "choose another --out"
            )
        if (earlier := record.get("command")) != self.command:
            raise OutputError(f"{self.folder}: this folder holds the results of divseg {earlier}; choose another --out")
        return True

    def write_run(self, record: Mapping[str, Any]) -> None:
        """Write run.json; the keys that mark the folder as a run's are added.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        write_json(self.run_json, {**record, "format": FORMAT, "command": self.command})

    def read_run(self) -> dict[str, Any]:
        """Read run.json.

        Raises
        ------
        OutputError
            If it is not that of a divseg run.
        """
        try:
            record = check_record(read_json(self.run_json))
        except (OSError, ValueError) as error:
            raise OutputError(
                f"{self.run_json}: it cannot be read ({one_line(error)}); choose another --out"
            ) from error
        if not ("command" in record or "divseg_run" in record):
            raise OutputError(f"{self.run_json}: it is not that of a divseg run; choose another --out")
        return record

    def read_stages(self) -> dict[str, dict[str, Any]]:
        """Return `key` and `outcome` of the finished stages of the whole run; a damaged file says that none is."""
        try:
            record = read_json_object(self.stages_json)
            done = {"key": str, "outcome": dict, "seconds": int | float}
            whole = all(isinstance(stage[name], kind) for stage in record.values() for name, kind in done.items())
        except DAMAGE:
            return {}
        return record if whole else {}

    def write_stage(self, stage: str, key: str, outcome: Mapping[str, Any], seconds: float) -> None:
        """Note that a stage of the whole run is done.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        done = {"key": key, "outcome": dict(outcome), "seconds": round(seconds, 3)}
        write_json(self.stages_json, {**self.read_stages(), stage: done})

    def read_marker(self, name: str) -> Marker:
        """Return what is done of an image."""
        return Marker.read(self.marker(name), name)

    def is_done(self, marker: Marker, stage: str, key: str | None, keeps: Sequence[str] = ()) -> bool:
        """Tell whether a stage of an image was finished with this key, kept all of `keeps`, and its files are there."""
        record = marker.stages.get(stage)
        if record is None or record.key != key or not set(keeps) <= set(record.kept):
            return False
        return all((self.folder / file).is_file() for file in record.files)

    def writer(self, marker: Marker, stage: str) -> StageWriter:
        """Begin a stage of an image: return what writes its results."""
        return StageWriter(self, marker, stage)

    def collect(self, names: Iterable[str], stages: Sequence[str]) -> dict[str, pd.DataFrame]:
        """Build the tables of all images from their markers alone.

        Parameters
        ----------
        names : iterable of str
            Images in the order of the tables; those of which a stage is not done are left out.
        stages : sequence of str
            Stages in the order of their columns.

        Returns
        -------
        dict of DataFrame
            ``"images"`` (a row per image), ``"objects"`` and ``"measurements"`` (a row per object), ``"alternatives"``
            (a row per hypothesis that was not taken), ``"words"`` and ``"scores"``, all with the column `image` first.

        Raises
        ------
        InputError
            If the table of an image is damaged.
        OutputError
            If it is missing.
        """
        images, scores = [], []
        kinds = {"objects": self.objects, "measurements": self.measurements, "alternatives": self.alternatives}
        kinds["words"] = self.words
        parts: dict[str, list[pd.DataFrame]] = {kind: [] for kind in kinds}
        for name in names:
            done = self.read_marker(name).stages
            if any(stage not in done for stage in stages):
                continue
            records = [done[stage] for stage in stages]
            row = {"image": name}
            for record in records:
                row |= record.row
                scores += [{"image": name, **score} for score in record.scores]
            warnings = list(dict.fromkeys(text for record in records for text in record.warnings))
            seconds = round(sum(record.seconds for record in records), 2)
            images.append({**row, "warnings": "\n".join(warnings), "seconds": seconds})
            for kind, file in kinds.items():
                path = file(name)
                if any(path.relative_to(self.folder).as_posix() in record.files for record in records):
                    parts[kind].append(_read_table(path, name))
        return {
            "images": pd.DataFrame(_utf8(images), columns=None if images else ["image"]),
            **{kind: _stack(tables) for kind, tables in parts.items()},
            "scores": pd.DataFrame(_utf8(scores), columns=None if scores else ["image"]),
        }

    def write_tables(self, tables: Mapping[str, pd.DataFrame], parquet: bool = False) -> None:
        """Write tables as CSV; a table of an earlier run that is not among them is removed.

        Parameters
        ----------
        tables : mapping of str to DataFrame
            Of the names in :data:`divseg.results.layout.TABLES`.
        parquet : bool
            Write each as Parquet beside the CSV.

        Raises
        ------
        InputError
            If a table of that name does not exist.
        OutputError
            If one cannot be written.
        """
        for name, table in tables.items():
            write_csv(self.table(name), table)
            if parquet:
                write_parquet(self.table(name).with_suffix(".parquet"), table)
        for name in TABLES:
            left = [] if name in tables else [self.table(name)]
            for path in left if name in tables and parquet else [*left, self.table(name).with_suffix(".parquet")]:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise output_error(path, error) from error


def _utf8(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{as_utf8(name): as_utf8(value) for name, value in row.items()} for row in rows]


def _read_table(path: Path, name: str) -> pd.DataFrame:
    """Read the table of one image."""
    if not path.is_file():
        raise OutputError(f"{path}: the table is missing; run again to make it anew")
    table = read_table(path)
    table.insert(0, "image", pd.Series([name] * len(table), index=table.index, dtype=str))
    return table


def _stack(tables: list[pd.DataFrame]) -> pd.DataFrame:
    if not tables:
        return pd.DataFrame(columns=["image"])
    # Empty tables say nothing about the type of a column, and would turn whole numbers into floats
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]
