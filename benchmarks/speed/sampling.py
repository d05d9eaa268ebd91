"""How fast are samples drawn, against the reference's loop? Both in one run, turn by turn.

    python -m benchmarks.speed sampling [--samples 64] [--sides 512 1024] [--rounds 3] [--device cuda|cpu]
    python -m benchmarks.speed sampling --against CHECKOUT [--threads 1 2]

Speed does not depend on what the network has learned, so it has random weights. Every round times the reference's loop
(`benchmarks/speed/reference.py`) and ours, one after the other, on the same image; medians over the rounds are shown.
With `--against` it is another checkout of divseg instead, on a CPU, for both networks; each in a process of its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.record import write_result
from benchmarks.speed.checkout import HERE, Checkout
from benchmarks.speed.clock import seconds
from benchmarks.speed.reference import plain_copy, reference_samples
from divseg import DivNoising
from divseg.denoise.model_folder import ModelParts
from divseg.denoise.networks.flat import FlatNet
from divseg.denoise.noise import Gaussian
from divseg.denoise.normalization import Normalization


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--name", default="sampling_speed", help="of the table")
    parser.add_argument("--against", type=Path, help="checkout of divseg to compare this one with, instead")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="with --against")


def run(a: argparse.Namespace) -> None:
    if a.against is not None:
        run_against(a)
        return
    device = torch.device(a.device)
    torch.manual_seed(0)
    network = FlatNet()
    network.initialize()
    parts = ModelParts(network, Gaussian(20.0), Normalization((100.0,), (30.0,)))
    model = DivNoising(parts, device=device)
    reference = plain_copy(network, device)
    rows = [
        "| image | reference loop (s) | divseg exact (s) | faster | divseg bf16 (s) | faster |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for side in a.sides:
        noisy = np.random.default_rng(0).normal(100, 30, (side, side)).astype(np.float32)

        def ours(precision: str, noisy: np.ndarray = noisy) -> None:
            for batch in model.sample(noisy, n=a.samples, seed=0, precision=precision):
                batch.cpu().numpy()

        ways: dict[str, Callable[[], object]] = {
            "reference": lambda noisy=noisy: reference_samples(reference, noisy, a.samples, model.normalization),
            "exact": lambda ours=ours: ours("exact"),
            "bf16": lambda ours=ours: ours("bf16"),
        }
        model.draw(noisy, range(4))  # everything is loaded and warm
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(a.rounds):
            for name, work in ways.items():
                times[name].append(seconds(work))
        t = {name: float(np.median(values)) for name, values in times.items()}
        rows.append(
            f"| {side}x{side} | {t['reference']:.1f} | {t['exact']:.1f} | {t['reference'] / t['exact']:.1f}x | "
            f"{t['bf16']:.1f} | {t['reference'] / t['bf16']:.1f}x |"
        )
        print(rows[-1], flush=True)
    body = (
        f"{a.samples} samples of one image, encoding included; medians of {a.rounds} rounds in turn on {device}.\n\n"
        + "\n".join(rows)
    )
    sides = " ".join(map(str, a.sides))
    command = f"python -m benchmarks.speed sampling --samples {a.samples} --sides {sides} --rounds {a.rounds}"
    write_result(a.name, "Speed of sampling against the reference loop", command, body)


def run_against(a: argparse.Namespace) -> None:
    """Compare the speed of two checkouts, in turn."""
    checkouts = [Checkout(folder, "sampling_worker.py") for folder in (a.against, HERE)]
    rows = [
        "| network | image | threads | former (s) | now (s) | faster | processor time, former (s) | now (s) | less |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for network in ("flat", "hierarchical"):
        for side in a.sides:
            for threads in a.threads:
                job = {"network": network, "side": side, "threads": threads, "samples": a.samples}
                for checkout in checkouts:
                    checkout.ask(**job | {"samples": 1})
                # rounds, checkouts, clock and processor
                times = np.array([[checkout.ask(**job) for checkout in checkouts] for _ in range(a.rounds)])
                (former, former_cpu), (now, now_cpu) = np.median(times, 0)
                faster, less = np.median(times[:, 0] / times[:, 1], 0)
                rows.append(
                    f"| {network} | {side}x{side} | {threads} | {former:.2f} | {now:.2f} | {faster:.2f}x | "
                    f"{former_cpu:.2f} | {now_cpu:.2f} | {less:.2f}x |"
                )
                print(rows[-1], flush=True)
    for checkout in checkouts:
        checkout.end()
    body = (
        f"{a.samples} samples of one image, encoding included; medians of {a.rounds} rounds in turn on the CPU. The "
        "ratios are medians of those of the rounds; processor time counts where other programs share the machine.\n\n"
        + "\n".join(rows)
    )
    sides, threads_text = (" ".join(map(str, values)) for values in (a.sides, a.threads))
    command = (
        f"python -m benchmarks.speed sampling --against FORMER --samples {a.samples} --sides {sides} "
        f"--threads {threads_text} --rounds {a.rounds} --name {a.name}"
    )
    write_result(a.name, "Speed of sampling against a former version", command, body)
