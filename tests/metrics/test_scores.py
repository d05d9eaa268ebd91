import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from divseg.errors import InputError
from divseg.metrics import THRESHOLDS, Scores, evaluate

NAMES = ("seg", "det", "ap50", "ap75", "map", "f1", "pq", "aji", "aji_plus")


def random_pair(seed):
    """Label images of touching and scattered objects, the second a disturbed copy of the first."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(6, 22, 3 if seed % 7 == 0 else 2))
    noise = ndi.gaussian_filter(rng.normal(size=shape), rng.uniform(0.3, 1.2))
    truth = ndi.label(noise > np.quantile(noise, rng.uniform(0.3, 0.95)))[0]
    kind = seed % 5
    if kind == 0:  # unrelated
        pred = rng.integers(0, rng.integers(2, 9), shape)
    elif kind == 1:  # moved
        pred = np.roll(truth, int(rng.integers(0, 3)), axis=0)
    elif kind == 2:  # pixels lost and gained
        pred = np.where(rng.random(shape) < 0.3, rng.permutation(truth.ravel()).reshape(shape), truth)
    elif kind == 3:  # merged and split, no background
        pred = truth // 2 + 1
        pred[shape[0] // 2 :] += 50
    else:  # objects missing
        pred = truth * (rng.random(truth.max() + 1) < 0.6)[truth]
    return pred, truth


def seg_and_det(pred, truth):
    """SEG and DET said once more, object by object, straight from their definitions."""
    references = [truth == k for k in set(truth.ravel().tolist()) - {0}]
    results = [pred == k for k in set(pred.ravel().tolist()) - {0}]
    owner = [[j for j, s in enumerate(results) if (r & s).sum() > 0.5 * r.sum()] for r in references]
    ious = [
        (r & results[found[0]]).sum() / (r | results[found[0]]).sum() if found else 0.0
        for r, found in zip(references, owner, strict=True)
    ]
    per_result = [sum([j] == found for found in owner) for j in range(len(results))]
    splits = sum(n - 1 for n in per_result if n > 1)
    missed = sum(not found for found in owner)
    extra = sum(n == 0 for n in per_result)
    if not references:
        return np.nan, np.nan
    cost, scratch = 5 * splits + 10 * missed + extra, 10 * len(references)
    return float(np.mean(ious)), 1 - min(cost, scratch) / scratch


def test_agrees_with_stardist():
    matching = pytest.importorskip("stardist.matching").matching
    thresholds = (0.1, 0.3, 0.5, 0.55, 0.6, 0.75, 0.9, 1.0)
    compared = 0
    for seed in range(520):
        pred, truth = random_pair(seed)
        ours = evaluate(pred, truth, thresholds=thresholds)
        theirs = matching(truth, pred, thresh=thresholds)
        if ours.n_true + ours.n_pred == 0:  # a perfect answer, which they score 0
            assert np.isnan(ours.map)
            continue
        compared += 1
        assert (ours.n_true, ours.n_pred) == (theirs[0].n_true, theirs[0].n_pred)
        for name, mine in (("tp", ours.tp), ("fp", ours.fp), ("fn", ours.fn)):
            assert mine.tolist() == [getattr(m, name) for m in theirs], (seed, name)
        np.testing.assert_allclose(ours.ap, [m.accuracy for m in theirs], rtol=1e-6)
        np.testing.assert_allclose(ours.f1_at, [m.f1 for m in theirs], rtol=1e-6)
        pq, mean = np.array([(m.panoptic_quality, m.mean_matched_score) for m in theirs]).T
        sure = ours.thresholds > 0.5
        np.testing.assert_allclose(ours.pq_at[sure], pq[sure], rtol=1e-5)
        np.testing.assert_allclose(ours.matched_iou[sure], (mean * ours.tp)[sure], rtol=1e-5)
        # where there is a choice they also weigh pairs below the threshold; we have the greatest sum over matches
        assert (ours.pq_at >= pq - 1e-5).all()
    assert compared > 500


def test_seg_and_det_agree_with_their_definitions():
    values = []
    for seed in range(200):
        pred, truth = random_pair(seed)
        scores = evaluate(pred, truth)
        np.testing.assert_allclose((scores.seg, scores.det), seg_and_det(pred, truth), rtol=1e-12)
        values.append(scores.det)
    assert 0 < np.nanmean(values) < 1


def test_seg_by_hand():
    #               R1 (6 px)          R2 (4 px)    R3 (2 px)
    truth = np.array([[1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 0, 0]])
    pred = np.array([[5, 5, 5, 5, 0, 0, 8, 8, 9, 9, 0, 7, 7, 0]])
    # R1: 4 of 6 pixels, IoU 4/6; R2: 2 of 4 is not more than half; R3: 1 of 2 is not
    scores = evaluate(pred, truth)
    assert scores.seg == pytest.approx((4 / 6) / 3)
    # missed: R2, R3; extra: 8, 9, 7
    assert scores.det == pytest.approx(1 - (2 * 10 + 3) / 30)
    assert scores.as_row()["det_cost"] == 23
    # at 0.5: R1 with 5; R2 with one of its halves (IoU is exactly 0.5)
    assert (scores.tp[0], scores.fp[0], scores.fn[0]) == (2, 2, 1)
    assert scores.ap50 == pytest.approx(2 / 5)
    assert scores.f1 == pytest.approx(4 / 7)
    assert scores.pq == pytest.approx((4 / 6 + 2 / 4) / 3.5)
    assert scores.ap75 == 0
    assert scores.count_error == 1


def test_a_merged_pair_counts_twice_in_seg_and_costs_one_split():
    truth = np.array([[1, 1, 1, 2, 2, 0]])
    pred = np.array([[4, 4, 4, 4, 4, 0]])
    scores = evaluate(pred, truth)
    assert scores.seg == pytest.approx((3 / 5 + 2 / 5) / 2)  # an IoU below one half counts in SEG
    assert scores.det == pytest.approx(1 - 5 / 20)
    assert scores.ap50 == pytest.approx(1 / 2)
    assert scores.count_error == -1


def test_det_has_a_floor_and_extra_objects_can_be_free():
    truth = np.array([[1, 1] + [0] * 20])
    pred = np.array([[1, 1, *range(2, 22)]])
    assert evaluate(pred, truth).det == 0
    assert evaluate(pred[:, :12], truth[:, :12]).det == 0
    assert evaluate(pred[:, :5], truth[:, :5]).det == pytest.approx(1 - 3 / 10)
    assert evaluate(pred, truth, penalize_extra=False).det == 1


def test_aji_by_hand():
    truth = np.array([[1, 1, 1, 1, 2, 2, 0, 0, 0]])
    pred = np.array([[0, 5, 5, 5, 5, 5, 0, 6, 6]])
    # both references take object 5 (3/6 and 2/5), object 6 is left: (3 + 2) / (6 + 5 + 2)
    scores = evaluate(pred, truth)
    assert scores.aji == pytest.approx(5 / 13)
    # one to one: reference 1 with 5, reference 2 and object 6 are left: 3 / (6 + 2 + 2)
    assert scores.aji_plus == pytest.approx(3 / 10)


def test_aji_takes_the_greatest_iou():
    truth = np.array([[1, 1, 1, 1, 1, 0, 0, 0]])
    pred = np.array([[4, 4, 5, 5, 5, 5, 5, 5]])
    # IoU 2/5 with object 4, 3/8 with the larger object 5, which is left over with its six pixels
    scores = evaluate(pred, truth)
    assert scores.aji == scores.aji_plus == pytest.approx(2 / (5 + 6))


@pytest.mark.parametrize("shape", [(5, 6), (3, 5, 6)])
def test_nothing_there_and_nothing_found_has_no_score(shape):
    empty = np.zeros(shape, np.uint16)
    scores = evaluate(empty, empty)
    assert all(np.isnan(getattr(scores, name)) for name in NAMES)
    assert np.isnan(scores.ap).all()
    assert (scores.n_true, scores.n_pred, scores.count_error) == (0, 0, 0)
    assert scores.tp.tolist() == scores.fp.tolist() == scores.fn.tolist() == [0] * 10


def test_objects_where_there_are_none():
    empty, full = np.zeros((4, 4), int), np.eye(4, dtype=int) * 3
    scores = evaluate(full, empty)
    assert np.isnan(scores.seg)
    assert np.isnan(scores.det)
    assert all(getattr(scores, name) == 0 for name in NAMES[2:])
    assert (scores.n_true, scores.n_pred, scores.count_error) == (0, 1, 1)
    assert scores.fp.tolist() == [1] * 10


def test_nothing_found_is_zero():
    empty, full = np.zeros((4, 4), int), np.eye(4, dtype=int) * 3
    scores = evaluate(empty, full)
    assert all(getattr(scores, name) == 0 for name in NAMES)
    assert (scores.n_true, scores.n_pred, scores.count_error) == (1, 0, -1)


def test_no_background_at_all():
    full = np.arange(12).reshape(3, 4) // 2 + 1
    assert evaluate(full, full).map == 1
    scores = evaluate(np.ones((3, 4), int), full)
    assert (scores.n_true, scores.n_pred, scores.det) == (6, 1, pytest.approx(1 - 5 * 5 / 60))


def test_partial_truth_scores_only_what_was_annotated():
    truth = np.array([[1, 1, 0, 0, 0, 0]])
    pred = np.array([[3, 3, 0, 4, 4, 0]])
    scores = evaluate(pred, truth, partial=True)
    assert scores.seg == 1
    assert all(np.isnan(getattr(scores, name)) for name in (*NAMES[1:], "count_error"))
    assert all(np.isnan(values).all() for values in (scores.tp, scores.fp, scores.fn, scores.matched_iou, scores.ap))
    row = scores.as_row()
    assert (row["seg_sum"], row["n_true"], row["partial"]) == (1, 1, True)
    assert all(np.isnan(row[name]) for name in ("tp50", "fp75", "det_cost", "aji_union", "matched_iou"))
    assert evaluate(pred, truth, partial=True, penalize_extra=False).det == 1


def test_disconnected_pieces_are_one_object_unless_asked():
    truth = np.array([[1, 1, 0, 2, 2]])
    pred = np.array([[7, 7, 0, 7, 7]])
    assert evaluate(pred, truth).n_pred == 1
    scores = evaluate(pred, truth, split_disconnected=True)
    assert (scores.n_pred, scores.map, scores.split_pred, scores.split_true) == (2, 1, 1, 0)


def test_thresholds_are_the_users():
    pred, truth = random_pair(11)
    scores = evaluate(pred, truth, thresholds=[0.3, 0.6])
    usual = evaluate(pred, truth)
    assert scores.thresholds.tolist() == [0.3, 0.6]
    assert scores.map == pytest.approx(scores.ap.mean())
    assert scores.ap[1] == usual.ap[2]
    assert [getattr(scores, n) for n in ("ap50", "ap75", "f1", "pq")] == [
        getattr(usual, n) for n in ("ap50", "ap75", "f1", "pq")
    ]
    row = scores.as_row()
    assert row["thresholds"] == "0.3 0.6"
    assert {"tp30", "tp50", "tp60", "tp75"} <= set(row)
    assert evaluate(pred, truth, thresholds=0.6).map == scores.ap[1]
    assert evaluate(pred, truth, thresholds=np.arange(0.5, 1, 0.05)).map == usual.map
    for bad in ([], [0], [0.5, 2], "high"):
        with pytest.raises(InputError, match="IoU threshold"):
            evaluate(pred, truth, thresholds=bad)


def test_default_thresholds_are_those_of_the_data_science_bowl():
    np.testing.assert_allclose(THRESHOLDS, np.arange(0.5, 1, 0.05))


def test_row_is_flat_and_agrees_with_the_scores():
    pred, truth = random_pair(3)
    scores = evaluate(pred, truth)
    row = scores.as_row()
    assert list(row)[:10] == ["n_true", "n_pred", "count_error", "seg", "det", "ap50", "ap75", "map", "f1", "pq"]
    assert all(row[name] == getattr(scores, name) for name in NAMES)
    assert all(isinstance(value, int | float | str) for value in row.values())
    assert [row[f"tp{t}"] for t in range(50, 100, 5)] == scores.tp.tolist()
    assert row["tp50"] + row["fn50"] == scores.n_true
    assert row["tp50"] + row["fp50"] == scores.n_pred
    assert row["seg_sum"] == pytest.approx(scores.seg * scores.n_true)
    assert scores.f1_at[0] == scores.f1
    assert scores.pq_at[0] == scores.pq
    assert f"map={scores.map:.4g}" in repr(scores)
    assert f"<td>{scores.seg:.3f}</td>" in scores._repr_html_()
    with pytest.raises(AttributeError):
        scores.seg = 1.0
    assert isinstance(scores, Scores)


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_names_of_objects_do_not_matter(seed):
    pred, truth = random_pair(seed)
    rng = np.random.default_rng(seed)
    renamed = []
    for image in (pred, truth):
        names = np.concatenate([[0], rng.choice(10**9, int(image.max()), replace=False) + 1])
        renamed.append(names[image])
    np.testing.assert_equal(evaluate(*renamed).as_row(), evaluate(pred, truth).as_row())


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_scores_are_fractions_and_ap_is_symmetric(seed):
    pred, truth = random_pair(seed)
    scores, swapped = evaluate(pred, truth), evaluate(truth, pred)
    values = np.array([getattr(scores, name) for name in NAMES])
    assert ((values >= 0) & (values <= 1) | np.isnan(values)).all()
    np.testing.assert_array_equal(scores.ap, swapped.ap)
    np.testing.assert_allclose(scores.pq_at, swapped.pq_at)
    assert (np.diff(scores.tp) <= 0).all()
    if scores.n_true:
        # IoU of at least 0.5 does not always imply more than half of the reference, IoU above does
        assert scores.seg * scores.n_true >= evaluate(pred, truth, thresholds=0.501).matched_iou[0] - 1e-9
        assert evaluate(truth, truth).as_row() == {**evaluate(truth, truth).as_row(), **dict.fromkeys(NAMES, 1.0)}
