"""Which images a TIFF holds: its series, without previews, and where the pixels of each lie."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from divseg.errors import FileProblem
from divseg.io.axes import UNKNOWN
from divseg.io.ifd import COPY_AGAIN, TRUNCATED
from divseg.io.ome import check_ome, parse_ome

# What tifffile has to say of a file is said here in our words; its own hold names of files as they are
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_PREVIEWS = ("label", "macro", "thumbnail", "overview", "preview")
_PHOTOMETRIC = 262
_MIN_IS_WHITE, _RGB, _PALETTE = 0, 2, 3
_ALPHA = (1, 2)  # kinds of extra samples that mean transparency


@dataclass(frozen=True)
class Stack:
    """One series of a TIFF, and the location of its pixels.

    Attributes
    ----------
    axes : str
        A letter of ``"TCZYX"`` for each dimension, ``"?"`` if it is unknown.
    shape : tuple of int
        Shape of the series.
    dtype : numpy.dtype
        As stored.
    offset : int or None
        Offset of pixels that lie one after the other uncompressed, else None.
    key : tifffile.TiffPage
        The page that says how pixels are stored.
    pages : list of tifffile.TiffPage
        Empty if there is an offset.
    kind, name : str
        Kind of the series as tifffile calls it, and its name in the file.
    colours : bool
        Whether the axis C holds the samples of a pixel, such as colours.
    number : int
        Number of the series in the file, those that are left out counted.
    """

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int | None
    key: Any
    pages: list[Any]
    kind: str
    name: str
    colours: bool
    number: int = 0

    @property
    def bits(self) -> int:
        """Bits of a sample."""
        return int(self.key.bitspersample)

    @property
    def inverted(self) -> bool:
        """Whether the smallest value means white."""
        return int(self.key.photometric) == _MIN_IS_WHITE and _PHOTOMETRIC in self.key.tags

    @property
    def palette(self) -> bool:
        """Whether values are indices of a table of colours."""
        return int(self.key.photometric) == _PALETTE

    @property
    def sample_axis(self) -> int | None:
        """Dimension of the colours and the transparency of one picture, None without those."""
        return self.axes.index("C") if self.colours and (self._rgb or self.alpha) else None

    @property
    def _rgb(self) -> bool:
        return int(self.key.photometric) == _RGB

    @property
    def alpha(self) -> bool:
        """Whether the last sample is the transparency."""
        extra = [int(kind) for kind in self.key.extrasamples]
        return self.colours and len(extra) == 1 and extra[0] in _ALPHA

    def n_pixels(self, letters: str = "ZYX") -> int:
        """Return the number of positions along the axes named by `letters`."""
        return math.prod(n for letter, n in zip(self.axes, self.shape, strict=True) if letter in letters)

    @property
    def dense(self) -> bool:
        """Whether pixels take less room in the file than in memory."""
        return int(self.key.compression) != 1 or (self.bits < 16 and self.bits != 8)


def open_tiff(path: str | Path) -> Any:
    """Open a TIFF such that no other file is ever looked at.

    Raises
    ------
    FileProblem
        If its OME-XML points out of its folder or claims an impossible number of planes.
    """
    # Micro-Manager's formats are read from several files at once, each of which would give the planes of all
    alone: dict[str, Any] = {"is_mmstack": False, "is_ndtiff": False}
    with contextlib.ExitStack() as stack:
        tif = stack.enter_context(tifffile.TiffFile(path, **alone))
        root = parse_ome(tif.ome_metadata or "") if tif.is_ome else None
        if not tif.is_ome or (root is not None and check_ome(path, root)):
            stack.pop_all()  # stays open
            return tif
    return tifffile.TiffFile(path, is_ome=False, **alone)


def image_stacks(tif: Any) -> tuple[list[Stack], list[str]]:
    """Return the series that are images, and a note on each that is left out."""
    series = list(tif.series)
    if len(series) > 1 and series[0].kind != "ome" and _alike(series):
        # Written plane by plane in a loop, which makes each a series of its own
        first = _stack(tif, series[0])
        pages = [page for part in series for page in part.pages]
        whole = replace(first, axes=UNKNOWN + first.axes, shape=(len(series), *first.shape), offset=None, pages=pages)
        return [whole], []
    stacks = [replace(_stack(tif, part), number=k) for k, part in enumerate(series)]
    largest = max(stacks, key=lambda stack: stack.n_pixels("YX"))
    reasons = [None if stack is largest else _reason(stack, largest) for stack in stacks]
    notes = [
        f"series {k} ({' x '.join(map(str, stack.shape))}) is {reason} and is left out"
        for k, (stack, reason) in enumerate(zip(stacks, reasons, strict=True))
        if reason
    ]
    return [stack for stack, reason in zip(stacks, reasons, strict=True) if not reason], notes


def _stack(tif: Any, series: Any) -> Stack:
    offset = series.dataoffset if series.keyframe.is_memmappable else None
    dtype = np.dtype(series.dtype)
    return Stack(
        axes=_plain_axes(series.axes),
        shape=tuple(series.shape),
        dtype=dtype if offset is None else dtype.newbyteorder(tif.byteorder),
        offset=offset,
        key=series.keyframe,
        pages=list(series.pages) if offset is None else [],
        kind=series.kind,
        name=series.name,
        colours="S" in series.axes,
    )


def _alike(series: Sequence[Any]) -> bool:
    first = series[0]
    return len(first.pages) == 1 and all(
        (part.axes, part.shape, part.dtype) == (first.axes, first.shape, first.dtype) for part in series
    )


def _reason(stack: Stack, largest: Stack) -> str | None:
    """Return why a series is not an image of its own; positions are, whatever their size."""
    if stack.key.is_mask:
        return "a mask of transparency"
    if stack.key.is_reduced or stack.key.is_subifd:
        return "a reduced copy"
    if any(word in stack.name.lower().split() for word in _PREVIEWS):
        return "a preview"
    if stack.kind == "ome" or not {"Y", "X"} <= set(stack.axes):
        return None
    (y, x), (whole_y, whole_x) = ([s.shape[s.axes.index(a)] for a in "YX"] for s in (stack, largest))
    small = stack.n_pixels() <= y * x and 4 * y * x <= whole_y * whole_x
    same_shape = abs(y * whole_x - x * whole_y) <= 0.03 * x * whole_y
    return "a preview" if small and (same_shape or stack.colours != largest.colours) else None


def _plain_axes(axes: str) -> str:
    if "C" not in axes:
        axes = axes.replace("S", "C")  # tifffile's S are the samples of a pixel: colours
    return "".join(letter if letter in "TCZYX" else UNKNOWN for letter in axes)


def check_stack(path: str | Path, stack: Stack) -> None:
    """Make sure that the pages of a series have the pieces that their sizes ask for, all in the file.

    Raises
    ------
    FileProblem
        If a page or a piece of it is missing.
    """
    size = Path(path).stat().st_size
    if stack.offset is not None:
        if stack.offset + math.prod(stack.shape) * stack.dtype.itemsize > size:
            raise FileProblem(path, TRUNCATED, COPY_AGAIN)
        return
    pieces = math.prod(stack.key.chunked)
    for page in stack.pages:
        if page is None:
            raise FileProblem(path, "some of its planes are in no file", "export it as one file")
        ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)]
        if len(ends) < pieces or max(ends, default=0) > size:
            raise FileProblem(path, TRUNCATED, COPY_AGAIN)
