"""Files that are there wholly or not at all.

Everything is written to a temporary file in the same folder, brought to the disk and then renamed over the
target: a reader, or a run after a crash, never sees half a file.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from divseg.errors import OutputError, one_line

PART = ".part"
"""Suffix of temporary files, named ``.<target>.<random>.part``."""
_ADVICE = {
    errno.ENOSPC: "free some space or choose another folder",
    errno.EDQUOT: "free some space or choose another folder",
    errno.EFBIG: "raise the limit on file sizes or choose another folder",
    errno.EACCES: "check the rights of the folder or choose another one",
    errno.EPERM: "check the rights of the folder or choose another one",
    errno.EROFS: "choose a folder that can be written to",
    errno.ENAMETOOLONG: "give the image a shorter name or choose a shorter path",
    errno.EISDIR: "there is a folder of that name: move it away",
    errno.ENOTDIR: "part of the path is a file: choose another folder",
}


def output_error(path: str | os.PathLike[str], error: OSError) -> OutputError:
    """Return the error that says why a file or folder could not be written and what to do."""
    advice = _ADVICE.get(error.errno or 0, "choose another folder")
    cause = error.strerror or one_line(error)
    return OutputError(f"{os.fspath(path)}: it could not be written ({cause}); {advice}")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write a file so that it appears only when it is complete.

    Parameters
    ----------
    path : path
        The file; its folder is made if it is missing. A file of this name is replaced.

    Yields
    ------
    file
        Binary file to write to. If an exception leaves the block, the target stays as it was.

    Raises
    ------
    OutputError
        If the disk is full, the folder cannot be written to or the like; names the file.
    """
    target = Path(path)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}{PART}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(part, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise output_error(target, error) from error


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write bytes, wholly or not at all.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    with replacing(path) as file:
        file.write(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write text as UTF-8, wholly or not at all; bytes of names that are not UTF-8 as escapes that JSON understands.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    write_bytes(path, as_utf8(text).encode())


def as_utf8(value: Any) -> Any:
    """Return a text with escapes for what UTF-8 cannot hold, such as bytes of a file name; another value as it is.

    Texts of a table need it: pandas cannot hold others where pyarrow is installed.
    """
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def write_json(path: str | os.PathLike[str], value: Any, *, nan: bool = False) -> None:
    """Write a value as JSON, wholly or not at all.

    Parameters
    ----------
    path : path
        The file.
    value : dict, list, number, ...
        May hold NumPy scalars and arrays, paths and tuples.
    nan : bool
        Keep NaN and infinity as Python reads them back, instead of writing null as standard JSON wants.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    plain = to_plain(value, nan=nan)
    write_text(path, json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=nan) + "\n")


def write_csv(path: str | os.PathLike[str], table: pd.DataFrame) -> None:
    """Write a table as CSV without its index, wholly or not at all; floats keep all their digits.

    A text that a spreadsheet would run as a formula, such as the name ``=1+1``, gets an apostrophe before it
    (:func:`as_text`); numbers, also negative ones, stay as they are.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    table = table.copy(deep=False)
    for name in table:
        if not pd.api.types.is_numeric_dtype(table[name]):
            table[name] = table[name].map(as_text)
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


_FORMULA = re.compile(r"'*[=+\-@\t]")


def as_text(value: Any) -> Any:
    r"""Return a cell that no spreadsheet takes for a formula; :func:`from_text` gives back what it was.

    A carriage return becomes ``\r``: it would end the row.
    """
    if not isinstance(value, str):
        return value
    value = value.replace("\r", "\\r")
    if not _FORMULA.match(value):
        return value
    try:
        float(value)
    except ValueError:
        return "'" + value
    return value


def from_text(value: Any) -> Any:
    """Return what :func:`as_text` was given."""
    return value[1:] if isinstance(value, str) and value[:1] == "'" and _FORMULA.match(value) else value


def to_plain(value: Any, *, nan: bool = True) -> Any:
    """Return a value made of dict, list, str, int, float, bool and None only.

    Raises
    ------
    TypeError
        If something in it has no such form.
    """
    if isinstance(value, dict):
        return {str(key): to_plain(item, nan=nan) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item, nan=nan) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return to_plain(value.tolist(), nan=nan)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, float) and not nan and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"{value!r} of type {type(value).__name__} cannot be written as JSON")
