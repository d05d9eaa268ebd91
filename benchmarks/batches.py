"""Do larger batches train as well? PSNR after equally many pixels, with the learning rate that divseg takes for each.

    DIVSEG_DATA=... python -m benchmarks.batches [--batches 4 16 32] [--megapixels 40] [--seeds 1] [--threads 1]
        [--sets dsb2018_fluo-n20 bbbc039-pg_mid] [--record]

A GPU is as fast with many crops in a step as with few, so it takes more of them; this says what that costs. Everything
but the number of crops, and the rates that follow from it (`TrainSettings.step_size`), is the same: images, network,
noise (known), number of pixels.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from benchmarks.ladder import SETS, build, score
from benchmarks.record import write_result
from benchmarks.sets import Picture, evenly, known_noise, load_set, psnr, split_name
from divseg.denoise.noise import photon_transfer
from divseg.denoise.training.data import TrainingData
from divseg.denoise.training.likelihood import choose_likelihood
from divseg.denoise.training.schedule import Budget
from divseg.denoise.training.settings import StepSize, TrainSettings
from divseg.denoise.training.trainer import Trainer


def train(pictures: list[Picture], level: str, batch: int, seed: int, a: argparse.Namespace) -> Trainer:
    """Train the default network on a number of pixels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(a.network)
        network.initialize()
    settings = TrainSettings(batch=batch, patience=10**6)
    data = TrainingData([p.noisy for p in pictures], settings.patch, network.config.stride)
    noise = choose_likelihood(
        known_noise(level) or "estimated", lambda c: photon_transfer(data.planes(c)), data.normalization.std
    )
    steps = round(a.megapixels * 1e6 / (batch * data.crop[0] * data.crop[1]))
    budget, device = Budget(steps=max(1, steps)), torch.device(a.device)
    trainer = Trainer(network, noise, data, budget=budget, settings=settings, seed=seed, device=device)
    trainer.run()
    return trainer


def compare(job: str, a: argparse.Namespace) -> list[str]:
    """Return a row of the table for each batch."""
    name, level = split_name(job)
    pictures = load_set(name, level)
    chosen = evenly(pictures, SETS[job])
    noisy = np.mean([psnr(p.noisy, p.truth) for p in chosen])
    rows = []
    for batch in a.batches:
        trainers = [train(pictures, level, batch, seed, a) for seed in range(a.seeds)]
        scores = [score(trainer, chosen, a.samples, seed) for seed, trainer in enumerate(trainers)]
        mmse, single = (np.mean([s[key] for s in scores]) for key in ("mmse", "single"))
        loss = np.mean([trainer.record.loss for trainer in trainers])
        size: StepSize = trainers[0].size
        rows.append(
            f"| {job} (noisy {noisy:.1f}) | {batch} | {size.learning_rate:.2g} | {size.betas[0]:.2f}, "
            f"{size.betas[1]:.3f} | {trainers[0].record.steps} | {loss:.4f} | {mmse:.2f} | {single:.2f} |"
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=["dsb2018_fluo-n20", "bbbc039-pg_mid"])
    parser.add_argument("--batches", nargs="+", type=int, default=[4, 16, 32], help="crops in a step")
    parser.add_argument("--megapixels", type=float, default=40.0)
    parser.add_argument("--network", default="hierarchical")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--record", action="store_true", help="write the table to results/batches.md")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    lines = [
        f"{a.megapixels:g} megapixels in crops of 64x64, network {a.network}, {a.seeds} seed(s), on {a.device}. Noise "
        f"is known. PSNR in dB of the mean of {a.samples} samples and of one, over "
        f"{', '.join(f'{SETS[job]} images of {job}' for job in a.sets)}; loss on held-out crops in nats per pixel.\n",
        "| set | crops a step | learning rate | Adam's decay rates | steps | loss | PSNR MMSE | PSNR single |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(row for job in a.sets for row in compare(job, a)),
    ]
    if a.record:
        words = f"--sets {' '.join(a.sets)} --batches {' '.join(map(str, a.batches))} --megapixels {a.megapixels:g}"
        words += f" --network {a.network} --samples {a.samples} --seeds {a.seeds} --threads {a.threads}"
        command = f"python -m benchmarks.batches {words} --device {a.device} --record"
        write_result("batches", "Crops in a step at equally many pixels", command, "\n".join(lines))
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
