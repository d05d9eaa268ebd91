"""TIFF files: the header, and one plane at a time."""

from __future__ import annotations

import functools
import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from divseg.errors import CodecRequired, FileProblem, one_line
from divseg.io import pixel_size as pixel_sizes
from divseg.io.axes import UNKNOWN
from divseg.io.ifd import COPY_AGAIN, TRUNCATED, check_chain
from divseg.io.image import Header, Index, PixelSize, native

_CODECS = 'install the codecs: pip install "divseg[codecs]"'
_lock = threading.Lock()  # parsed files are shared by threads, and their position is not


@dataclass(frozen=True)
class _Stack:
    """The first series of a TIFF, and the location of its pixels."""

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int | None  # of pixels that lie one after the other uncompressed, else None
    key: Any  # the page that says how pixels are stored
    pages: list[Any]  # empty if there is an offset
    n_series: int
    colours: bool


def tiff_header(path: str | Path) -> Header:
    """Read the header of a TIFF.

    Parameters
    ----------
    path : path
        ImageJ, OME or plain TIFF.

    Returns
    -------
    Header

    Raises
    ------
    FileProblem
        If the file is empty, damaged, cut off or not a TIFF, or compressed in a way that needs codecs.
    """
    check_chain(path)
    try:
        with _open(path) as tif:
            stack = _first_series(tif)
            pixel_size, note = _pixel_size(tif)
    except FileProblem:
        raise
    except Exception as error:  # a damaged file can make tifffile raise almost anything
        raise FileProblem(path, f"it cannot be read as TIFF ({one_line(error)})", COPY_AGAIN) from error
    if not stack.shape or 0 in stack.shape:
        raise FileProblem(path, "it holds no image", COPY_AGAIN)
    _check_decodable(path, stack)
    _check_complete(path, stack)
    notes = [note] if note else []
    if stack.n_series > 1:
        notes.append(
            f"it holds {stack.n_series} series of images and only the first is read; "
            "export the others as files of their own"
        )
    return Header(stack.axes, stack.shape, stack.dtype, pixel_size, notes, stack.colours)


def load_tiff(path: str | Path, index: Index) -> NDArray[np.generic]:
    """Read a part of a TIFF, see :func:`divseg.io.refs.load_index`; only this part if it is not compressed."""
    try:
        stat = Path(path).stat()
        stack = _parsed(str(path), stat.st_mtime_ns, stat.st_size)
        position = tuple(slice(None) if i is None else i for i in index)
        if stack.offset is not None:
            whole = np.memmap(path, stack.dtype, "r", stack.offset, stack.shape)
            return native(np.array(whole[position]))
        with _lock:
            return native(_from_pages(stack, position))
    except FileProblem:
        raise
    except Exception as error:
        if "imagecodecs" in str(error):
            raise CodecRequired(path, f"its compression needs codecs ({one_line(error)})", _CODECS) from error
        raise FileProblem(path, f"its pixels cannot be read ({one_line(error)})", COPY_AGAIN) from error


def _open(path: str | Path) -> Any:
    tif = tifffile.TiffFile(path)
    if tif.is_ome:
        pixels = pixel_sizes.ome_pixels(tif.ome_metadata or "")
        if pixels is not None and pixel_sizes.ome_file_count(pixels) > 1:
            # One part of an OME-TIFF spread over files: read by OME, each part would give the planes of all
            tif.close()
            return tifffile.TiffFile(path, is_ome=False)
    return tif


# A stack of many compressed planes would be parsed anew for each plane. Only headers are kept, and no file
# stays open: tifffile can open it again.
@functools.lru_cache(maxsize=4)
def _parsed(path: str, modified: int, size: int) -> _Stack:
    with _open(path) as tif:
        return _first_series(tif)


def _first_series(tif: Any) -> _Stack:
    series = tif.series
    first = series[0]
    axes, shape, n_series = first.axes, tuple(first.shape), len(series)
    offset = first.dataoffset if first.keyframe.is_memmappable else None
    pages = list(first.pages) if offset is None else []
    if n_series > 1 and first.kind != "ome" and _alike(series):
        # Written plane by plane in a loop, which makes each a series of its own
        axes, shape, offset = "I" + axes, (n_series, *shape), None
        pages = [page for part in series for page in part.pages]
        n_series = 1
    dtype = np.dtype(first.dtype)
    if offset is not None:
        dtype = dtype.newbyteorder(tif.byteorder)
    return _Stack(_plain_axes(axes), shape, dtype, offset, first.keyframe, pages, n_series, "S" in axes)


def _alike(series: Any) -> bool:
    first = series[0]
    return len(first.pages) == 1 and all(
        (part.axes, part.shape, part.dtype) == (first.axes, first.shape, first.dtype) for part in series
    )


def _plain_axes(axes: str) -> str:
    if "C" not in axes:
        axes = axes.replace("S", "C")  # tifffile's S are the samples of a pixel: colours
    return "".join(letter if letter in "TCZYX" else UNKNOWN for letter in axes)


def _from_pages(stack: _Stack, position: tuple[Any, ...]) -> NDArray[np.generic]:
    # pages run over the leading dimensions; each holds the others
    lead = next(k for k in range(len(stack.shape)) if math.prod(stack.shape[:k]) == len(stack.pages))
    numbers = np.arange(len(stack.pages)).reshape(stack.shape[:lead])[position[:lead]]
    inside = stack.shape[lead:]
    file = stack.pages[0].parent.filehandle
    file.open()
    try:
        planes = [stack.pages[k].asarray().reshape(inside)[position[lead:]] for k in np.ravel(numbers)]
    finally:
        file.close()
    return np.stack(planes).reshape(np.shape(numbers) + planes[0].shape)


def _check_decodable(path: str | Path, stack: _Stack) -> None:
    for table, key in (
        (tifffile.TIFF.DECOMPRESSORS, stack.key.compression),
        (tifffile.TIFF.UNPREDICTORS, stack.key.predictor),
    ):
        try:
            table[key]
        except (KeyError, ImportError) as error:
            name = getattr(key, "name", key)
            if "imagecodecs" in str(error):
                raise CodecRequired(path, f"its compression ({name}) needs codecs", _CODECS) from error
            raise FileProblem(path, f"its compression ({name}) is not known", "save it uncompressed") from error


def _check_complete(path: str | Path, stack: _Stack) -> None:
    size = Path(path).stat().st_size
    if stack.offset is not None:
        ends = stack.offset + math.prod(stack.shape) * stack.dtype.itemsize
        if ends > size:
            raise FileProblem(path, TRUNCATED, COPY_AGAIN)
        return
    for page in stack.pages:
        if page is None:
            raise FileProblem(path, "some of its planes are in no file", "export it as one file")
        if any(o + n > size for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)):
            raise FileProblem(path, TRUNCATED, COPY_AGAIN)


def _pixel_size(tif: Any) -> tuple[PixelSize | None, str | None]:
    xml = tif.pages[0].description if "<OME" in (tif.pages[0].description or "")[:2000] else ""
    if xml:  # before the TIFF tags, which OME files fill with nonsense
        pixels = pixel_sizes.ome_pixels(xml)
        if pixels is None:
            return None, "its OME-XML cannot be read: the pixel size is not known"
        return pixel_sizes.ome_pixel_size(pixels)
    if tif.is_imagej:
        return pixel_sizes.imagej_pixel_size(tif.imagej_metadata or {}, tif.pages[0].tags)
    return None, None
