"""What do the presets of ``divseg run`` give, and how long do they take? Each one as its user would run it.

    DIVSEG_DATA=... python -m benchmarks.presets --out OUT [--presets fast default best] [--level pg_low] [--threads N]

IMAGES are the upper left 512x512 pixels of the first eight test images of bbbc039 at a noise level. The command
``divseg run IMAGES --truth MASKS --preset NAME`` trains, samples, segments, fuses and scores; nothing else is set. Runs
that are complete in OUT are not repeated; the record has a row for each preset that OUT holds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from benchmarks.record import write_result
from benchmarks.sets import load_set
from divseg.config import PRESETS

SET, SIDE, COUNT = "bbbc039", 512, 8
SCORES = {"map": "mAP", "ap50": "AP50", "ap75": "AP75", "seg": "SEG", "det": "DET", "f1": "F1", "pq": "PQ"}


def lay_out(folder: Path, level: str) -> None:
    """Write the images and masks of the protocol."""
    for sub in ("images", "masks"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    tests = [p for p in load_set(SET, level) if p.part == "test" and p.masks is not None][:COUNT]
    for picture in tests:
        if (folder / "images" / f"{picture.name}.tif").is_file():
            continue  # written again, it would be another image for a run that goes on
        cut = (slice(SIDE), slice(SIDE))
        tifffile.imwrite(folder / "masks" / f"{picture.name}.tif", np.asarray(picture.masks)[cut].astype("uint16"))
        tifffile.imwrite(folder / "images" / f"{picture.name}.tif", picture.noisy[cut])


def run(preset: str, data: Path, out: Path, threads: int | None) -> dict[str, float]:
    """Run the command once and return its times in seconds, or those of the run that is there."""
    record = out / "seconds.json"
    if record.is_file():
        return dict(json.loads(record.read_text(encoding="utf-8")))
    words = ["run", str(data / "images"), "--truth", str(data / "masks"), "--preset", preset, "--out", str(out)]
    limits = {} if threads is None else {"OMP_NUM_THREADS": str(threads), "NUMBA_NUM_THREADS": str(threads)}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, "-m", "divseg", *words], check=True, env={**os.environ, **limits})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = {
        "wall": time.monotonic() - start,
        "processor": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "threads": float(threads or os.cpu_count() or 1),
    }
    record.write_text(json.dumps(seconds), encoding="utf-8")
    return seconds


def chapter(preset: str, seconds: dict[str, float], out: Path) -> str:
    """Return the table of one preset."""
    summary = pd.read_csv(out / "summary.csv").set_index("input")
    lines = [
        f"## {preset}",
        f"{minutes(seconds['wall'])} with {seconds['threads']:.0f} thread(s), training included "
        f"({minutes(seconds['processor'])} of processor time).",
        "\n".join(
            [
                "| input | " + " | ".join(SCORES.values()) + " |",
                "| --- |" + " --- |" * len(SCORES),
                *(
                    f"| {name} | " + " | ".join(f"{row[score]:.3f}" for score in SCORES) + " |"
                    for name, row in summary.iterrows()
                ),
            ]
        ),
        against(out / "scores.csv", str(summary.index[summary.index.str.startswith("best gaussian")][0])),
    ]
    return "\n\n".join(lines)


def against(file: Path, best: str) -> str:
    """Return in words on how many images the consensus is above the MMSE and the best Gaussian."""
    rows = pd.read_csv(file)
    wide = rows.groupby(["image", "input"])["map"].mean().unstack()
    ours = wide["consensus clustering"]
    sentences = []
    for name, column in (("the MMSE", "mmse"), ("the best Gaussian", best.replace("best ", "").translate(_BRACKETS))):
        gain = ours - wide[column]
        sentences.append(f"{gain.mean():+.3f} mAP against {name}, above it on {(gain > 0).sum()} of {len(gain)} images")
    return f"Consensus: {'; '.join(sentences)}."


_BRACKETS = str.maketrans("", "", "()")


def minutes(seconds: float) -> str:
    """Return a time in words."""
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--level", default="pg_low")
    parser.add_argument("--threads", type=int, help="of the run; all cores where absent")
    parser.add_argument("--record", action="store_true", help="write the tables to results/presets.md")
    a = parser.parse_args()
    data = a.out / f"{SET}-{a.level}"
    lay_out(data, a.level)
    for preset in a.presets:
        run(preset, data, a.out / f"{a.level}-{preset}", a.threads)
    held = {p: a.out / f"{a.level}-{p}" for p in PRESETS if (a.out / f"{a.level}-{p}" / "seconds.json").is_file()}
    head = (
        f"IMAGES: the upper left {SIDE}x{SIDE} pixels of the first eight test images of {SET} with noise {a.level}. "
        "Nothing else was set; the width of the best Gaussian was chosen with the truth. Times are by the clock."
    )
    body = "\n\n".join([head, *(chapter(p, run(p, data, out, None), out) for p, out in held.items())])
    if a.record:
        command = "divseg run IMAGES --truth MASKS --preset NAME   (python -m benchmarks.presets --out OUT --record)"
        write_result("presets", "Presets of divseg run", command, body)
    else:
        print(body)


if __name__ == "__main__":
    main()
