"""SEG and DET against py-ctcmetrics (extra ``peers``), on inputs for which it is right."""

import numpy as np
import pytest
import tifffile

from divseg.metrics import evaluate


def moved_and_changed(seed):
    """Return prediction and truth, uint16 of 96 x 96 pixels: objects are moved, merged, split, missing and added."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((96, 96), np.uint16)
    y, x = np.mgrid[:96, :96]
    n = int(rng.integers(1, 16))
    for label in range(1, n + 1):
        cy, cx, r = rng.uniform(4, 92), rng.uniform(4, 92), rng.uniform(3, 12)
        truth[(np.hypot(y - cy, x - cx) < r) & (truth == 0)] = label
    pred = np.roll(truth, rng.integers(-3, 4, 2), axis=(0, 1)).copy()
    names = rng.permutation(40)[: n + 1].astype(np.uint16) + 1
    names[0] = 0
    pred = names[pred]
    for label in np.unique(pred)[1:]:
        fate = rng.random()
        if fate < 0.15:
            pred[pred == label] = 0
        elif fate < 0.3:
            pred[(pred == label) & (x > np.median(x[pred == label]))] = label + 50
        elif fate < 0.45:
            pred[pred == label] = rng.choice(np.unique(pred)[1:])
    if rng.random() < 0.3:
        pred[:6, :6] = 99
    pred[-1], truth[-1] = 0, 0  # py-ctcmetrics needs background
    return pred, truth


def challenge(pred, truth, folder):
    """SEG and DET of one frame by py-ctcmetrics, which reads files and wants tracks: the frame is given twice."""
    from ctc_metrics.metrics.technical.det import det
    from ctc_metrics.metrics.technical.seg import seg
    from ctc_metrics.utils.representations import count_acyclic_graph_correction_operations, match

    files = folder / "truth.tif", folder / "pred.tif"
    for file, labels in zip(files, (truth, pred), strict=True):
        tifffile.imwrite(file, labels)
    labels_ref, labels_comp, mapped_ref, mapped_comp, ious = match(*map(str, files))
    tracks = [np.array([[label, 0, 1, 0] for label in labels]) for labels in (labels_ref, labels_comp)]
    frames = [[labels] * 2 for labels in (labels_ref, labels_comp, mapped_ref, mapped_comp)]
    return seg([labels_ref], [ious]), det(**count_acyclic_graph_correction_operations(*tracks, *frames))


def test_seg_and_det_equal_those_of_the_cell_tracking_challenge(tmp_path):
    pytest.importorskip("ctc_metrics")
    for pred, truth in map(moved_and_changed, range(60)):
        if not pred.any() or not truth.any():
            continue
        ours = evaluate(pred, truth)
        assert (ours.seg, ours.det) == pytest.approx(challenge(pred, truth, tmp_path), abs=1e-12)
