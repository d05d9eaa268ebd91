"""Reading a result folder: tables, run record, training log and images, each of which may be missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import tifffile

from divseg.errors import InputError
from divseg.io import read_labels

Load = Callable[[str], np.ndarray]

_TEXT_COLUMNS = ("image", "file", "input", "stage", "error", "warnings", "pixel_unit", "plane", "segmenter")


def column(table: pd.DataFrame, name: str) -> np.ndarray:
    """Return one column as float64, NaN where it is missing or not a number.

    Parameters
    ----------
    table : pandas.DataFrame
        Any table of the result folder.
    name : str
        Column name; a table without that column gives NaN throughout.

    Returns
    -------
    numpy.ndarray
        Shape ``(len(table),)``, float64; infinities are NaN too.
    """
    if name not in table:
        return np.full(len(table), np.nan)
    values = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=float)
    return np.where(np.isfinite(values), values, np.nan)


def text(table: pd.DataFrame, name: str) -> list[str]:
    """Return one column as strings, empty where it is missing."""
    if name not in table:
        return [""] * len(table)
    return [value if isinstance(value, str) else "" for value in table[name]]


@dataclass(frozen=True)
class ImageData:
    """What the folder holds of one image.

    Attributes
    ----------
    name : str
        Image name as in ``images.csv``.
    labels : numpy.ndarray or None
        Label image, shape (Y, X), 0 = background.
    noisy, mmse, sd : numpy.ndarray or None
        Float images of the same shape, in the intensity unit of the input.
    samples : tuple of numpy.ndarray
        At most two posterior samples, each (Y, X).
    missing : tuple of str
        One line for every piece that could not be read.
    """

    name: str
    labels: np.ndarray | None
    noisy: np.ndarray | None
    mmse: np.ndarray | None
    sd: np.ndarray | None
    samples: tuple[np.ndarray, ...]
    missing: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width in pixels, None when nothing could be read."""
        for image in (self.labels, self.mmse, self.noisy, self.sd, *self.samples):
            if image is not None:
                return image.shape[0], image.shape[1]
        return None


@dataclass(frozen=True)
class Results:
    """The tables of a result folder; what is absent is an empty table with a reason in `missing`."""

    folder: Path
    run: dict[str, Any]
    images: pd.DataFrame
    objects: pd.DataFrame
    scores: pd.DataFrame
    summary: pd.DataFrame
    failures: pd.DataFrame
    training: pd.DataFrame
    missing: dict[str, str] = field(default_factory=dict)
    segmenters: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Ranking of ``--segmenter auto``; empty where the segmenter was named."""

    @property
    def names(self) -> list[str]:
        """Names of the processed images, in the order of ``images.csv``."""
        return text(self.images, "image")

    def path(self, kind: str, name: str, ending: str) -> Path:
        """Path of one file of an image inside the folder; a name can never lead out of it."""
        parts = [part for part in PurePosixPath(name).parts if part not in ("/", "..", ".")]
        return self.folder.joinpath(kind, *parts[:-1], (parts[-1] if parts else "image") + ending)

    def has_samples(self, name: str) -> bool:
        """Whether posterior samples of this image were kept."""
        return self.path("samples", name, ".tif").is_file()

    def read(self, name: str, load: Load | None = None) -> ImageData:
        """Read everything the folder holds of one image.

        Parameters
        ----------
        name : str
            Image name as in ``images.csv``.
        load : callable, optional
            ``load(name)`` returns the noisy image, shape (Y, X).

        Returns
        -------
        ImageData
            Pieces that are absent, unreadable or of another size than the first one read are None, with a
            line in ``missing``.
        """
        missing: list[str] = []
        shape: list[tuple[int, ...]] = []

        def attempt(what: str, reader: Callable[[], np.ndarray]) -> np.ndarray | None:
            try:
                image = np.asarray(reader())
            except FileNotFoundError as error:
                missing.append(f"{what} (no file {_relative(error.filename, self.folder)})")
                return None
            except Exception as error:  # a damaged image must not cost the whole report
                missing.append(f"{what} ({_one_line(error)})")
                return None
            if image.ndim != 2 or not image.size:
                missing.append(f"{what} (expected a 2-D image, got shape {image.shape})")
                return None
            if shape and image.shape != shape[0]:
                missing.append(f"{what} (shape {image.shape} differs from {shape[0]})")
                return None
            shape.append(image.shape)
            return image

        labels = attempt("labels", lambda: _read_labels(self.path("labels", name, ".tif")))
        mmse = attempt("MMSE", lambda: _read_plain(self.path("denoised", name, ".tif")))
        sd = attempt("spread", lambda: _read_plain(self.path("maps", name, "_sd.tif")))
        noisy = None
        if load is None:
            missing.append("noisy image (the input was not given to the report)")
        else:
            noisy = attempt("noisy image", lambda: load(name))
        samples = []
        for index in range(2):
            image = attempt(
                f"sample {index + 1}",
                lambda index=index: self._sample(name, index),  # type: ignore[misc]
            )
            if image is None:
                break
            samples.append(image)
        return ImageData(name, labels, noisy, mmse, sd, tuple(samples), tuple(missing))

    def _sample(self, name: str, index: int) -> np.ndarray:
        path = self.path("samples", name, ".tif")
        _must_exist(path)
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            shape = series.shape if len(series.shape) == 3 else (1, *series.shape)
            if index >= shape[0]:
                raise InputError(f"{path.name} holds only {shape[0]} sample(s)")
            if len(series.pages) == shape[0]:  # read one plane, not a stack of perhaps many large ones
                return np.asarray(file.asarray(series=0, key=index))
            return np.asarray(series.asarray()).reshape(shape)[index]


def read_results(folder: str | Path) -> Results:
    """Read the tables of a result folder.

    Parameters
    ----------
    folder : path
        Result folder of one run.

    Returns
    -------
    Results
        Tables as they are on disk; image names stay strings whatever they look like (``001``, ``NA``).

    Raises
    ------
    InputError
        If the folder does not exist or holds neither ``run.json`` nor ``images.csv``.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the result folder of a finished run")
    if not (folder / "run.json").is_file() and not (folder / "images.csv").is_file():
        raise InputError(f"{folder}: not a result folder (neither run.json nor images.csv); give the run's --out")
    missing: dict[str, str] = {}
    names = ("images", "objects", "scores", "summary", "failures")
    tables = {name: _read_table(folder / f"{name}.csv", missing) for name in names}
    run = _read_run(folder / "run.json", missing)
    training = _read_log(folder / "model" / "training.jsonl", missing)
    ranking = folder / "segmenters.csv"
    segmenters = _read_table(ranking, missing) if run.get("segmenter_choice") and ranking.is_file() else pd.DataFrame()
    return Results(folder, run, training=training, missing=missing, segmenters=segmenters, **tables)


def _read_table(path: Path, missing: dict[str, str]) -> pd.DataFrame:
    try:
        # An image may be named "001" or "NA"; numbers are made of the other columns where they are used.
        return pd.read_csv(path, dtype=dict.fromkeys(_TEXT_COLUMNS, str), keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        missing[path.stem] = f"no {path.name} in the result folder"
    except pd.errors.EmptyDataError:
        missing[path.stem] = f"{path.name} is empty"
    except (pd.errors.ParserError, UnicodeDecodeError, OSError) as error:
        missing[path.stem] = f"{path.name} cannot be read: {_one_line(error)}"
    return pd.DataFrame()


def _read_run(path: Path, missing: dict[str, str]) -> dict[str, Any]:
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        missing["run"] = "no run.json in the result folder"
        return {}
    except (ValueError, OSError) as error:
        missing["run"] = f"run.json cannot be read: {_one_line(error)}"
        return {}
    if isinstance(run, dict):
        return run
    missing["run"] = "run.json is not a JSON object"
    return {}


def _read_log(path: Path, missing: dict[str, str]) -> pd.DataFrame:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        missing["training"] = "no model/training.jsonl in the result folder"
        return pd.DataFrame()
    records, bad = [], 0
    for line in filter(str.strip, lines):
        try:
            record = json.loads(line)
        except ValueError:
            bad += 1
            continue
        if isinstance(record, dict):
            records.append(record)
        else:
            bad += 1
    if bad:
        missing["training lines"] = f"{bad} line(s) of model/training.jsonl cannot be read and are left out"
    if not records:
        missing["training"] = "model/training.jsonl holds no step"
    return pd.DataFrame.from_records(records)


def _read_labels(path: Path) -> np.ndarray:
    _must_exist(path)
    return np.asarray(read_labels(path))


def _read_plain(path: Path) -> np.ndarray:
    _must_exist(path)
    return np.asarray(tifffile.imread(path))


def _must_exist(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(2, "no such file", str(path))


def _relative(path: Any, folder: Path) -> str:
    try:
        return Path(path).relative_to(folder).as_posix()
    except (ValueError, TypeError):
        return str(path)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
