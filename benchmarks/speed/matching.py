"""How long the scores of one large label image take, against stardist.matching in the same run.

    python -m benchmarks.speed matching [--size 2048] [--objects 5000] [--repeats 5]

No data is needed: the label images are discs on a jittered grid, the prediction a second draw of the jitter with its
labels shuffled.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import pandas as pd
from stardist.matching import matching

from benchmarks.record import write_result
from benchmarks.speed.clock import seconds
from divseg.metrics import THRESHOLDS, evaluate, to_markdown


def scene(size: int, objects: int, rng: np.random.Generator) -> np.ndarray:
    """Discs on a jittered grid, shuffled labels, int32."""
    cells = int(np.ceil(np.sqrt(objects)))
    step = size / cells
    labels = np.zeros((size, size), np.int32)
    names = rng.permutation(objects) + 1
    for k in range(objects):
        y, x = (np.array(divmod(k, cells)) + 0.5) * step + rng.normal(0, 0.07 * step, 2)
        r = 0.42 * step
        rows, cols = (slice(max(0, int(c - r)), int(c + r) + 2) for c in (y, x))
        box = labels[rows, cols]
        yy, xx = np.ogrid[rows.start : rows.start + box.shape[0], cols.start : cols.start + box.shape[1]]
        box[(yy - y) ** 2 + (xx - x) ** 2 < r * r] = names[k]
    return labels


def median_time(call: Callable[[], object], repeats: int) -> float:
    """Median wall time, after one call that compiles and warms up."""
    call()
    return float(np.median([seconds(call) for _ in range(repeats)]))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=5)


def run(a: argparse.Namespace) -> None:
    rng = np.random.default_rng(0)
    truth, pred = (scene(a.size, a.objects, rng) for _ in range(2))
    rows = []
    for name, thresholds in (("IoU 0.5", (0.5,)), ("IoU 0.50:0.05:0.95", THRESHOLDS)):
        ours, theirs = evaluate(pred, truth, thresholds=thresholds), matching(truth, pred, thresh=thresholds)
        if ours.tp.tolist() != [m.tp for m in theirs]:
            raise SystemExit(f"different true positives: {ours.tp.tolist()} and {[m.tp for m in theirs]}")
        fast = median_time(lambda t=thresholds: evaluate(pred, truth, thresholds=t), a.repeats)
        slow = median_time(lambda t=thresholds: matching(truth, pred, thresh=t), a.repeats)
        rows.append({"thresholds": name, "divseg [s]": fast, "stardist [s]": slow, "ratio": slow / fast})
    command = f"python -m benchmarks.speed matching --size {a.size} --objects {a.objects} --repeats {a.repeats}"
    body = (
        f"Two label images of {a.size} x {a.size} pixels (int32) with {a.objects} objects each.\n"
        "`divseg.metrics.evaluate` gives all its scores (SEG, DET, AP, F1, PQ, AJI, AJI+),\n"
        "`stardist.matching.matching` AP, F1 and PQ; the true positives are the same. Median of\n"
        f"{a.repeats} calls after one to warm up, one process, one thread, stardist {version('stardist')}.\n\n"
        + to_markdown(pd.DataFrame(rows))
    )
    write_result("matching_speed", "Speed of matching", command, body)
