"""Tables as Parquet, for those who read them with a program; needs the extra ``parquet``."""

from __future__ import annotations

import os

import pandas as pd

from divseg.errors import ExtraRequired
from divseg.io.atomic import replacing


def require_pyarrow() -> None:
    """Raise ExtraRequired if Parquet cannot be written here."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ExtraRequired(f'Parquet needs pyarrow ({error}): pip install "divseg[parquet]"') from error


def write_parquet(path: str | os.PathLike[str], table: pd.DataFrame) -> None:
    """Write a table as Parquet without its index, wholly or not at all.

    Raises
    ------
    ExtraRequired
        If pyarrow is not installed.
    OutputError
        If it cannot be written.
    """
    require_pyarrow()
    with replacing(path) as file:
        table.to_parquet(file, engine="pyarrow", index=False)
