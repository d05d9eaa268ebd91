"""Pixels that are no data: NaN, and the padding that stitching, registration and round fields of view leave.

A detector's floor or ceiling has the same values as padding. What tells them apart, in this order:

1. Place and shape. Padding is whole rows or columns at the border, and what it takes of the corners of the rectangle
   that then remains: a rectangle (a missing tile), or no more than a triangle at two corners or more (a rotated image,
   a round field of view). A saturated cell at the border, or dark ground around cells, has other shapes.
2. Its neighbours. Where a detector clips, pixels at the limit are scattered beside the area that is clipped wholly.
   Beside padding, fewer than `MOST_BESIDE` of the pixels have its value, and chance does not explain the area.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.errors import ConfigError, brief

Invalid: TypeAlias = str | float
"""How pixels that are no data are found: ``"auto"`` by what they look like, ``"none"`` not at all, or by a value."""

Mask: TypeAlias = NDArray[np.bool_]

MOST_BESIDE = 0.7
"""Fraction of the pixels beside padding that may have its value."""

REACH = 4
"""Pixels from padding that count as beside it."""

UNLIKELY = 40.0
"""Padding has this probability or less to be chance: its negative logarithm."""

TRIANGLE, RECTANGLE = 0.58, 0.97
"""Filling of a corner's bounding box: up to a triangle, or from a rectangle on."""

SMALLEST_CORNER = 6
"""Pixels along each side of a corner that is cut off."""


def find_invalid(data: NDArray[np.generic], axes: str, how: Invalid) -> Mask | None:
    """Find the pixels that are no data.

    Parameters
    ----------
    data : array
        Pixels in the order of `axes`, in the dtype of the file.
    axes : str
        ``"YX"``, ``"CYX"``, ``"ZYX"`` or ``"CZYX"``.
    how : "auto", "none" or float
        ``"auto"``: NaN, and padding (the rule of this module). A number: NaN, and all pixels of this value. A pixel of
        several channels is no data if it is in all of them; NaN in one suffices.

    Returns
    -------
    bool array, shape without the channels, or None
        True where there is data; None if that is everywhere, or nowhere.
    """
    if how == "none" or data.dtype.kind not in "biuf":
        return None
    channels: NDArray[Any] = data if axes[0] == "C" else data[None]
    bad: Mask = np.zeros(channels.shape[1:], bool)
    if data.dtype.kind == "f":
        bad |= np.isnan(channels).any(0)
    if how != "auto":
        bad |= (channels == float(how)).all(0)
    elif not bad.all():
        for value in _candidates(channels, bad):
            _add_padding(bad, (channels == value).all(0))
    return None if not bad.any() or bad.all() else ~bad


def _candidates(channels: NDArray[Any], bad: Mask) -> list[float]:
    """Return the values that padding may have: the extremes, and 0; only those that some corner has."""
    ends = [channels.min(), channels.max()] if not bad.any() else [channels[:, ~bad].min(), channels[:, ~bad].max()]
    if ends[0] == ends[1]:
        return []
    corners = channels[..., :: channels.shape[-2] - 1 or 1, :: channels.shape[-1] - 1 or 1]
    return [value for value in dict.fromkeys([*(end.item() for end in ends), 0]) if (corners == value).any()]


def _add_padding(bad: Mask, same: Mask) -> None:
    """Mark the padding among the pixels of one value, plane by plane."""
    planes = bad.reshape(-1, *bad.shape[-2:])
    for plane, of_value in zip(planes, same.reshape(planes.shape), strict=True):
        if (found := find_padding(of_value | plane, of_value)) is not None:
            plane |= found


def find_padding(empty: Mask, same: Mask) -> Mask | None:
    """Find padding in a plane.

    Parameters
    ----------
    empty : bool array, shape (Y, X)
        Pixels that padding can consist of.
    same : bool array, shape (Y, X)
        Pixels of the value in question.

    Returns
    -------
    bool array, shape (Y, X), or None
        The padding, None if there is none.
    """
    box = inner_box(empty)
    if box is None:  # nothing but padding, as a plane of a volume can be
        return empty
    inside = empty[box]
    found = np.ones_like(empty)
    found[box] = False
    for corners in _corner_sets(inside):
        trial = found.copy()
        trial[box] = corners
        if _stands_out(trial, same):
            return trial
    return found if found.any() and _stands_out(found, same) else None


def inner_box(empty: Mask) -> tuple[slice, slice] | None:
    """Return the rectangle that is left without whole rows and columns at the border that are empty."""
    y0, y1, x0, x1 = 0, empty.shape[0], 0, empty.shape[1]
    while y0 < y1 and x0 < x1:
        inner = empty[y0:y1, x0:x1]
        rows: Mask = np.asarray(inner.all(1))
        columns: Mask = np.asarray(inner.all(0))
        if rows.all():
            return None
        top, bottom = int(np.argmin(rows)), int(np.argmin(rows[::-1]))
        left, right = int(np.argmin(columns)), int(np.argmin(columns[::-1]))
        if not (top or bottom or left or right):
            break
        y0, y1, x0, x1 = y0 + top, y1 - bottom, x0 + left, x1 - right
    return slice(y0, y1), slice(x0, x1)


def _corner_sets(empty: Mask) -> Iterator[Mask]:
    """Yield what may be cut off the corners of a rectangle: triangles and the like, then rectangles."""
    pieces = [(piece, kind) for piece, kind in map(_corner, _views(empty)) if kind]
    for wanted, least in (("triangle", 2), ("rectangle", 1)):
        chosen = [piece for piece, kind in pieces if kind == wanted]
        if len(chosen) >= least:
            cut = np.zeros_like(empty)
            for k, (piece, kind) in enumerate(map(_corner, _views(empty))):
                if kind == wanted:
                    view = _views(cut)[k]
                    view |= piece
            yield cut


def _views(plane: Mask) -> list[Mask]:
    """Return the plane with each of its corners in turn at the top left."""
    return [plane[::y, ::x] for y in (1, -1) for x in (1, -1)]


def _corner(empty: Mask) -> tuple[Mask, str]:
    """Return what is cut off the top left corner, whose rows get no longer downwards, and what shape it has."""
    runs = np.where(empty.all(1), empty.shape[1], np.argmin(empty, axis=1))
    runs = np.minimum.accumulate(runs)
    height, width = int((runs > 0).sum()), int(runs[0])
    piece = np.arange(empty.shape[1]) < runs[:, None]
    if min(height, width) < SMALLEST_CORNER:
        return piece, ""
    filling = float(runs.sum()) / (height * width)
    return piece, "triangle" if filling <= TRIANGLE else "rectangle" if filling >= RECTANGLE else ""


def _stands_out(area: Mask, same: Mask) -> bool:
    """Tell whether the pixels beside an area have its value too rarely for it to be a detector's limit."""
    beside = ndi.binary_dilation(area, np.ones((3, 3), bool), iterations=REACH) & ~area
    count, of_value = int(beside.sum()), int((same & beside).sum())
    if not count or of_value > MOST_BESIDE * count:
        return False
    return -math.log((of_value + 1) / (count + 2)) * int(area.sum()) > UNLIKELY


def filled(data: NDArray[Any], valid: Mask) -> NDArray[Any]:
    """Return an image whose invalid pixels are the mirror image of the valid ones beside them.

    The mirrored pixels have structure and noise like any others, so that neither networks nor filters see a border.
    A pixel gets the value that lies as far behind the nearest valid pixel as it lies before it, or the value of that
    one where there is no valid pixel behind; a plane without any valid pixel gets the median of all.

    Parameters
    ----------
    data : array, shape (..., *valid.shape)
        Pixels; channels come first.
    valid : bool array, shape (Y, X) or (Z, Y, X)
        Planes are filled one by one.

    Returns
    -------
    array, shape and dtype of `data`
    """
    out = data.copy()
    planes = out.reshape(-1, int(np.prod(valid.shape[:-2], dtype=int)), *valid.shape[-2:])
    for k, plane in enumerate(valid.reshape(-1, *valid.shape[-2:])):
        if plane.all():
            continue
        if not plane.any():
            planes[:, k] = np.median(data[..., valid], axis=-1).astype(data.dtype).reshape(-1, 1, 1)
            continue
        nearest = ndi.distance_transform_edt(~plane, return_distances=False, return_indices=True)
        here = np.stack(np.nonzero(~plane))
        nearest = nearest[:, here[0], here[1]]
        mirrored = np.clip(2 * nearest - here, 0, np.array(plane.shape)[:, None] - 1)
        source = np.where(plane[mirrored[0], mirrored[1]], mirrored, nearest)
        planes[:, k, here[0], here[1]] = planes[:, k, source[0], source[1]]
    return out


def check_invalid(how: Invalid) -> Invalid:
    """Return the setting if it is ``auto``, ``none`` or a finite number.

    Raises
    ------
    ConfigError
        If it is not.
    """
    if how in ("auto", "none"):
        return how
    try:
        finite = math.isfinite(float(how))
    except (TypeError, ValueError, OverflowError):
        finite = False
    if not finite:
        raise ConfigError(f"invalid={brief(how)}: write auto, none or the value that pixels without data have")
    return how
