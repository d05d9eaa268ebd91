"""Our SEG, DET and matching against py-ctcmetrics and stardist.matching, on inputs where these are right.

    pip install divseg[peers]
    python -m benchmarks.score_oracles [--pairs 500]

Random label images with moved, merged, split, missing and extra objects. py-ctcmetrics reads files: uint16, labels
small enough that its sums do not overflow, background present. Where a reference is known to be wrong is shown
below the table, by running it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from stardist.matching import matching

from benchmarks.record import write_result
from divseg.metrics import THRESHOLDS, evaluate


def pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return prediction and truth, uint16 of 96 x 96 pixels."""
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
    pred[-1], truth[-1] = 0, 0
    return pred, truth


def challenge(pred: np.ndarray, truth: np.ndarray, folder: Path) -> tuple[float, float]:
    """SEG and DET of one frame by py-ctcmetrics, which wants tracks: the frame is given twice."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=500)
    a = parser.parse_args()
    worst = dict.fromkeys(("SEG", "DET", "AP", "F1", "PQ"), 0.0)
    counts = 0
    compared = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(a.pairs):
            pred, truth = pair(seed)
            if not truth.any() or not pred.any():
                continue
            compared += 1
            ours, theirs = evaluate(pred, truth), matching(truth, pred, thresh=THRESHOLDS)
            seg, det = challenge(pred, truth, Path(folder))
            differences = {
                "SEG": ours.seg - seg,
                "DET": ours.det - det,
                "AP": ours.ap - [m.accuracy for m in theirs],
                "F1": ours.f1_at - [m.f1 for m in theirs],
                # at exactly 0.5 several pairings can be possible: ours has the greatest sum of IoU
                "PQ": (ours.pq_at - [m.panoptic_quality for m in theirs])[1:],
            }
            worst = {name: max(worst[name], float(np.abs(d).max())) for name, d in differences.items()}
            counts += ours.tp.tolist() != [m.tp for m in theirs] or ours.fp.tolist() != [m.fp for m in theirs]
        lines = ["| score | reference | greatest difference |", "| --- | --- | --- |"]
        for name, value in worst.items():
            lines.append(f"| {name} | {'py-ctcmetrics' if name in ('SEG', 'DET') else 'stardist'} | {value:.1e} |")
        lines.append(f"| TP, FP at ten thresholds | stardist | {counts} of {compared} pairs differ |")
        bright = np.zeros((16, 16), np.uint8)
        bright[2:12, 2:12] = 200
        wrapped = challenge(bright, bright, Path(folder))[0]
    empty = matching(np.zeros((4, 4), int), np.zeros((4, 4), int)).accuracy
    body = "\n".join(
        [
            f"{compared} pairs of label images.\n",
            *lines,
            "\nFaults of the references, not shared: identical masks with label 200 in uint8 have SEG "
            f"{wrapped:.3f} by py-ctcmetrics ({evaluate(bright, bright).seg:.3f} here); nothing predicted where "
            f"nothing is has AP {empty:.3f} by stardist (NaN here, weight 0).",
        ]
    )
    write_result(
        "score_oracles", "Scores against other tools", f"python -m benchmarks.score_oracles --pairs {a.pairs}", body
    )


if __name__ == "__main__":
    main()
