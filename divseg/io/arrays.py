"""NumPy's files (.npy and .npz), checked before memory is claimed; pickles are never opened."""

from __future__ import annotations

import io
import lzma
import math
import os
import zipfile
import zlib
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from divseg.errors import one_line
from divseg.io.limits import check_claim

_MAX_HEADER = 10_000


def read_arrays(path: str | os.PathLike[str]) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """Read an .npy file, or all arrays of an .npz file; the content tells which it is, not the name.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is damaged, holds Python objects (a pickle), or claims more memory than it may.
    """
    with open(path, "rb") as file:
        if file.read(6) == np.lib.format.MAGIC_PREFIX:
            file.seek(0)
            return parse_npy(file.read())
    try:
        with zipfile.ZipFile(path) as archive:
            return read_archive(archive)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"it is not a whole archive ({one_line(error)})") from error


def read_archive(archive: zipfile.ZipFile) -> dict[str, NDArray[Any]]:
    """Read all arrays of an open .npz archive by name; errors as those of `zipfile`, and ValueError."""
    members = archive.infolist()
    check_claim(str(archive.filename), sum(member.file_size for member in members))
    arrays = {member.filename.removesuffix(".npy"): parse_npy(archive.read(member)) for member in members}
    if len(arrays) < len(members):
        raise ValueError("it holds two arrays of one name")
    return arrays


def parse_npy(data: bytes) -> NDArray[Any]:
    """Return the array in the bytes of an .npy file; ValueError as for :func:`read_arrays`."""
    file = io.BytesIO(data)
    shape, dtype = _header(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects (a pickle), which are not opened: they could run code")
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize > len(data) - file.tell():
        raise ValueError(f"it claims an array of shape {shape} but has only {len(data)} bytes")
    file.seek(0)
    return np.asarray(np.lib.format.read_array(file, allow_pickle=False, max_header_size=_MAX_HEADER))


def _header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file, max_header_size=_MAX_HEADER)
    except Exception as error:  # the header is Python text, and parsing it can fail in many ways
        raise ValueError(f"its header cannot be read ({type(error).__name__})") from error
    return tuple(shape), dtype
