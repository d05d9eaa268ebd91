"""How much memory do samples of a large image take? Peak resident memory of the process while they are drawn.

    python -m benchmarks.speed sampling-memory [--side 4096] [--samples 64] [--quantiles]

The mean and standard deviation of all samples are computed; the peak is read from the operating system and compared
with that just before (network loaded, image in memory, one small image sampled).
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from benchmarks.record import write_result
from benchmarks.speed.clock import Peak, resident, seconds
from divseg import DivNoising
from divseg.denoise.model_folder import ModelParts
from divseg.denoise.networks.flat import FlatNet
from divseg.denoise.noise import Gaussian
from divseg.denoise.normalization import Normalization


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--quantiles", action="store_true", help="also exact quantiles, tile by tile")


def run(a: argparse.Namespace) -> None:
    torch.manual_seed(0)
    network = FlatNet()
    network.initialize()
    parts = ModelParts(network, Gaussian(20.0), Normalization((100.0,), (30.0,)))
    model = DivNoising(parts, device="cpu")
    noisy = np.random.default_rng(0).normal(100, 30, (a.side, a.side)).astype(np.uint16)
    model.moments(noisy[:256, :256], n=2)
    rows = ["| estimate | memory before (GB) | added at the peak (GB) | seconds |", "| --- | --- | --- | --- |"]
    jobs = {"mean and std": lambda: model.moments(noisy, n=a.samples)}
    if a.quantiles:
        jobs["mean, std and 3 quantiles"] = lambda: model.estimate(noisy, n=a.samples)
    for name, job in jobs.items():
        before = resident()
        with Peak() as peak:
            took = seconds(job)
        rows.append(f"| {name} | {before / 1e9:.2f} | {(peak.highest - before) / 1e9:.2f} | {took:.0f} |")
        print(rows[-1], flush=True)
    body = f"{a.samples} samples of a {a.side}x{a.side} image on the CPU.\n\n" + "\n".join(rows)
    command = f"python -m benchmarks.speed sampling-memory --side {a.side} --samples {a.samples}"
    write_result("sampling_memory", "Memory of sampling", command + " --quantiles" * a.quantiles, body)
