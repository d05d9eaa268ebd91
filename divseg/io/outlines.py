"""Outlines of the objects of a label image: polygons along the sides of pixels, which fill to the same pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label as connected

Ring = NDArray[np.int64]
"""Corners of pixels, shape (N, 2) as (x, y); the last is joined to the first."""

_STEPS = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
"""(x, y) of the directions right, down, left and up; the object is on the right-hand side on the screen."""


@dataclass
class Polygon:
    """A connected part of an object.

    Attributes
    ----------
    outer : Ring
        Its outline, clockwise on the screen.
    holes : list of Ring
        Outlines of what it encloses, the other way round.
    """

    outer: Ring
    holes: list[Ring] = field(default_factory=list)

    @property
    def rings(self) -> list[Ring]:
        """All outlines, the outer one first."""
        return [self.outer, *self.holes]


def trace(labels: NDArray[np.integer]) -> dict[int, list[Polygon]]:
    """Return the outlines of every object.

    The pixel in row y and column x is the square from (x, y) to (x + 1, y + 1), as in ImageJ and QuPath; its centre is
    inside of the polygons of its object and of no others. No ring touches itself: pixels that only share a corner are
    parts of their own.

    Parameters
    ----------
    labels : integer array, shape (Y, X)
        0 = background.

    Returns
    -------
    dict of int to list of Polygon
        For each label, ascending, its connected parts in the order of a raster scan.
    """
    image = np.asarray(labels, np.int64)
    parts = connected(image, background=0, connectivity=1)
    owner = _sides(parts)
    polygons = {part: Polygon(np.zeros((0, 2), np.int64)) for part in range(1, int(parts.max(initial=0)) + 1)}
    for part, ring in _rings(owner, image.shape[1] + 1):
        if _area(ring) > 0:
            polygons[part].outer = ring
        else:
            polygons[part].holes.append(ring)
    numbers, first = np.unique(parts, return_index=True)
    of_part = dict(zip(numbers.tolist(), image.ravel()[first].tolist(), strict=True))
    objects: dict[int, list[Polygon]] = {}
    for part, polygon in polygons.items():
        objects.setdefault(of_part[part], []).append(polygon)
    return dict(sorted(objects.items()))


def _sides(parts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the part that is bounded by each side of a pixel, 0 if the side bounds none.

    Shape (4, C): sides are named by their direction, and by the number of the corner of a pixel that they start at.
    """
    padded = np.pad(parts, 1)
    beside = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])
    width = parts.shape[1] + 1
    owner = np.zeros((4, (parts.shape[0] + 1) * width), np.int64)
    for direction, other in enumerate(beside):
        y, x = np.nonzero((parts != other) & (parts > 0))
        corner = (y + (direction in (2, 3))) * width + x + (direction in (1, 2))
        owner[direction, corner] = parts[y, x]
    return owner


def _rings(owner: NDArray[np.int64], width: int) -> Iterator[tuple[int, Ring]]:
    """Yield the outlines, each with its part."""
    n_corners = owner.shape[1]
    sides = np.flatnonzero(owner)
    direction, start = np.divmod(sides, n_corners)
    end = start + _STEPS[direction] @ np.array([1, width])
    # Where pixels of one part share a corner alone, two sides begin; either will do, as the ring is cut there
    follows = np.full(len(sides), -1)
    for turn in (3, 0, 1):
        after = (direction + turn) % 4
        there = owner[after, end] == owner.ravel()[sides]
        follows[there] = (after * n_corners + end)[there]
    at = np.zeros(owner.size, np.int64)
    at[sides] = np.arange(len(sides))
    following, corners = at[follows].tolist(), start.tolist()
    part = owner.ravel()[sides].tolist()
    seen = bytearray(len(sides))
    for first in range(len(sides)):
        if seen[first]:
            continue
        path: list[int] = []
        side = first
        while not seen[side]:
            seen[side] = 1
            path.append(side)
            side = following[side]
        for loop in _simple([corners[side] for side in path]):
            y, x = np.divmod(np.array(loop), width)
            yield part[first], _without_straight(np.stack([x, y], axis=1))


def _simple(corners: list[int]) -> Iterator[list[int]]:
    """Cut a closed path where it touches itself; yield the loops, none of which passes a corner twice."""
    path: list[int] = []
    place: dict[int, int] = {}
    for corner in corners:
        if corner in place:
            loop = path[place[corner] :]
            yield loop
            for passed in loop:
                del place[passed]
            del path[len(path) - len(loop) :]
        place[corner] = len(path)
        path.append(corner)
    yield path


def _without_straight(ring: Ring) -> Ring:
    """Return the corners at which an outline turns."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    return ring[(before != after).any(axis=1)]


def _area(ring: Ring) -> int:
    """Return the area of a ring, negative if it runs anticlockwise on the screen (shoelace formula)."""
    x, y = ring.T
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) // 2
