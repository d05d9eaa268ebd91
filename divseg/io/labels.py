"""Label images in and out."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divseg.errors import FileProblem, InputError, one_line
from divseg.io.arrays import read_arrays
from divseg.io.formats import open_mask
from divseg.io.image import PixelSize
from divseg.io.image_source import ImageSource
from divseg.io.sources import is_mask_array
from divseg.io.write import write_tiff
from divseg.labels import check_labels

_INT32 = np.iinfo(np.int32).max


def read_labels(path: str | os.PathLike[str]) -> NDArray[np.signedinteger[Any]]:
    """Read a label image: whole numbers, 0 is background.

    Parameters
    ----------
    path : path
        TIFF or PNG of whole numbers, 2-D or a stack of planes; of an indexed picture the index counts.

    Returns
    -------
    array, shape (Y, X) or (N, Y, X), int32
        int64 where a label is larger than int32 can hold. Of true/false masks, true is label 1.

    Raises
    ------
    InputError
        If it cannot be read, has colours, more than three dimensions, or a value that is negative or not whole.
    """
    path = Path(path)
    shape = label_shape(path)
    if len(squeezed(shape)) > 3:
        raise FileProblem(path, f"a mask of shape {shape} has more than three dimensions", "save a stack of planes")
    return load_labels(path, shape)


def label_shape(path: Path) -> tuple[int, ...]:
    """Return the shape of a label image from its header.

    Raises
    ------
    InputError
        If the file cannot be read, or cannot be a label image.
    """
    if is_mask_array(path):
        return _mask_array(path).shape
    return _open(path).shape


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape without leading dimensions of length one."""
    return tuple(n for n in shape[:-2] if n > 1) + shape[-2:]


def load_labels(path: Path, shape: tuple[int, ...], lead: tuple[int, ...] = ()) -> NDArray[np.signedinteger[Any]]:
    """Read a label image, or the part of a stack at the leading positions `lead`.

    Parameters
    ----------
    path : Path
        The file.
    shape : tuple of int
        Shape of the file, from :func:`label_shape`.
    lead : tuple of int
        Positions along the first dimensions that are longer than one.

    Returns
    -------
    array, int32 or int64
        Without the dimensions that `lead` fixes and without leading ones of length one.

    Raises
    ------
    InputError
        As for :func:`read_labels`.
    """
    positions = list(lead)
    index: list[int | None] = []
    for n in shape[:-2]:
        index.append(0 if n == 1 else positions.pop(0) if positions else None)
    if is_mask_array(path):
        array = _mask_array(path)
        return _as_labels(path, array[tuple(slice(None) if i is None else i for i in (*index, None, None))])
    return _as_labels(path, _open(path).load((*index, None, None), labels=True))


def _mask_array(path: Path) -> NDArray[Any]:
    """Read a ``_seg.npy`` of label images."""
    try:
        array = read_arrays(path)
    except (OSError, ValueError) as error:
        raise FileProblem(path, f"it cannot be read ({one_line(error)})", "save its masks as TIFF or PNG") from error
    if isinstance(array, dict) or array.dtype.kind not in "biuf" or array.ndim < 2 or not array.size:
        raise FileProblem(path, "it does not hold label images", "save its masks as TIFF or PNG")
    return array


def write_labels(path: str | os.PathLike[str], labels: ArrayLike, pixel_size: PixelSize | None = None) -> None:
    """Write a label image, wholly or not at all.

    Up to 65535 it is a uint16 ImageJ TIFF, above a uint32 OME-TIFF; both compressed without loss, with a colour for
    each label in Fiji (above 255 labels, neighbours in number share one).

    Parameters
    ----------
    path : path
        The file.
    labels : array_like of int, shape (Y, X) or (Z, Y, X)
        0 is background.
    pixel_size : PixelSize, optional
        Written so that Fiji shows it.

    Raises
    ------
    InputError
        If the labels are not integers from 0 to 4294967295, or not 2-D or 3-D.
    OutputError
        If the file cannot be written.
    """
    data = check_labels(labels, os.fspath(path))
    _write(path, data, "ZYX"[-data.ndim :], pixel_size, {})


def write_label_stack(
    path: str | os.PathLike[str],
    labels: ArrayLike,
    pixel_size: PixelSize | None = None,
    interval: float | None = None,
) -> None:
    """Write label images of frames as one stack in time, as :func:`write_labels` writes one.

    Parameters
    ----------
    path, pixel_size
        As for :func:`write_labels`.
    labels : array_like of int, shape (T, Y, X) or (T, Z, Y, X)
        0 is background.
    interval : float, optional
        Seconds between frames.
    """
    data = check_labels(labels, os.fspath(path), ndim=(3, 4))
    timing = {} if interval is None else {"finterval": float(interval)}
    _write(path, data, "TYX" if data.ndim == 3 else "TZYX", pixel_size, timing)


def _write(
    path: str | os.PathLike[str],
    labels: NDArray[Any],
    axes: str,
    pixel_size: PixelSize | None,
    description: dict[str, Any],
) -> None:
    high = int(labels.max())
    if high > np.iinfo(np.uint32).max:
        raise InputError(f"{os.fspath(path)}: label {high} is larger than 4294967295; renumber the labels")
    data = np.ascontiguousarray(labels, dtype=np.uint16 if high <= np.iinfo(np.uint16).max else np.uint32)
    shown = {"min": 0.0, "max": float(max(high, 255)), **description}
    write_tiff(path, data, axes, pixel_size, compression="zlib", shown=shown, label_lut=True)


def _open(path: Path) -> ImageSource:
    """Return a file of label images; FileProblem for one that cannot be."""
    stat = path.stat() if path.exists() else None
    source = open_mask(path) if stat is None else _opened(path, stat.st_mtime_ns, stat.st_size)
    if source.colours:
        raise FileProblem(
            path,
            f"a mask with colours (shape {source.shape})",
            "save the label of each pixel as one whole number, not as a colour",
        )
    if source.dtype.kind not in "biuf":
        raise FileProblem(path, f"a mask of dtype {source.dtype}", "save the mask as integers")
    return source


@functools.lru_cache(maxsize=4)  # the label images of a stack are read one after the other
def _opened(path: Path, modified: int, size: int) -> ImageSource:
    return open_mask(path)


def _as_labels(path: Path, data: NDArray[Any]) -> NDArray[np.signedinteger[Any]]:
    if data.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            _refuse(path, ~(data == np.rint(data)) | np.isinf(data), data, "a mask with", "labels are whole numbers")
    if data.dtype.kind in "if":
        _refuse(path, data < 0, data, "a mask with the negative", "labels must be 0 or larger")
    high = int(data.max())
    if high > np.iinfo(np.int64).max:
        raise FileProblem(path, f"a mask with the value {high}", "renumber its labels")
    return data.astype(np.int32 if high <= _INT32 else np.int64)


def _refuse(path: Path, wrong: NDArray[np.bool_], data: NDArray[Any], what: str, rule: str) -> None:
    """Raise FileProblem if any pixel is wrong."""
    if wrong.any():
        first = tuple(int(i) for i in np.unravel_index(int(wrong.argmax()), data.shape))
        raise FileProblem(path, f"{what} value {data[first]} at {first}", f"{rule}: correct it")
