import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage as ndi

from divseg.errors import InputError
from divseg.metrics import count_overlap, evaluate, iou_matrix
from divseg.metrics.overlap import split_pieces

SMALL = st.sampled_from([np.uint8, np.int16, np.int64])


def squares(*labels, dtype=np.int32, size=4):
    """One square of side `size` for each label, in a row, with background between."""
    image = np.zeros((size + 2, len(labels) * (size + 2)), dtype)
    for k, label in enumerate(labels):
        image[1:-1, k * (size + 2) + 1 : (k + 1) * (size + 2) - 1] = label
    return image


def table(overlap):
    """The pairs by label, whatever their order."""
    keys = zip(overlap.pred_labels[overlap.pred_index], overlap.truth_labels[overlap.truth_index], strict=True)
    return {(int(p), int(t)): int(n) for (p, t), n in zip(keys, overlap.shared, strict=True)}


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_counts_every_pixel_once(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=9))
    a = data.draw(hnp.arrays(data.draw(SMALL), shape, elements=st.integers(0, 5)))
    b = data.draw(hnp.arrays(data.draw(SMALL), shape, elements=st.integers(0, 5)))
    found = count_overlap(a, b)
    expected = {(p, t): int(((a == p) & (b == t)).sum()) for p in range(1, 6) for t in range(1, 6)}
    assert table(found) == {pair: n for pair, n in expected.items() if n}
    for image, labels, areas in ((a, found.pred_labels, found.pred_areas), (b, found.truth_labels, found.truth_areas)):
        assert dict(zip(labels.tolist(), areas.tolist(), strict=True)) == {
            k: int((image == k).sum()) for k in range(1, 6) if (image == k).any()
        }


@pytest.mark.parametrize(
    ("dtype", "label"),
    [
        (np.uint8, 200),
        (np.uint8, 255),
        (np.int8, 127),
        (np.uint16, 40_000),
        (np.int32, 2**31 - 1),
        (np.uint32, 2_000_000_000),
        (np.uint32, 2**32 - 1),
        (np.int64, 2_000_000_000),
        (np.int64, 2**63 - 1),
        (np.uint64, 2**64 - 1),
    ],
)
def test_any_label_value_of_any_dtype(dtype, label):
    """Sums of labels must not wrap around: this gives SEG 0 for identical masks in other tools."""
    image = squares(label, 1, label - 1, dtype=dtype)
    found = count_overlap(image, image)
    assert table(found) == {(label, label): 16, (1, 1): 16, (label - 1, label - 1): 16}
    assert found.pred_labels.dtype == dtype
    assert evaluate(image, image).seg == 1


def test_dtypes_may_differ_and_labels_are_compared_by_place():
    pred, truth = squares(3, 2**40, dtype=np.int64), squares(200, 7, dtype=np.uint8)
    assert table(count_overlap(pred, truth)) == {(3, 200): 16, (2**40, 7): 16}


def test_labels_that_agree_in_their_lower_half_stay_apart():
    image = squares(7, 2**32 + 7, dtype=np.int64)
    assert count_overlap(image, image).n_pred == 2


def test_boolean_masks_are_one_object():
    mask = squares(1).astype(bool)
    assert table(count_overlap(mask, mask)) == {(1, 1): 16}


def test_no_background_is_needed():
    truth = np.repeat([[5, 9]], 4, axis=1).repeat(3, axis=0)
    assert table(count_overlap(truth, truth)) == {(5, 5): 12, (9, 9): 12}
    assert table(count_overlap(truth, np.where(truth == 5, 0, truth))) == {(9, 9): 12}


def test_objects_are_numbered_as_a_raster_scan_meets_them():
    found = count_overlap(squares(9, 2, 5), squares(1, 8, 3))
    assert found.pred_labels.tolist() == [9, 2, 5]
    assert found.truth_labels.tolist() == [1, 8, 3]


def test_views_and_other_memory_orders():
    image = np.random.default_rng(0).integers(0, 5, (6, 7, 8))
    plain = table(count_overlap(image, image[::-1]))
    assert table(count_overlap(np.asfortranarray(image), image[::-1])) == plain
    image.setflags(write=False)
    assert table(count_overlap(image, image[::-1])) == plain


def test_seventy_thousand_objects():
    truth = np.arange(70_000, dtype=np.uint32).reshape(250, 280).repeat(2, axis=0).repeat(2, axis=1)
    pred = truth[::-1, ::-1]
    found = count_overlap(pred, truth)
    assert (found.n_true, found.n_pred, len(found.shared)) == (69_999, 69_999, 69_998)
    assert (found.shared == 4).all()
    scores = evaluate(pred, truth)
    assert scores.tp.tolist() == [69_998] * 10  # each of the two images has one object in the other's background


@pytest.mark.parametrize(
    ("pred", "truth", "words"),
    [
        (np.zeros((2, 3)), np.zeros((2, 3), int), "pred: .* holds integers, not float64"),
        (np.zeros((2, 3), int), np.zeros((2, 3), complex), "truth: .* not complex128"),
        (np.array([[0, -3]]), np.array([[0, 1]]), "pred: label -3 is negative"),
        (np.array([[0, 1]]), np.array([[-1, 1]], np.int8), "truth: label -1 is negative"),
        (np.zeros((2, 3), int), np.zeros((3, 2), int), r"pred has shape \(2, 3\) but truth has shape \(3, 2\)"),
        (np.zeros((1, 2, 3), int), np.zeros((2, 3), int), r"\(1, 2, 3\).*\(2, 3\)"),
        (3, np.zeros((2, 3), int), r"pred: shape \(\); a label image has the axes"),
        (np.zeros((0, 5), int), np.zeros((0, 5), int), r"pred: shape \(0, 5\) has no pixels"),
    ],
)
def test_what_is_no_pair_of_label_images_is_refused(pred, truth, words):
    with pytest.raises(InputError, match=words) as caught:
        count_overlap(pred, truth)
    assert "\n" not in str(caught.value)


def test_iou_matrix_has_a_row_for_each_prediction():
    pred, truth = np.array([[1, 1, 0, 2]]), np.array([[4, 4, 4, 0]])
    matrix = iou_matrix(count_overlap(pred, truth))
    np.testing.assert_allclose(matrix.toarray(), [[2 / 3], [0]])


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
