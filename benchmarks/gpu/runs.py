"""Whole commands: StarDist from samples to labels, the demo, and a folder of fields."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.ndimage import gaussian_filter

from benchmarks.gpu.card import Card, Row
from benchmarks.interruptions import make_plate
from divseg import segmenter
from divseg.workflow.demo import demo_image


def stardist(card: Card) -> Iterator[Row]:
    """Yield the time from samples on the device to label images."""
    n, side = card.count(64), card.side(512)
    rng = np.random.default_rng(0)
    clean = demo_image()[2][:side, :side]
    samples = [gaussian_filter(clean + rng.normal(0, 0.3 * clean.std(), clean.shape), 1) for _ in range(n)]
    stack = torch.from_numpy(np.stack(samples).astype(np.float32)).to(card.device)
    for options in ("", ",threads=1"):
        segment = segmenter(f"stardist:nuclei,device={card.device}{options}")
        found: list[int] = []

        def label(segment=segment, found=found) -> None:
            found[:] = [int(labels.max()) for labels in segment.fit(stack[0])(stack)]

        taken = card.seconds(label, rounds=2)
        what = f"stardist:nuclei{options}, {n} samples of {side}x{side} to labels"
        yield what, f"{taken:.2f} s, {np.mean(found):.0f} objects each", "1 s with 16 cores"


def demo(card: Card) -> Iterator[Row]:
    """Yield the time and the scores of the demo, from the start of the process."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["demo", "--out", folder] + (["--train-minutes", "0.05"] if card.small else [])
        taken = _divseg(words, card)
        scores = pd.read_csv(Path(folder) / "run" / "summary.csv").set_index("input")["map"]
    shown = ", ".join(f"{name} {value:.3f}" for name, value in scores.items() if name.startswith(("cons", "mmse")))
    yield "divseg demo", f"{taken:.0f} s; mAP: {shown}", "30 s"


def fields(card: Card) -> Iterator[Row]:
    """Yield the time and the scores of a run of many fields with nothing set, training included."""
    n, side = card.count(96), card.side(512)
    minutes = 0.05 if card.small else min(1.0, card.left / 240)
    with tempfile.TemporaryDirectory() as folder:
        images, masks = make_plate(Path(folder) / "plate", n, side)
        words = ["run", str(images), "--truth", str(masks), "--out", f"{folder}/run", "--quiet"]
        taken = _divseg([*words, "--train-minutes", f"{minutes:g}"], card)
        summary = pd.read_csv(Path(folder) / "run" / "summary.csv").set_index("input")["map"]
    consensus = next(value for name, value in summary.items() if str(name).startswith("consensus"))
    told = f"{taken:.0f} s with {60 * minutes:.0f} s of training; mAP of the consensus {consensus:.3f}"
    yield f"divseg run, {n} fields of {side}x{side}, nothing set", told, "240 s, mAP as on a CPU"


def _divseg(words: list[str], card: Card) -> float:
    """Return the seconds of a command of divseg; the GPU that is measured is the one it sees."""
    environment = dict(os.environ)
    if card.device.type == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    elif card.device.index is not None:
        environment["CUDA_VISIBLE_DEVICES"] = str(card.device.index)
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "divseg", *words], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"divseg {words[0]} ended with {done.returncode}: {done.stderr[-300:]}")
    return time.perf_counter() - began
