import numpy as np

from divseg.consensus.cluster_masks import cluster_masks
from divseg.consensus.rasterize import keep_largest_pieces, rasterize
from divseg.consensus.stack import LabelStack


def row(*spans, width=20):
    image = np.zeros((1, width), int)
    for label, (a, b) in enumerate(spans, 1):
        image[0, a:b] = label
    return image


def test_pixels_go_to_the_object_with_most_votes():
    """In the column in dispute the left cell has three votes and the right one two."""
    stack = LabelStack.of([row((0, 6)), row((0, 7)), row((0, 7)), row((0, 7), (7, 12)), row((6, 12)), row((6, 12))])
    left = np.flatnonzero(stack.boxes[:, 2] == 0)
    right = np.flatnonzero(stack.boxes[:, 2] > 0)
    result = cluster_masks(stack, np.repeat([0, 1], [len(left), len(right)]), np.concatenate([left, right]))
    assert result.runs.areas.tolist() == [7, 6]
    image = rasterize(result, np.array([True, True]), stack.volume)
    assert image[0, 0].tolist() == [1] * 7 + [2] * 5 + [0] * 8
    assert rasterize(result, np.array([False, True]), stack.volume)[0, 0].tolist() == [0] * 6 + [2] * 6 + [0] * 8


def test_slivers_are_dropped_and_their_pixels_given_back():
    stack = LabelStack.of([row((0, 10)), row((0, 10)), row((8, 11))])
    wide, sliver = np.flatnonzero(stack.areas == 10), np.flatnonzero(stack.areas == 3)
    result = cluster_masks(stack, np.array([0, 0, 1]), np.concatenate([wide, sliver]))
    assert rasterize(result, np.array([True, True]), stack.volume)[0, 0].tolist() == [1] * 10 + [0] * 10


def test_largest_piece_is_kept_with_diagonal_neighbours():
    image = np.array([[1, 0, 0, 2, 2], [0, 1, 0, 0, 2], [0, 0, 0, 0, 0], [1, 1, 0, 2, 0], [1, 1, 0, 0, 0]], np.int32)
    keep_largest_pieces(image)
    assert image.tolist() == [[0, 0, 0, 2, 2], [0, 0, 0, 0, 2], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 0, 0, 0]]


def test_of_equal_pieces_the_first_is_kept():
    image = np.array([[3, 0, 3, 0, 3]], np.int32)
    keep_largest_pieces(image)
    assert image.tolist() == [[3, 0, 0, 0, 0]]
