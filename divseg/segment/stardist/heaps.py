"""Damage in HDF5 files that the HDF5 library does not survive.

Strings of variable length lie in global heaps. Where an object of a heap claims no length at all, the library reads the
same object for ever, in C, where neither a signal nor a timeout reaches it.
"""

from __future__ import annotations

import struct
from pathlib import Path

HEAP = b"GCOL\x01\0\0\0"
"""Signature, version and reserved bytes of a global heap (HDF5 File Format Specification 3.0, III.E)."""

OBJECT = struct.Struct("<H6xQ")
"""Header of an object in a heap: index, and bytes; index 0 is free space, header included."""


def check_heaps(path: Path) -> None:
    """Walk all global heaps as the HDF5 library does.

    Raises
    ------
    ValueError
        If an object does not lead to the next, or out of its heap.
    OSError
        If the file cannot be read.
    """
    data = path.read_bytes()
    start = data.find(HEAP)
    while start >= 0:
        place = start + 16
        claimed = int.from_bytes(data[start + 8 : place], "little")
        end = min(start + claimed, len(data))
        while place + OBJECT.size <= end:
            index, length = OBJECT.unpack_from(data, place)
            step = OBJECT.size + -(-length // 8) * 8 if index else length
            if not 0 < step <= end - place:
                raise ValueError(f"damaged heap at byte {start}: an object of {length} bytes at byte {place}")
            place += step
        start = data.find(HEAP, start + len(HEAP))
