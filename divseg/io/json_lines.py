"""Files with one JSON object a line, such as the log of a training."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from divseg.io.atomic import write_text
from divseg.io.json_file import parse_json


def write_json_lines(path: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line, wholly or not at all.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def read_json_lines(path: str | os.PathLike[str]) -> tuple[list[dict[str, Any]], list[int]]:
    """Read a file with one JSON object a line; blank lines do not count.

    Returns
    -------
    rows : list of dict
        The objects, in the order of the file.
    damaged : list of int
        Numbers, from 1, of the lines that are not JSON objects and are left out.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    rows: list[dict[str, Any]] = []
    damaged: list[int] = []
    text = Path(path).read_bytes().decode("utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            damaged.append(number)
    return rows, damaged
