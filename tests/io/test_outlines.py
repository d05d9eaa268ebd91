"""Outlines fill to the pixels that they were made of, whatever the object looks like."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path

from divseg.io.outlines import trace


def fill(rings, shape):
    """Return the pixels whose centres are inside of an odd number of rings."""
    y, x = np.indices(shape)
    centres = np.stack([x.ravel(), y.ravel()], axis=1) + 0.5
    inside = np.zeros(len(centres), int)
    for ring in rings:
        inside += Path(np.asarray(ring, float)).contains_points(centres)
    return (inside % 2 == 1).reshape(shape)


def crossings(ring):
    """Return how often a ring passes a corner of a pixel that it has passed before."""
    corners = []
    for (x0, y0), (x1, y1) in zip(ring.tolist(), np.roll(ring, -1, axis=0).tolist(), strict=True):
        steps = abs(x1 - x0) + abs(y1 - y0)
        corners += [(x0 + (x1 - x0) * k // steps, y0 + (y1 - y0) * k // steps) for k in range(steps)]
    return len(corners) - len(set(corners))


@given(arrays(np.uint16, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.integers(0, 2)))
def test_filled_outlines_are_the_objects(labels):
    objects = trace(labels)
    assert list(objects) == [k for k in np.unique(labels) if k]
    for label, polygons in objects.items():
        np.testing.assert_array_equal(
            fill([ring for polygon in polygons for ring in polygon.rings], labels.shape), labels == label
        )
        assert all(crossings(ring) == 0 for polygon in polygons for ring in polygon.rings)
        assert sum(fill(polygon.rings, labels.shape).sum() for polygon in polygons) == (labels == label).sum()


def test_a_pixel_is_the_square_from_its_number_to_the_next():
    labels = np.zeros((4, 5), int)
    labels[2, 3] = 7
    ((polygon,),) = trace(labels).values()
    assert sorted(polygon.outer.tolist()) == [[3, 2], [3, 3], [4, 2], [4, 3]]


@pytest.mark.parametrize(
    ("picture", "parts", "holes"),
    [
        (["###", "#.#", "###"], 1, 1),
        (["#.", ".#"], 2, 0),
        (["###", "#.#", "##."], 1, 1),  # open at a corner: the hole touches the outline
        (["#..", "...", "..#"], 2, 0),
        (["#####", "#...#", "#.#.#", "#...#", "#####"], 2, 1),
        (["....", "...."], 0, 0),
    ],
)
def test_parts_and_holes(picture, parts, holes):
    labels = np.array([[4 * (c == "#") for c in row] for row in picture])
    polygons = trace(labels).get(4, [])
    assert (len(polygons), sum(len(polygon.holes) for polygon in polygons)) == (parts, holes)
