"""Corrections of label images by hand: remove, merge or split objects, and take that back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage as ndi
from skimage.segmentation import watershed

from divseg.errors import InputError

Labels = NDArray[np.int32]

LEAST_WAIST = 0.5
"""Pixels by which an object must be narrower between two parts, each side of its middle line, to be parted there."""


@dataclass(frozen=True, eq=False)
class Correction:
    """A change of a rectangle of a label image.

    Attributes
    ----------
    place : tuple of slice
        Rows and columns of the rectangle.
    before, after : int32 array, shape (Y, X) of the rectangle
        Labels there.
    labels : tuple of int
        Labels that the change is about; new ones come last.
    """

    place: tuple[slice, ...]
    before: Labels
    after: Labels
    labels: tuple[int, ...]

    def do(self, labels: Labels) -> None:
        """Make the change in a label image."""
        labels[self.place] = self.after

    def undo(self, labels: Labels) -> None:
        """Take the change back, but for pixels that were painted since."""
        part = labels[self.place]
        labels[self.place] = np.where(part == self.after, self.before, part)


def removed(labels: Labels, label: int) -> Correction:
    """Return the correction that makes an object background.

    Parameters
    ----------
    labels : int32 array, shape (Y, X)
        Label image; it is not changed.
    label : int
        The object.

    Raises
    ------
    InputError
        There is no such object.
    """
    place = _box(labels, (label,))
    part = labels[place]
    return Correction(place, part.copy(), np.where(part == label, 0, part), (label,))


def merged(labels: Labels, first: int, second: int) -> Correction:
    """Return the correction that makes two objects one, which has the label of the first.

    Parameters
    ----------
    labels : int32 array, shape (Y, X)
        Label image; it is not changed.
    first, second : int
        The objects.

    Raises
    ------
    InputError
        There is no such object, both are the same, or they do not touch (at a side or a corner of a pixel).
    """
    if first == second:
        raise InputError(f"object {first} cannot be merged with itself; choose a neighbour")
    place = _box(labels, (first, second))
    part = labels[place]
    both = np.isin(part, (first, second))
    pieces = ndi.label(part == first, np.ones((3, 3)))[1] + ndi.label(part == second, np.ones((3, 3)))[1]
    if ndi.label(both, np.ones((3, 3)))[1] >= pieces:
        raise InputError(f"objects {first} and {second} do not touch; paint what lies between them first")
    return Correction(place, part.copy(), np.where(both, first, part), (first, second))


def split(labels: Labels, label: int, points: ArrayLike | None = None) -> Correction:
    """Return the correction that parts an object in two.

    Parameters
    ----------
    labels : int32 array, shape (Y, X)
        Label image; it is not changed.
    label : int
        The object. The part that is left with the label is the one of the first point, or the larger one.
    points : array_like, shape (2, 2), optional
        A point (Y, X) in pixels in each of the parts; by default the two places farthest from the outline.

    Returns
    -------
    Correction
        The new label is one more than the largest of `labels`.

    Raises
    ------
    InputError
        There is no such object, a point lies outside of it, both points lie in one pixel, or the object has no waist.

    Notes
    -----
    Watershed of the distance from the outline (Meyer & Beucher, J. Vis. Commun. Image Represent. 1990, 1, 21-46),
    from two markers. Without points these are two maxima of the distance: the one that stands highest above the saddle
    to a higher one, and that higher one.
    """
    place = _box(labels, (label,))
    part = labels[place]
    mask = part == label
    distance = ndi.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    corner = [side.start for side in place]
    seeds = _waist(distance, mask, label) if points is None else _inside(points, corner, mask, label)
    markers = np.zeros(mask.shape, np.int32)
    for number, seed in enumerate(seeds, 1):
        markers[seed] = number
    parts = watershed(-distance, markers, mask=mask)
    if points is None and np.count_nonzero(parts == 2) > np.count_nonzero(parts == 1):
        parts = np.where(parts > 0, 3 - parts, 0)
    new = int(labels.max()) + 1
    after = np.where(parts == 2, new, part).astype(part.dtype)
    return Correction(place, part.copy(), after, (label, new))


def check_label(labels: Labels, label: int) -> None:
    """Raise InputError if a label image does not hold an object."""
    if label <= 0 or not (labels == label).any():
        raise InputError(f"there is no object {label} in the label image; choose one that is there")


def _box(labels: Labels, wanted: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the bounding box of some objects."""
    for label in wanted:
        check_label(labels, label)
    rows, columns = np.nonzero(np.isin(labels, wanted))
    return slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1)


def _inside(points: ArrayLike, corner: Sequence[int], mask: NDArray[np.bool_], label: int) -> list[tuple[int, int]]:
    """Return the pixels of two points, in the coordinates of the rectangle."""
    pixels = np.rint(np.asarray(points, float)).astype(int)
    if pixels.shape != (2, 2):
        raise InputError(f"{len(pixels)} points (Y, X) given to split object {label}; give two")
    seeds = []
    for y, x in pixels - np.asarray(corner):
        if not (0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x]):
            raise InputError(f"a point lies outside of object {label}; set both inside of it")
        seeds.append((int(y), int(x)))
    if seeds[0] == seeds[1]:
        raise InputError(f"both points lie in one pixel of object {label}; set one in each part")
    return seeds


def _waist(distance: NDArray[np.float64], mask: NDArray[np.bool_], label: int) -> list[tuple[int, int]]:
    """Return the two maxima of the distance between which an object is narrowest."""
    levels = np.unique(distance[mask])[::-1]
    best: list[tuple[int, int]] = []
    depth = 0.0
    for level in levels:
        regions, n = ndi.label(distance >= level, np.ones((3, 3)))
        if n < 2:
            continue
        tops = ndi.maximum(distance, regions, np.arange(1, n + 1))
        order = np.argsort(tops)[::-1][:2]
        if tops[order[1]] - level >= depth:
            depth = float(tops[order[1]] - level)
            best = [ndi.maximum_position(distance, regions, k + 1) for k in order]
    if depth < LEAST_WAIST:
        raise InputError(f"object {label} has no waist to part it at; set a point in each part")
    return [(int(y), int(x)) for y, x in best]
