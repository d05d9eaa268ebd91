"""The folder of a run: where everything goes, what is done already, and the tables."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from divseg.errors import OutputError
from divseg.io.atomic import PART, output_error, write_csv, write_json
from divseg.results.layout import RunLayout
from divseg.results.writer import UnitWriter

SCHEMA = 1
_IGNORED = {".DS_Store", "Thumbs.db", "desktop.ini"}
# From pandas 3.1 on this is how floats are always read, and asking for it is deprecated
_NEW_PANDAS = tuple(int(part) for part in pd.__version__.split(".")[:2]) >= (3, 1)
_EXACT_FLOATS: dict[str, Any] = {} if _NEW_PANDAS else {"float_precision": "round_trip"}


class RunStore(RunLayout):
    """The folder of a run; its files are named by :class:`RunLayout`.

    Each image is a unit. Its marker is written last and holds what the tables need, so a run that was killed
    goes on where it stopped and loses nothing. Nothing is deleted that was not written by a run before.

    Parameters
    ----------
    folder : path
        Made where it is missing. An existing folder must be empty or of an earlier run of the same command.
    command : str
        Which command of ``divseg`` keeps its results there.

    Raises
    ------
    OutputError
        If the folder holds something else, or cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str], command: str = "run") -> None:
        super().__init__(Path(folder).expanduser())
        self.command = command
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
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
            self.write_run({})
        earlier = self.read_run().get("command", "run")
        if earlier != command:
            raise OutputError(f"{self.folder}: this folder holds the results of divseg {earlier}; choose another --out")

    def write_run(self, record: Mapping[str, Any]) -> None:
        """Write run.json; the keys that mark the folder as a run's are added.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        write_json(self.run_json, {"divseg_run": SCHEMA, "format": 2, "command": self.command, **record})

    def read_run(self) -> dict[str, Any]:
        """Read run.json.

        Raises
        ------
        OutputError
            If it is not that of a divseg run.
        """
        try:
            record = json.loads(self.run_json.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OutputError(f"{self.run_json}: it cannot be read ({error}); choose another --out") from error
        if not isinstance(record, dict) or record.get("divseg_run") != SCHEMA:
            raise OutputError(f"{self.run_json}: it is not that of a divseg run; choose another --out")
        return record

    def read_marker(self, name: str) -> dict[str, Any] | None:
        """Return what the marker of an image holds, None where there is no whole one."""
        try:
            record = json.loads(self.marker(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        whole = isinstance(record, dict) and record.get("name") == name and "status" in record
        return record if whole else None

    def is_done(self, name: str, config_hash: str, fingerprint: str) -> bool:
        """Tell whether an image was finished with this configuration and pixels, and its files are there."""
        record = self.read_marker(name)
        if record is None or record.get("status") != "done":
            return False
        if (record.get("config_hash"), record.get("fingerprint")) != (config_hash, fingerprint):
            return False
        return all((self.folder / file).is_file() for file in record["files"])

    def start(self, name: str, config_hash: str, fingerprint: str) -> UnitWriter:
        """Begin an image: forget what an earlier run made of it, and return what writes the new results.

        Parameters
        ----------
        name : str
            Name of the image.
        config_hash, fingerprint : str
            Of the configuration and of the pixels.

        Returns
        -------
        UnitWriter

        Raises
        ------
        InputError
            If the name cannot be that of a file.
        OutputError
            If earlier results cannot be removed.
        """
        earlier = self.read_marker(name)
        try:
            # The marker first: with it, results of two configurations could be taken for one
            self.marker(name).unlink(missing_ok=True)
            own = self.unit_files(name)
            written = earlier.get("files", []) if earlier is not None else []
            for path in own:
                if path.relative_to(self.folder).as_posix() in written:
                    path.unlink(missing_ok=True)
            for path in [*own, self.marker(name)]:  # left by a run that was killed
                for part in path.parent.glob(f".*{PART}"):
                    if part.name.startswith(f".{path.name}."):
                        part.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(self.marker(name), error) from error
        unit = UnitWriter(self, name, config_hash, fingerprint)
        unit.begin()
        return unit

    def collect(self, names: Iterable[str], config_hash: str | None = None) -> dict[str, pd.DataFrame]:
        """Build the tables of all images from their markers alone.

        Parameters
        ----------
        names : iterable of str
            Images in the order the tables shall have; those without a marker are left out.
        config_hash : str, optional
            Take only images of this configuration.

        Returns
        -------
        dict of DataFrame
            ``"images"`` (a row per image), ``"objects"`` (a row per object), ``"alternatives"`` (a row per
            hypothesis that was not taken), ``"scores"`` and ``"failures"`` (columns image, error), all with the
            column `image` first.
        """
        images, scores, failures = [], [], []
        objects: list[pd.DataFrame] = []
        alternatives: list[pd.DataFrame] = []
        for name in names:
            record = self.read_marker(name)
            if record is None or (config_hash is not None and record.get("config_hash") != config_hash):
                continue
            if record["status"] == "failed":
                failures.append({"image": name, "error": record["error"]})
            if record["status"] != "done":
                continue
            images.append({"image": name, **record["image"]})
            scores += [{"image": name, **row} for row in record["scores"]]
            if record["objects"] is not None:
                objects.append(_read_table(self.objects(name), name))
            if record.get("alternatives") is not None:  # runs of earlier versions have none
                alternatives.append(_read_table(self.alternatives(name), name))
        return {
            "images": pd.DataFrame(images, columns=None if images else ["image"]),
            "objects": _stack(objects),
            "alternatives": _stack(alternatives),
            "scores": pd.DataFrame(scores, columns=None if scores else ["image"]),
            "failures": pd.DataFrame(failures, columns=["image", "error"]),
        }

    def write_tables(self, tables: Mapping[str, pd.DataFrame]) -> list[Path]:
        """Write tables as CSV.

        Parameters
        ----------
        tables : mapping of str to DataFrame
            Of the names objects, alternatives, images, scores, summary, failures.

        Returns
        -------
        list of Path
            The files.

        Raises
        ------
        InputError
            If a table of that name does not exist.
        OutputError
            If one cannot be written.
        """
        paths = [self.table(name) for name in tables]
        for path, table in zip(paths, tables.values(), strict=True):
            write_csv(path, table)
        return paths


def _read_table(path: Path, name: str) -> pd.DataFrame:
    """Read the table of one image."""
    try:
        table = pd.read_csv(path, **_EXACT_FLOATS)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: it cannot be read ({error}); run again to make it anew") from error
    # by hand, because a name like 007 or NA would come back as something else
    table = table.drop(columns="image", errors="ignore")
    table.insert(0, "image", pd.Series([name] * len(table), index=table.index, dtype=str))
    return table


def _stack(tables: list[pd.DataFrame]) -> pd.DataFrame:
    if not tables:
        return pd.DataFrame(columns=["image"])
    # Empty tables say nothing about the type of a column, and would turn whole numbers into floats
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]
