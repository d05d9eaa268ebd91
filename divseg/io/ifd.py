"""A look at the chain of TIFF directories, before tifffile reads the file.

tifffile stops quietly where the chain of directories is cut off and gives the planes before the cut; a file
that was copied by half would be taken for a smaller one. So the chain is followed here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from divseg.errors import FileProblem

TRUNCATED = "it is cut off: it ends before its last plane"
COPY_AGAIN = "copy or export it again"
_NEEDED = {270, 273, 279, 324, 325}  # description, and offsets and sizes of strips and tiles
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 16: 8}  # of a value of each type in bytes


def check_chain(path: str | Path) -> None:
    """Make sure that a file is a TIFF and that its chain of directories is whole.

    Parameters
    ----------
    path : path
        A TIFF or BigTIFF file.

    Raises
    ------
    FileProblem
        If it is empty, not a TIFF, cut off or cannot be read.
    """
    try:
        size = Path(path).stat().st_size
        if size == 0:
            raise FileProblem(path, "it is empty (0 bytes)", COPY_AGAIN)
        with open(path, "rb") as file:
            _follow(path, file, size)
    except OSError as error:
        raise FileProblem(path, f"it cannot be opened ({error.strerror or error})", "check it") from error


def _follow(path: str | Path, file: BinaryIO, size: int) -> None:
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    magic = struct.unpack(f"{order}H", head[2:4])[0] if order and len(head) >= 4 else 0
    if magic not in (42, 43):
        raise FileProblem(
            path,
            f"it is not a TIFF file despite its name (it begins with {head[:8]!r})",
            "export it as TIFF",
        )
    big = magic == 43
    count, entry, pointer, start = ("Q", 20, "Q", 8) if big else ("H", 12, "I", 4)
    count_size, pointer_size = struct.calcsize(count), struct.calcsize(pointer)
    if len(head) < start + pointer_size:
        raise FileProblem(path, TRUNCATED, COPY_AGAIN)
    offset = struct.unpack(f"{order}{pointer}", head[start : start + pointer_size])[0]
    seen: set[int] = set()
    while offset:
        if offset in seen:
            raise FileProblem(path, "its list of planes runs in a circle", COPY_AGAIN)
        seen.add(offset)
        if offset + count_size > size:
            raise FileProblem(path, TRUNCATED, COPY_AGAIN)
        file.seek(offset)
        entries = struct.unpack(f"{order}{count}", file.read(count_size))[0]
        if offset + count_size + entries * entry + pointer_size > size:
            raise FileProblem(path, TRUNCATED, COPY_AGAIN)
        body = file.read(entries * entry)
        if any(end > size for end in _ends(body, f"{order}HH{pointer}{pointer}", entry)):
            raise FileProblem(path, TRUNCATED, COPY_AGAIN)
        offset = struct.unpack(f"{order}{pointer}", file.read(pointer_size))[0]
    if not seen:
        raise FileProblem(path, "it holds no image", COPY_AGAIN)


def _ends(body: bytes, layout: str, entry: int) -> Iterator[int]:
    """Yield the ends of values that are stored elsewhere in the file, such as sizes of strips and OME-XML."""
    room = struct.calcsize(layout) - struct.calcsize(layout[:-1])
    for code, kind, count, value in struct.iter_unpack(layout, body[: len(body) // entry * entry]):
        length = _SIZES.get(kind, 0) * count
        if code in _NEEDED and length > room:
            yield value + length
