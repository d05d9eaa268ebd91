"""How much memory a file may claim: what its header says is checked before anything is allocated."""

from __future__ import annotations

import math
import os
from pathlib import Path

from divseg.errors import ConfigError, FileProblem

VARIABLE = "DIVSEG_MAX_GB"
"""Environment variable that holds the limit in gigabytes (1e9 bytes); worker processes inherit it."""

DEFAULT_GB = 8.0
"""Limit without the variable: an image of 2 gigapixels in float32."""

_SMALL = 2**26
"""Bytes that any file may claim."""

_DENSEST = 2000
"""Deflate, the densest of the common compressions, makes 1 byte of at most 1032."""


def limit_bytes() -> float:
    """Return how many bytes the content of one file, or one plane of it, may take in memory.

    Raises
    ------
    ConfigError
        If the variable holds something else than a positive number.
    """
    text = os.environ.get(VARIABLE, "").strip()
    try:
        value = float(text) if text else DEFAULT_GB
    except ValueError:
        value = math.nan
    if not value > 0:
        raise ConfigError(f"{VARIABLE}={text}: give the limit in gigabytes, a number above 0, for example 32")
    return value * 1e9


def check_claim(path: str | Path, claimed: int, *, compressed: bool = True) -> None:
    """Make sure that a file does not claim more memory than it may.

    Parameters
    ----------
    path : path
        The file.
    claimed : int
        Bytes that its content would take in memory.
    compressed : bool
        Whether these may be more than the bytes of the file. If so, they may still not be more than any common
        compression can hold: such a file is damaged or made to fill the memory.

    Raises
    ------
    FileProblem
        If it claims too much.
    """
    if claimed > limit_bytes():
        raise FileProblem(
            path,
            f"it claims {claimed / 1e9:.3g} GB of memory, and {limit_bytes() / 1e9:g} GB are allowed",
            f"if it is right, raise the limit: set the environment variable {VARIABLE}",
        )
    if os.path.isdir(path):  # of chunks, some of which may be left out
        return
    size = os.stat(path).st_size
    if claimed > max(_SMALL, size * (_DENSEST if compressed else 1)):
        raise FileProblem(
            path,
            f"it claims {claimed / 1e9:.3g} GB but has only {size} bytes",
            "it is damaged: copy or export it again",
        )
