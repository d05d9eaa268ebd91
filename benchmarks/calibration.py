"""How far a calibrated confidence means what it says on images that it was not calibrated on.

    divseg run NOISY --out RUN --truth MASKS ...
    divseg calibrate RUN MASKS --out CALIBRATION
    python -m benchmarks.calibration CALIBRATION [--name NAME]

The images of a run are split in halves, at random and by image, many times: one half calibrates, the other one is
measured. Before calibration the confidence of an object is its existence (share of samples that hold it), and the
intervals of areas and counts are the 5 and 95 % quantiles over the samples.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.record import write_result
from divseg.metrics import reliability_curve, to_markdown
from divseg.metrics.calibrator import Outcome, fit_outcomes, measure_calibration
from divseg.results.open_run import open_run
from divseg.workflow.calibrate import read_outcomes

MEASURES = {
    "d_ece": "D-ECE (10 bins)",
    "brier": "Brier score",
    "area_coverage": "true areas within the 90 % interval",
    "count_coverage": "true counts within the 90 % interval",
}


def halves(outcomes: list[Outcome], splits: int, method: str) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Measures of every split, and (existence, confidence, hit) of all measured objects."""
    rows, seen = [], []
    rng = np.random.default_rng(0)
    for _ in range(splits):
        order = rng.permutation(len(outcomes))
        fit, test = ([outcomes[i] for i in half] for half in np.array_split(order, 2))
        calibration = fit_outcomes(fit, method=method)
        rows.append(measure_calibration([(calibration, o) for o in test]))
        seen += [np.stack([o.existence, calibration.confidence(o.score), o.hit]) for o in test]
    return pd.DataFrame(rows), seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--name", default="calibration")
    a = parser.parse_args()
    run = open_run(a.folder)
    outcomes = read_outcomes(run.layout, run.names)
    table, seen = halves(outcomes, a.splits, "as the run")
    lines = ["| on the images left out | before | after | after, worst to best split |", "| --- | --- | --- | --- |"]
    for key, title in MEASURES.items():
        before, after = table[f"{key}_before"], table[f"{key}_after"]
        ends = (after.max(), after.min()) if key in ("d_ece", "brier") else (after.min(), after.max())
        lines.append(f"| {title} | {before.mean():.3f} | {after.mean():.3f} | {ends[0]:.3f} to {ends[1]:.3f} |")
    existence, confidence, hit = np.concatenate(seen, axis=1)
    curves = {"existence": reliability_curve(existence, hit), "confidence": reliability_curve(confidence, hit)}
    objects, images = sum(len(o.hit) for o in outcomes), len(outcomes)
    body = [
        f"{objects} objects of {images} images, {a.splits} splits in halves; means over the splits.\n",
        *lines,
        "\nReliability, objects of all splits together: `confidence` and `precision` are means within a bin.\n",
    ]
    for name, curve in curves.items():
        curve["n"] = (curve["n"] / a.splits).round().astype(int)
        body.append(f"{name}:\n\n{to_markdown(curve)}\n")
    command = f"python -m benchmarks.calibration {a.folder.name} --name {a.name}"
    write_result(a.name, "Calibration of confidences and intervals", command, "\n".join(body))


if __name__ == "__main__":
    main()
