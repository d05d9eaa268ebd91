"""JSON from files of which nothing is known."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from divseg.errors import brief
from divseg.io.limits import limit_bytes


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is not JSON in UTF-8, or nested too deeply, or too large.
    """
    if (size := Path(path).stat().st_size) > limit_bytes():
        raise ValueError(f"it has {size / 1e9:.3g} GB")
    return parse_json(Path(path).read_bytes())


def read_json_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON file that holds an object; errors as of :func:`read_json`, and ValueError for another value."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__}, not an object")
    return value


def parse_json(text: str | bytes) -> Any:
    """Read JSON from text; ValueError says in one line what is wrong."""
    try:
        return json.loads(text.decode("utf-8") if isinstance(text, bytes) else text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def whole(value: Any, low: int = 0, high: int = 2**31) -> int:
    """Return a whole number within limits; ValueError for any other value, true and false among them."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise ValueError(f"{brief(value)} is not a whole number")
    if not low <= value <= high:
        raise ValueError(f"{brief(value)} is not between {low} and {high}")
    return int(value)


def real(value: Any) -> float:
    """Return a finite number as float; ValueError for any other value, true and false among them."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{brief(value)} is not a number")
    if not -1e308 < value < 1e308:
        raise ValueError(f"{brief(value)} is not a finite number")
    return float(value)
