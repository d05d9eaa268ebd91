"""What does the rule cost that samples must hold an object? Each cell of the segmentation table, with and without.

    DIVSEG_DATA=... python -m benchmarks.least_existence --models MODELS --minutes 2 [--samples 16] [--record]

An object of a run reaches the labels only if three in ten of the samples hold it and it differs from the background
around it. Here the label images of a run are fused with these two rules and without them. Segmenters are those of
:mod:`benchmarks.segmentation`: a thresholding and a scale of StarDist, each the one that does best for the mean sample
on every second image, scored on the others, and the other way round.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

from benchmarks.record import limit_threads, write_result
from benchmarks.sets import Picture
from benchmarks.trained import trained
from benchmarks.untuned.sets import SETS, Left
from divseg import evaluate, fuse, segmenter
from divseg.consensus import LabelStack
from divseg.denoise import DivNoising
from divseg.denoise.smoothing import smoothed
from divseg.metrics import agreement_weights, bootstrap_interval
from divseg.workflow.choose_segmenter import candidates
from divseg.workflow.image_stages import MEANS, SAMPLES_FRACTION

JOBS = [job for job in SETS if not job.startswith(("field", "demo"))]
LOWEST = -0.005
"""mAP that a cell may lose."""


def fused(picture: Picture, name: str, model: DivNoising, count: int) -> dict[str, float]:
    """Return the mAP of the fusion of all views, with the rules and without."""
    samples = np.asarray(model.draw(picture.noisy, range(count)), np.float32)
    mean, spread = samples.mean(axis=0), samples.std(axis=0)
    plain = segmenter(name)
    fitted = plain.fit(mean)
    means = samples.reshape(-1, MEANS, *mean.shape).mean(axis=1)
    views = [list(fitted(samples)), list(fitted(means)), [fitted(mean)]]
    for _, smooth in smoothed(np.asarray(picture.noisy, np.float32), model.noise):
        views.append([plain.fit(smooth)(smooth)])
    weights = agreement_weights(views, first=SAMPLES_FRACTION)
    each = [weight / len(view) for weight, view in zip(weights, views, strict=True) for _ in view]
    stack = LabelStack.of((labels for view in views for labels in view), each)
    ruled = fuse(stack, samples=count, images=(picture.noisy, mean, spread))
    with mock.patch("divseg.consensus.fusion.LEAST_EXISTENCE", 0.0):
        free = fuse(stack, samples=count)
    return {key: evaluate(made.labels, picture.masks).map for key, made in (("with", ruled), ("without", free))}


def tuned(pictures: list[Picture], names: list[str], model: DivNoising, count: int) -> str:
    """Return the segmenter that does best for the mean samples of some images."""
    means = [np.asarray(model.draw(p.noisy, range(count)), np.float32).mean(axis=0) for p in pictures]

    def score(name: str) -> float:
        made = segmenter(name)
        return float(np.mean([evaluate(made.fit(m)(m), p.masks).map for m, p in zip(means, pictures, strict=True)]))

    return max(names, key=score)


def cell(job: str, kind: str, a: argparse.Namespace) -> dict[str, object]:
    """Return the row of a cell."""
    left = Left(job, a.models, a.minutes)
    model = trained(a.models, left.name, left.level, minutes=a.minutes, device="cpu")
    names = [name for name in candidates() if name.startswith("stardist") == (kind == "stardist:nuclei")]
    parts, rows = [left.pictures[0::2], left.pictures[1::2]], []
    for tuning, scoring in (parts, parts[::-1]):
        name = tuned(tuning, names, model, a.samples)
        rows += [fused(picture, name, model, a.samples) for picture in scoring]
    table = pd.DataFrame(rows)
    difference = (table["with"] - table["without"]).to_numpy()
    low, high = bootstrap_interval(difference)
    return {
        "set": job,
        "segmenter": kind,
        "images": len(table),
        "without": table["without"].mean(),
        "with": table["with"].mean(),
        "difference": difference.mean(),
        "interval": f"[{low:+.4f}, {high:+.4f}]",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0, help="training of the models")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=JOBS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="write the table to results/least_existence.md")
    a = parser.parse_args()
    limit_threads(a.threads)
    rows = []
    for job in a.jobs:
        for kind in ("threshold", "stardist:nuclei"):
            rows.append(cell(job, kind, a))
            print(rows[-1], flush=True)
    frame = pd.DataFrame(rows)
    lines = ["| set | segmenter | images | without | with | difference |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| {r['set']} | {r['segmenter']} | {r['images']} | {r['without']:.3f} | {r['with']:.3f} | "
        f"{r['difference']:+.4f} {r['interval']} |"
        for r in rows
    ]
    low = int((frame["difference"] < LOWEST).sum())
    words = (
        f"mAP of the consensus of all views. Lower by more than {-LOWEST:g} in {low} of {len(frame)} cells; mean "
        f"difference {frame['difference'].mean():+.4f}, lowest {frame['difference'].min():+.4f}."
    )
    if a.record:
        command = f"python -m benchmarks.least_existence --models MODELS --minutes {a.minutes:g} --samples {a.samples}"
        write_result(
            "least_existence", "Objects that the samples do not hold", command, words + "\n\n" + "\n".join(lines)
        )
    else:
        print(words, *lines, sep="\n")


if __name__ == "__main__":
    main()
