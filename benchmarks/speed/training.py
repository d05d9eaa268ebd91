"""How fast does training go against the reference recipe, in pixels a second and in pixels for the same loss.

    DIVSEG_DATA=... python -m benchmarks.speed training [--rounds 3] [--seconds 20]
    DIVSEG_DATA=... python -m benchmarks.speed training --loss [--megapixels 60] [--budgets 10 20 30] [--seed 0]
    python -m benchmarks.speed training --against CHECKOUT [--rounds 9] [--seconds 4] [--threads 1] [--batch 4]

Images: the DSB 2018 fluorescence set with Gaussian noise, a twentieth of the images held out. The first form times the
reference recipe (`benchmarks/speed/reference.py`) and ours turn by turn in one run. The second trains the reference
recipe for some megapixels, takes its best validation loss (measured every 2 megapixels), and trains ours from the start
for each of the budgets, to see which reaches it. The loss is the negative evidence lower bound on the same crops of
held-out images, in nats per pixel; both see the same noise model. It takes an hour or more on two CPU cores. The third
compares with another checkout of divseg, on images of noise, each in a process of its own, turn by turn.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from pathlib import Path

import numpy as np
import tifffile
import torch

from benchmarks.record import data_root, write_result
from benchmarks.sets import evenly
from benchmarks.speed.checkout import HERE, Checkout
from benchmarks.speed.reference import ReferenceTraining
from divseg.denoise.networks.flat import FlatNet
from divseg.denoise.noise import Gaussian
from divseg.denoise.training.data import TrainingData
from divseg.denoise.training.elbo import elbo_terms
from divseg.denoise.training.schedule import Budget
from divseg.denoise.training.settings import TrainSettings
from divseg.denoise.training.trainer import Trainer

SIDE = 128
"""Smallest image that the reference's patches fit into."""


def noisy_images(std: float, count: int) -> list[np.ndarray]:
    """Return images of the set, evenly chosen, with seeded Gaussian noise, float32."""
    files = sorted((data_root() / "dsb2018_fluo" / "images").glob("*.tif"))
    every = [im for im in map(tifffile.imread, files) if im.ndim == 2 and min(im.shape) >= SIDE]
    rng = np.random.default_rng(2026)
    return [(im + rng.normal(0.0, std, im.shape)).astype(np.float32) for im in evenly(every, count)]


def our_trainer(
    data: TrainingData, std: float, budget: Budget, seed: int, device: torch.device, precision: str = "auto"
) -> Trainer:
    torch.manual_seed(seed)
    network = FlatNet()
    network.initialize()
    settings = TrainSettings(precision=precision, patience=10**6)
    return Trainer(network, Gaussian(std), data, budget=budget, settings=settings, seed=seed, device=device)


def training_images(data: TrainingData) -> list[np.ndarray]:
    """Return the images that are not held out."""
    return [data.images[i][0] for i in data._train]


def check(network: FlatNet, data: TrainingData, std: float, device: torch.device) -> float:
    """Loss on fixed crops of the held-out images, in float32."""
    crops = data.validation_batch(128, np.random.default_rng(7)).to(device)
    generator = torch.Generator(device).manual_seed(7)
    noise = Gaussian(std).to(device)
    losses = []
    with torch.no_grad():
        for x in crops.split(16):
            losses.append(elbo_terms(network, noise, x, data.normalization, network.noise_for(x, generator)).loss)
    return float(torch.cat(losses).mean())


def throughput(a: argparse.Namespace, data: TrainingData, device: torch.device) -> str:
    """Megapixels a second of both, turn by turn."""
    reference = ReferenceTraining(
        training_images(data), data.normalization, Gaussian(a.std).to(device), seed=a.seed, device=device, patches=256
    )
    ours = {
        "divseg, float32": our_trainer(data, a.std, Budget(10**9), a.seed, device, "fp32"),
        "divseg, automatic precision": our_trainer(data, a.std, Budget(10**9), a.seed, device),
    }
    ways = {"reference recipe": reference.step, **{name: (lambda t=t: t.step(0.5)) for name, t in ours.items()}}
    sizes = {
        "reference recipe": 32 * 128**2,
        **{name: t.size.batch * t.data.crop[0] ** 2 for name, t in ours.items()},
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for name in ways:
        ways[name]()
    for _ in range(a.rounds):
        for name, step in ways.items():
            began, steps = time.perf_counter(), 0
            while time.perf_counter() - began < a.seconds:
                step()
                steps += 1
            rates[name].append(steps * sizes[name] / 1e6 / (time.perf_counter() - began))
    base = float(np.median(rates["reference recipe"]))
    rows = ["| recipe | Mpx/s | against the reference |", "| --- | --- | --- |"]
    for name, values in rates.items():
        rate = float(np.median(values))
        label = f"{name} ({ours[name].record.precision})" if name in ours else name
        rows.append(f"| {label} | {rate:.3f} | {rate / base:.2f}x |")
    return f"Medians of {a.rounds} rounds of {a.seconds:g} s each, in turn, on {device}.\n\n" + "\n".join(rows)


def efficiency(a: argparse.Namespace, data: TrainingData, device: torch.device) -> str:
    """Megapixels that ours needs for the reference's loss."""
    reference = ReferenceTraining(
        training_images(data), data.normalization, Gaussian(a.std).to(device), seed=a.seed, device=device
    )
    best, kl, following = float("inf"), 0.0, 0.0
    while reference.pixels < a.megapixels * 1e6:
        _, kl = reference.step()
        if reference.pixels >= following * 1e6:
            best = min(best, check(reference.network, data, a.std, device))
            following += 2.0
            print(f"reference {reference.pixels / 1e6:.1f} Mpx, best loss {best:.4f}, KL {kl:.5f}", flush=True)
    best = min(best, check(reference.network, data, a.std, device))
    rows = [
        "| recipe | Mpx | validation loss | KL (nats/px) | reaches the reference's loss |",
        "| --- | --- | --- | --- | --- |",
        f"| reference | {a.megapixels:g} | {best:.4f} | {kl:.5f} | |",
    ]
    for budget in a.budgets:
        pixels_a_step = TrainSettings().step_size(device.type).batch * data.crop[0] ** 2
        trainer = our_trainer(data, a.std, Budget(max(1, round(budget * 1e6 / pixels_a_step))), a.seed, device)
        record = trainer.run()
        loss = check(trainer.network, data, a.std, device)
        verdict = "yes" if loss <= best else "no"
        rows.append(f"| divseg | {record.megapixels:.1f} | {loss:.4f} | {record.kl_per_pixel:.5f} | {verdict} |")
        print(rows[-1], flush=True)
    return f"Seed {a.seed}; best loss of the reference over its validations.\n\n" + "\n".join(rows)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--loss", action="store_true", help="pixels needed instead of pixels a second")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--megapixels", type=float, default=60.0)
    parser.add_argument("--budgets", type=float, nargs="+", default=[10.0, 20.0, 30.0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--std", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--against", type=Path, help="checkout of divseg to compare this one with, instead")
    parser.add_argument("--threads", type=int, default=1, help="with --against")
    parser.add_argument("--batch", type=int, default=4, help="crops in a step, with --against")


def against(a: argparse.Namespace) -> str:
    """Return the steps a second of two checkouts, turn by turn."""
    checkouts = [Checkout(folder, "training_worker.py") for folder in (a.against, HERE)]
    job = {"threads": a.threads, "batch": a.batch, "seconds": a.seconds}
    for checkout in checkouts:
        checkout.ask(**job | {"seconds": 0.1})
    # rounds, checkouts, clock and processor
    rates = np.array([[checkout.ask(**job) for checkout in checkouts] for _ in range(a.rounds)])
    for checkout in checkouts:
        checkout.end()
    ratios = rates[:, 1] / rates[:, 0]
    rows = ["| steps a second | former | now | ratio: median (lowest to highest) |", "| --- | --- | --- | --- |"]
    for k, name in ((1, "of processor time"), (0, "by the clock")):
        (former, now), of = np.median(rates[:, :, k], axis=0), ratios[:, k]
        rows.append(f"| {name} | {former:.1f} | {now:.1f} | {np.median(of):.3f} ({of.min():.3f} to {of.max():.3f}) |")
    named = subprocess.run(["git", "describe", "--always"], cwd=a.against, capture_output=True, text=True, check=False)
    return (
        f"Former commit: {named.stdout.strip() or a.against}. {a.rounds} rounds of {a.seconds:g} s of processor time "
        f"each in turn, {a.threads} thread(s), {a.batch} crops a step.\n\n" + "\n".join(rows)
    )


def run(a: argparse.Namespace) -> None:
    if a.against is not None:
        command = f"python -m benchmarks.speed training --against FORMER --rounds {a.rounds} --seconds {a.seconds:g}"
        command += f" --threads {a.threads} --batch {a.batch}"
        write_result("training_former", "Training against a former commit", command, against(a))
        return
    device = torch.device(a.device)
    data = TrainingData(noisy_images(a.std, a.images), 64, 4)
    command = "python -m benchmarks.speed training"
    if a.loss:
        budgets = " ".join(f"{b:g}" for b in a.budgets)
        command += f" --loss --megapixels {a.megapixels:g} --budgets {budgets} --seed {a.seed}"
        write_result(
            "training_efficiency", "Pixels needed for the reference's loss", command, efficiency(a, data, device)
        )
    else:
        command += f" --rounds {a.rounds} --seconds {a.seconds:g}"
        write_result(
            "training_speed", "Speed of training against the reference recipe", command, throughput(a, data, device)
        )
