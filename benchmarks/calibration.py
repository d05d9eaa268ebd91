"""How far a calibrated confidence means what it says on images that it was not calibrated on.

    divseg run NOISY --out RUN --truth MASKS ...
    divseg calibrate RUN --truth MASKS --out CALIBRATION
    python -m benchmarks.calibration halves CALIBRATION [--name NAME]

The images of a run are split in halves, at random and by image, many times: one half calibrates, the other one is
measured. Before calibration the confidence of an object is its existence (share of samples that hold it), and the
intervals of areas and counts are the 5 and 95 % quantiles over the samples.

    DIVSEG_DATA=... python -m benchmarks.calibration simulated --models MODELS --sets dsb2018_fluo-n20 ... [--record]

Several sets, each a run with a model of the cache of :mod:`benchmarks.trained` on images with a truth that only the
judge knows: without calibration, calibrated on simulated images (divseg calibrate --simulate), and calibrated on up to
ten labelled images, each image judged by the calibration of ten others.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from benchmarks.record import limit_threads, write_result
from benchmarks.sets import evenly, load_set, split_name
from benchmarks.trained import model_folder
from divseg.errors import DivsegWarning, InputError
from divseg.io import read_labels
from divseg.metrics import reliability_curve, to_markdown
from divseg.metrics.calibrator import Outcome, fit_outcomes, measure_calibration, outcome
from divseg.results.open_run import Run, open_run
from divseg.workflow.comparison import read_outcomes
from divseg.workflow.run import run
from divseg.workflow.simulate import simulate_run

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
        seen += [np.stack([o.existence, calibration.p_true(o.score), o.hit]) for o in test]
    return pd.DataFrame(rows), seen


def crop(image: np.ndarray, side: int) -> np.ndarray:
    """Return the middle of an image, at most `side` pixels on a side."""
    y, x = (max(0, (n - side) // 2) for n in image.shape)
    return image[y : y + side, x : x + side]


def run_set(job: str, a: argparse.Namespace) -> tuple[Run, Path]:
    """Run on the judged images of a set, or take what an earlier call did; return the run and the folder of masks."""
    name, level = split_name(job)
    pictures = [p for p in load_set(name, level) if p.masks is not None]
    judged = evenly([p for p in pictures if p.part == "test"] or pictures, a.images)
    folder = a.work / job
    images, masks = folder / "images", folder / "masks"
    for place in (images, masks):
        place.mkdir(parents=True, exist_ok=True)
    for p in judged:
        if not (masks / f"{p.name}.tif").exists():
            noisy = crop(p.noisy, a.side)
            whole = bool((noisy == np.rint(noisy)).all()) and noisy.min() >= 0
            tifffile.imwrite(images / f"{p.name}.tif", noisy.astype(np.uint16) if whole else noisy)
            tifffile.imwrite(masks / f"{p.name}.tif", crop(p.masks, a.side).astype(np.uint16))
    model = model_folder(a.models, name, level, "learned", a.minutes, 0)
    settings = {"segmenter": a.segmenter, "samples": a.samples, "device": "cpu", "simulate": 0}
    options = {"baseline_sigmas": (1.0,), "compare": (), "report": False}
    result = run(images, folder / "run", truth=masks, model=model, executor="serial", **settings, **options)
    return result.open(), masks


def truths_of(made: Run, masks: Path) -> list[Outcome]:
    """Compare the images of a run with their truth."""
    rows = made.images_table.to_dict("records")
    return [
        outcome(made.labels[r["image"]], made.objects[made.objects["image"] == r["image"]], mask, r)
        for r in rows
        for mask in [read_labels(masks / f"{r['image']}.tif")]
    ]


def labelled(outcomes: list[Outcome], method: str) -> dict[str, float] | None:
    """Judge each image by the calibration of up to ten others, None where these are too few to calibrate on."""
    pairs = []
    for i, o in enumerate(outcomes):
        others = [outcomes[(i + k) % len(outcomes)] for k in range(1, len(outcomes))][:10]
        try:
            pairs.append((fit_outcomes(others, method=method), o))
        except InputError:
            return None
    return measure_calibration(pairs)


def judge(job: str, a: argparse.Namespace) -> dict[str, object]:
    """Return the row of one set."""
    made, masks = run_set(job, a)
    known = simulate_run(made.folder, images=a.simulated).open().calibration
    outcomes = truths_of(made, masks)
    found = measure_calibration([(known, o) for o in outcomes])
    few = labelled(outcomes, known.method)
    seconds = {name: made.record["timings"].get(f"{name}_s", 0.0) for name in ("images",)}
    true = float(np.nanmean([o.map for o in outcomes]))
    row: dict[str, object] = {
        "set": job,
        "objects": sum(len(o.hit) for o in outcomes),
        "right": f"{np.concatenate([o.hit for o in outcomes]).mean():.2f}",
    }
    for key, title in (("d_ece", "D-ECE"), ("area_coverage", "areas"), ("count_coverage", "counts")):
        row[f"{title} raw"] = f"{found[f'{key}_before']:.3f}"
        row[f"{title} simulated"] = f"{found[f'{key}_after']:.3f}"
        row[f"{title} ten labelled"] = "" if few is None else f"{few[f'{key}_after']:.3f}"
    row["mAP true"] = f"{true:.3f}"
    row["raw - true"] = f"{found['map_error_before']:+.3f}"
    row["simulated - true"] = f"{found['map_error_after']:+.3f}"
    row["labelled - true"] = "" if few is None else f"{few['map_error_after']:+.3f}"
    print(row, seconds, flush=True)
    return row


def simulated(a: argparse.Namespace) -> None:
    """Print and, if asked, record the table of all sets."""
    limit_threads(a.threads)
    warnings.simplefilter("ignore", DivsegWarning)
    table = pd.DataFrame([judge(job, a) for job in a.sets])
    body = (
        f"`{a.segmenter}`, {a.samples} samples, up to {a.images} images a set of at most {a.side} pixels on a side, "
        f"{a.simulated} simulated images. *Areas* and *counts*: fraction of the true ones within the 90 % interval.\n\n"
        f"{to_markdown(table)}"
    )
    if a.record:
        words = f"python -m benchmarks.calibration simulated --models MODELS --minutes {a.minutes:g} --sets "
        write_result(a.name, "Confidence calibrated on simulated images", words + " ".join(a.sets), body)
    else:
        print(body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("halves")
    one.set_defaults(do=split_in_halves)
    one.add_argument("folder", type=Path)
    one.add_argument("--splits", type=int, default=20)
    one.add_argument("--name", default="calibration")
    many = commands.add_parser("simulated")
    many.set_defaults(do=simulated)
    many.add_argument("--models", type=Path, required=True)
    many.add_argument("--work", type=Path, required=True, help="folder for the runs")
    many.add_argument("--minutes", type=float, default=10.0, help="training of the models")
    many.add_argument("--sets", nargs="+", required=True, metavar="SET-LEVEL")
    many.add_argument("--segmenter", default="otsu,smooth=1,split=distance,min_size=20")
    many.add_argument("--samples", type=int, default=16)
    many.add_argument("--images", type=int, default=12)
    many.add_argument("--simulated", type=int, default=8)
    many.add_argument("--side", type=int, default=256)
    many.add_argument("--threads", type=int, default=1)
    many.add_argument("--name", default="calibration_simulated")
    many.add_argument("--record", action="store_true")
    a = parser.parse_args()
    a.do(a)


def split_in_halves(a: argparse.Namespace) -> None:
    """Record how well one half of the images of a run calibrates the other."""
    done = open_run(a.folder)
    outcomes, _ = read_outcomes(done.layout, done.names)
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
    command = f"python -m benchmarks.calibration halves {a.folder.name} --name {a.name}"
    write_result(a.name, "Calibration of confidences and intervals", command, "\n".join(body))


if __name__ == "__main__":
    main()
