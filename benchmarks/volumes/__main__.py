"""Thresholds and StarDist 3-D on a volume of 64x256x256 voxels with known truth, from the command line.

    python -m benchmarks.volumes --model FOLDER/volumes [--minutes 2] [--samples 3] [--record]

The model comes from ``python -m benchmarks.volumes.train``. The volume (:mod:`benchmarks.volumes.grown`) has planes two
pixels apart; the same tissue is recorded again with planes four apart, and once with a wrong distance in its header.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from benchmarks.record import write_result
from benchmarks.volumes.drawn import DISTANCE
from benchmarks.volumes.grown import grow, record
from divseg.io import read_labels
from divseg.metrics import evaluate

SHAPE, SEED = (64, 256, 256), 7
PIXEL = 0.25
"""Size of a pixel in micrometres."""

OTSU = "otsu,smooth=1,split=distance,min_size=auto"


@dataclass
class Spent:
    """Time of the processor in seconds, and the most memory in GB, that a command took."""

    seconds: float
    memory: float


def divseg(*words: str) -> Spent:
    """Run a command; what it took is that of its process."""
    print("$ divseg", *words, flush=True)
    process = subprocess.Popen([sys.executable, "-m", "divseg", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"divseg {' '.join(words)} failed")
    return Spent(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20)


def write(folder: Path, image: NDArray[np.uint16], distance: float) -> Path:
    """Write a volume whose header tells the distance of its planes."""
    folder.mkdir(parents=True)
    metadata = {"axes": "ZYX", "unit": "um", "spacing": distance * PIXEL}
    tifffile.imwrite(folder / "a.tif", image, imagej=True, resolution=(1 / PIXEL, 1 / PIXEL), metadata=metadata)
    return folder


def row(what: str, segmenter: str, labels: NDArray[np.integer], truth: NDArray[np.integer], spent: Spent) -> str:
    """Return a row of the table."""
    scores = evaluate(labels, truth)
    right = int(scores.tp[0])
    return (
        f"| {what} | {segmenter} | {scores.map:.3f} | {scores.seg:.3f} | {right} of {truth.max()} | "
        f"{len(np.unique(labels)) - 1} | {spent.seconds:.0f} s | {spent.memory:.2f} GB |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="StarDist 3-D model folder")
    parser.add_argument("--minutes", type=float, default=2.0, help="training of the denoising network")
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--work", type=Path, help="folder for the volume and all results; a temporary one by default")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/volumes.md")
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp())
    stardist = f"stardist:{Path(args.model).resolve()},anisotropy={DISTANCE:g}"
    names = {OTSU: "otsu", stardist: f"StarDist 3-D, `anisotropy={DISTANCE:g}`"}
    plain = stardist.partition(",")[0]
    names[plain] = "StarDist 3-D, spacing not told"

    clean, truth = grow(SHAPE, DISTANCE, SEED)
    volume = write(work / "volume", record(clean, SEED), DISTANCE)
    rows = []

    def segment(folder: Path, name: str, what: str, segmenter: str, truth: NDArray[np.integer]) -> None:
        spent = divseg("segment", str(folder), "--out", str(work / name), "--segmenter", segmenter, "--volume")
        rows.append(row(what, names[segmenter], read_labels(work / name / "labels" / "a.tif"), truth, spent))
        print(rows[-1], flush=True)

    for number, segmenter in enumerate((OTSU, stardist)):
        segment(volume, f"s{number}", "`divseg segment`, noisy", segmenter, truth)
    sparse_clean, sparse_truth = grow((SHAPE[0] // 2, *SHAPE[1:]), 2 * DISTANCE, SEED)
    sparse = write(work / "sparse", record(sparse_clean, SEED), 2 * DISTANCE)
    wrong = write(work / "wrong", record(sparse_clean, SEED), DISTANCE / 4)
    for number, segmenter in enumerate((OTSU, stardist)):
        segment(sparse, f"p{number}", "planes twice as far apart", segmenter, sparse_truth)
    segment(sparse, "p2", "planes twice as far apart", plain, sparse_truth)
    for number, segmenter in enumerate((OTSU, stardist)):
        segment(wrong, f"w{number}", "the same, header: an eighth of that", segmenter, sparse_truth)

    model: list[str] = ["--train-minutes", str(args.minutes)]
    for number, segmenter in enumerate((OTSU, stardist)):
        out = work / f"run{number}"
        began = time.monotonic()
        spent = divseg(
            *("run", str(volume), "--out", str(out), "--volume", "--segmenter", segmenter, *model),
            *("--samples", str(args.samples), "--simulate", "0", "--fuse-with", "samples"),
        )
        print(f"{time.monotonic() - began:.0f} s on the clock", flush=True)
        what = f"`divseg run`, {'with training' if number == 0 else 'the same model'}"
        rows.append(row(what, names[segmenter], read_labels(out / "labels" / "a.tif"), truth, spent))
        print(rows[-1], flush=True)
        model = ["--model", str(out / "model")]
    body = (
        f"{SHAPE[0]}x{SHAPE[1]}x{SHAPE[2]} voxels, planes {DISTANCE:g} pixels apart, {truth.max()} cells; truth is "
        f"known. The network of StarDist was trained on drawn volumes of another generator with planes {DISTANCE:g} "
        f"pixels apart, and never on real ones. `divseg run`: {args.minutes:g} minutes of training, {args.samples} "
        "samples, fused alone. Times are of the processor, one thread.\n\n"
        "| command | segmenter | mAP | SEG | right at IoU 0.5 | found | processor | peak memory |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- |\n" + "\n".join(rows)
    )
    if args.record:
        command = f"python -m benchmarks.volumes --model MODEL --minutes {args.minutes:g} --samples {args.samples}"
        write_result("volumes", "Volumes with known truth", command, body)
    else:
        print(body)


if __name__ == "__main__":
    main()
