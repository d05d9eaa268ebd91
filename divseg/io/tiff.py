"""TIFF files: the headers of their images, and one plane at a time."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from divseg.errors import CodecRequired, DivsegError, FileProblem, one_line
from divseg.io.grey import all_equal
from divseg.io.ifd import COPY_AGAIN, check_chain
from divseg.io.image import Index, native
from divseg.io.image_source import COLOURS, ImageSource
from divseg.io.limits import check_claim
from divseg.io.metadata import Facts, imagej_facts, ome_facts
from divseg.io.ome import ome_pixels, parse_ome
from divseg.io.packed import PACKED, read_packed
from divseg.io.tiff_series import Stack, check_stack, image_stacks, open_tiff

_CODECS = 'install the codecs: pip install "divseg[codecs]"'
_lock = threading.Lock()  # parsed files are shared by threads, and their position is not


@dataclass(frozen=True, kw_only=True)
class TiffSource(ImageSource):
    """A series of a TIFF."""

    def load(self, index: Index, *, labels: bool = False) -> NDArray[np.generic]:
        """Read a part of it; only this part if it is not compressed.

        Masks of 1 bit are taken as they are stored, 1 for the objects: programs write them so whichever they call
        white.
        """
        return _load(self.path, index, self.series, labels)


def tiff_sources(path: str | Path) -> list[TiffSource]:
    """Read the headers of the images in a TIFF: one for each series, previews and reduced copies left out.

    Parameters
    ----------
    path : path
        ImageJ, OME or plain TIFF, or BigTIFF.

    Returns
    -------
    list of TiffSource
        What is left out stands in the notes of the first.

    Raises
    ------
    FileProblem
        If the file is empty, damaged, cut off or not a TIFF, claims more memory than it may, is packed or
        compressed in a way that cannot be read, or points at other files.
    """
    check_chain(path)
    try:
        with open_tiff(path) as tif:
            stacks, notes = image_stacks(tif)
            facts = _facts(tif, stacks)
        for stack in stacks:
            if not stack.shape or 0 in stack.shape:
                raise FileProblem(path, "it holds no image", COPY_AGAIN)
            _check_decodable(path, stack)
            check_stack(path, stack)
            claimed = max(stack.n_pixels(), stack.n_pixels("YXC"), math.prod(stack.key.chunks))
            check_claim(path, claimed * stack.dtype.itemsize, compressed=stack.dense)
        sources = [
            _source(Path(path), k, stack, of, notes if k == 0 else [])
            for k, (stack, of) in enumerate(zip(stacks, facts, strict=True))
        ]
    except DivsegError:
        raise
    except Exception as error:  # a damaged file can make tifffile raise almost anything
        raise FileProblem(path, f"it cannot be read as TIFF ({one_line(error)})", COPY_AGAIN) from error
    if not sources:
        raise FileProblem(path, "it holds no image", COPY_AGAIN)
    return sources


def _load(path: Path, index: Index, series: int, labels: bool) -> NDArray[np.generic]:
    try:
        stat = Path(path).stat()
        stack = _parsed(str(path), stat.st_mtime_ns, stat.st_size)[series]
        wanted = [slice(None) if i is None else i for i in index]
        if len(index) < len(stack.shape) and stack.sample_axis is not None:
            wanted.insert(stack.sample_axis, 0)  # colours that are all the same
        position = tuple(wanted)
        check_claim(path, _selected(stack, position), compressed=stack.dense)
        if stack.offset is not None:
            data = np.array(np.memmap(path, stack.dtype, "r", stack.offset, stack.shape)[position])
        else:
            with _lock:
                data = _from_pages(stack, position)
        return native(data) if labels and stack.bits == 1 else _as_shown(native(data), stack)
    except DivsegError:
        raise
    except Exception as error:
        if "imagecodecs" in str(error):
            raise CodecRequired(path, f"its compression needs codecs ({one_line(error)})", _CODECS) from error
        raise FileProblem(path, f"its pixels cannot be read ({one_line(error)})", COPY_AGAIN) from error


# A stack of many compressed planes would be parsed anew for each plane. Only headers are kept, and no file
# stays open: tifffile can open it again.
@functools.lru_cache(maxsize=4)
def _parsed(path: str, modified: int, size: int) -> list[Stack]:
    with open_tiff(path) as tif:
        return image_stacks(tif)[0]


def _source(path: Path, number: int, stack: Stack, facts: Facts, left_out: Sequence[str]) -> TiffSource:
    axes, shape, colours = stack.axes, stack.shape, stack.colours
    notes, channels, equal = [*left_out, *facts.notes], facts.channels, 0
    axis = stack.sample_axis
    if axis is not None and _is_grey(stack):
        equal = shape[axis]
        axes, shape, colours = axes[:axis] + axes[axis + 1 :], shape[:axis] + shape[axis + 1 :], False
    elif axis is not None and stack.alpha and shape[axis] == 2:
        raise FileProblem(path, "it is transparent in places (grey with an alpha channel)", "save it without alpha")
    elif axis is not None:
        channels = COLOURS[: shape[axis]]
    if stack.inverted:
        notes.append("its smallest value means white: it is inverted, as viewers show it")
    if stack.palette:
        notes.append("it has a table of colours: the index of each pixel is taken as its intensity")
    return TiffSource(
        path=path,
        axes=axes,
        shape=shape,
        dtype=stack.dtype.newbyteorder("="),
        pixel_size=facts.pixel_size,
        interval=facts.interval,
        channels=channels if "C" in axes and len(channels) == shape[axes.index("C")] else (),
        series=number,
        notes=tuple(notes),
        colours=colours,
        equal=equal,
    )


def _is_grey(stack: Stack) -> bool:
    """Look at the pixels of a picture in colours until two of them differ."""
    axis = stack.sample_axis or 0
    for place in np.ndindex(stack.shape[:-3]):  # rows, columns and samples are the last three
        part: tuple[Any, ...] = (*place, slice(None), slice(None), slice(None))
        if stack.offset is not None:
            plane = np.memmap(stack.key.parent.filehandle.path, stack.dtype, "r", stack.offset, stack.shape)[part]
        else:
            with _lock:
                plane = _from_pages(stack, part)
        if not all_equal(np.moveaxis(plane, axis - len(place), -1), stack.alpha, 2**stack.bits - 1):
            return False
    return True


def _selected(stack: Stack, position: tuple[Any, ...]) -> int:
    sides = [len(range(*p.indices(n))) for p, n in zip(position, stack.shape, strict=True) if isinstance(p, slice)]
    return math.prod(sides) * stack.dtype.itemsize


def _lead(stack: Stack) -> tuple[int, ...]:
    """Return the leading dimensions, over which pages run; each page holds the others."""
    k = next(k for k in range(len(stack.shape)) if math.prod(stack.shape[:k]) == len(stack.pages))
    return stack.shape[:k]


def _from_pages(stack: Stack, position: tuple[Any, ...]) -> NDArray[np.generic]:
    lead = _lead(stack)
    numbers = np.arange(len(stack.pages)).reshape(lead)[position[: len(lead)]]
    inside = stack.shape[len(lead) :]
    file = stack.pages[0].parent.filehandle
    file.open()
    try:
        planes = [_page(stack, k).reshape(inside)[position[len(lead) :]] for k in np.ravel(numbers)]
    finally:
        file.close()
    return np.stack(planes).reshape(np.shape(numbers) + planes[0].shape)


def _page(stack: Stack, number: int) -> NDArray[np.generic]:
    page = stack.pages[number]
    if stack.bits in PACKED:
        return read_packed(page, stack.key)
    return np.asarray(page.asarray())


def _as_shown(data: NDArray[Any], stack: Stack) -> NDArray[np.generic]:
    """Turn min-is-white pixels round, so that larger is brighter."""
    if not stack.inverted:
        return data
    if data.dtype.kind == "u":
        return data.dtype.type(2 ** min(stack.bits, 8 * data.dtype.itemsize) - 1) - data
    return ~data if data.dtype.kind in "bi" else -data


def _check_decodable(path: str | Path, stack: Stack) -> None:
    if stack.bits in PACKED:
        if stack.key.is_tiled or stack.key.samplesperpixel > 1 or int(stack.key.predictor) != 1:
            raise FileProblem(path, f"its pixels are packed, {stack.bits} bits each", "save it with 8, 16 or 32 bits")
    elif stack.bits not in (1, 8, 16, 32, 64, 128):
        raise FileProblem(path, f"its pixels have {stack.bits} bits", "save it with 8, 16 or 32 bits")
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


def _facts(tif: Any, stacks: Sequence[Stack]) -> list[Facts]:
    """Return what the file says of each of its series."""
    xml = tif.pages[0].description if "<OME" in (tif.pages[0].description or "")[:2000] else ""
    if xml:  # before the TIFF tags, which OME files fill with nonsense
        root = parse_ome(xml)
        found = [] if root is None else [ome_facts(pixels) for pixels in ome_pixels(root)]
        found = found or [Facts(notes=("its OME-XML cannot be read: the pixel size is not known",))]
        return [found[min(stack.number, len(found) - 1)] for stack in stacks]
    if tif.is_imagej:
        channels = [stack.shape[stack.axes.index("C")] if "C" in stack.axes else 1 for stack in stacks]
        return [imagej_facts(tif.imagej_metadata or {}, tif.pages[0].tags, n) for n in channels]
    return [Facts()] * len(stacks)
