"""Reading the tables of a run folder, and the training log of a model."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from divseg.errors import DAMAGE, InputError, one_line
from divseg.io.atomic import from_text
from divseg.io.json_lines import read_json_lines

TRAINING_LOG = "training.jsonl"
# From pandas 3.1 on this is how floats are always read, and asking for it is deprecated
_NEW_PANDAS = tuple(int(part) for part in pd.__version__.split(".")[:2]) >= (3, 1)
_EXACT_FLOATS: dict[str, Any] = {} if _NEW_PANDAS else {"float_precision": "round_trip"}
_TEXT = (
    "image",
    "file",
    "input",
    "stage",
    "error",
    "warnings",
    "pixel_unit",
    "plane",
    "segmenter",
    "missing",
    "rivals",
    "series",
    "unit",
)


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of a run folder.

    Parameters
    ----------
    path : Path
        CSV file.

    Returns
    -------
    pandas.DataFrame
        Numbers exactly as they were written, NaN if a cell is empty. Texts stay texts whatever they look like (an
        image may be named ``001`` or ``NA``). Without rows and columns if there is no file.

    Raises
    ------
    InputError
        If the file cannot be read as a table.
    """
    try:
        table = pd.read_csv(
            path,
            dtype=dict.fromkeys(_TEXT, str),
            keep_default_na=False,
            na_values=[""],
            encoding="utf-8",
            **_EXACT_FLOATS,
        )
    except FileNotFoundError:
        return pd.DataFrame()
    except DAMAGE as error:  # pandas' own errors are ValueErrors
        raise InputError(
            f"{path}: this is not a table of a run ({one_line(error)}); delete it and run again"
        ) from error
    table = table.fillna(dict.fromkeys(_TEXT, ""))
    for name in set(_TEXT) & set(table.columns):
        table[name] = pd.Series([from_text(value) for value in table[name]], table.index, dtype=str)
    return table


def column(table: pd.DataFrame, name: str) -> np.ndarray:
    """Return one column as numbers.

    Parameters
    ----------
    table : pandas.DataFrame
        Any table of the run folder.
    name : str
        Name of the column.

    Returns
    -------
    numpy.ndarray
        Shape ``(len(table),)``, float64; NaN for what is not a finite number, and throughout if there is no such
        column.
    """
    if name not in table:
        return np.full(len(table), np.nan)
    try:
        values = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=float)
    except OverflowError:  # a whole number of hundreds of digits
        values = np.array([_float(value) for value in table[name]])
    return np.where(np.isfinite(values), values, np.nan)


def _float(value: Any) -> float:
    try:
        return float(value)
    except (OverflowError, TypeError, ValueError):
        return math.nan


def text(table: pd.DataFrame, name: str) -> list[str]:
    """Return one column as strings, empty if there is no such column."""
    return [value if isinstance(value, str) else "" for value in table[name]] if name in table else [""] * len(table)


def read_training_log(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read the training log of a model folder.

    Parameters
    ----------
    path : path
        The log, or the model folder that holds it.

    Returns
    -------
    pandas.DataFrame
        A row for each report: step, megapixels, seconds, loss, nll, kl (nats per pixel), beta, lr, active, skipped;
        val_loss, val_kl and val_active in the rows with a validation. Empty if the training was too short for a report.

    Raises
    ------
    InputError
        If there is no log, or it is damaged.
    """
    file = Path(path)
    if file.is_dir():
        file = file / TRAINING_LOG
    try:
        rows, damaged = read_json_lines(file)
    except OSError as error:
        raise InputError(f"{file}: there is no training log to read ({error.strerror}); name a model folder") from error
    if damaged:
        raise InputError(f"{file}: line {damaged[0]} is damaged; delete the line")
    try:
        table = pd.DataFrame(rows, dtype=float)
    except DAMAGE as error:
        raise InputError(f"{file}: the training log is damaged ({one_line(error)}); train again") from error
    missing = sorted({"step", "loss", "kl", "active"} - set(table.columns))
    if rows and missing:
        raise InputError(f"{file}: the training log lacks {', '.join(missing)}; train again")
    return table
