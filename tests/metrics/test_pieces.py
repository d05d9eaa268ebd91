import numpy as np
from scipy import ndimage as ndi

from divseg.metrics.pieces import split_pieces


def test_every_piece_of_every_label_gets_its_own():
    labels = np.array([[3, 0, 3, 3], [0, 0, 5, 0], [9, 9, 0, 5]])
    pieces, added = split_pieces(labels)
    # the two fives touch by a corner and stay one object
    assert pieces.tolist() == [[1, 0, 2, 2], [0, 0, 3, 0], [4, 4, 0, 3]]
    assert added == 1


def test_touching_labels_stay_apart():
    pieces, added = split_pieces(np.array([[7, 7, 2], [7, 2, 2]], np.uint8))
    assert pieces.tolist() == [[1, 1, 2], [1, 2, 2]]
    assert added == 0


def test_agrees_with_component_labelling_in_3d():
    mask = np.random.default_rng(0).random((9, 20, 21)) < 0.06
    expected, n = ndi.label(mask, np.ones((3, 3, 3)))
    pieces, added = split_pieces(mask)
    assert added == n - 1
    np.testing.assert_array_equal(pieces, expected)


def test_thin_and_empty_images():
    assert split_pieces(np.array([[1, 0, 1]]))[1] == 1
    assert split_pieces(np.array([2, 2, 0, 2]))[1] == 1
    assert split_pieces(np.zeros((3, 4), int))[1] == 0
    assert split_pieces(np.zeros((0, 4), int))[0].shape == (0, 4)
