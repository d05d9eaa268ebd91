"""Does a hierarchical network denoise better? PSNR against the flat network after equal training time.

    DIVSEG_DATA=... python -m benchmarks.ladder [--minutes 3] [--threads 1] [--record]
        [--sets dsb2018_fluo-n20 ...] [--networks "flat,filters=16" hierarchical ...]

Networks are named as for ``divseg run --network``. All are trained by the same loop on the same crops with the same
settings: the noise is known if it is simulated, and held at the photon-transfer estimate if it is real, so only
the networks differ. Time is processor time of one thread (``--clock cpu``), which other work on the machine disturbs
less, or ``--clock wall``. Gains are against the network that is named first.
"""

from __future__ import annotations

import argparse
import shlex
import time
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.images import Images
from benchmarks.record import write_result
from benchmarks.sets import Picture, evenly, known_noise, load_set, psnr, split_name
from benchmarks.trained import CpuBudget
from divseg import DivNoising, DivsegError
from divseg.denoise.model_folder import ModelParts
from divseg.denoise.networks.base import LAYOUT, LatentNet
from divseg.denoise.networks.registry import build_network, parse_network
from divseg.denoise.noise import photon_transfer
from divseg.denoise.precision import training_dtype
from divseg.denoise.training.data import TrainingData
from divseg.denoise.training.likelihood import choose_likelihood
from divseg.denoise.training.schedule import Budget
from divseg.denoise.training.settings import TUNED_BATCH, TUNED_RATE, TrainSettings
from divseg.denoise.training.trainer import Trainer

SETS = {
    "dsb2018_fluo-n10": 12,
    "dsb2018_fluo-n20": 12,
    "bbbc039-pg_mid": 4,
    "bbbc039-pg_low": 4,
    "fmd_confocal_pairs-real": 3,
    "text_pages-n70": 8,
}
"""Images that are scored, of each set."""

TIMED_SIDE, TIMED_BATCH = 256, 4


def build(kind: str) -> LatentNet:
    """Return a network by its name and settings."""
    try:
        return build_network(parse_network(kind))
    except DivsegError as error:
        raise SystemExit(str(error)) from error


def train(kind: str, pictures: list[Picture], noise: str, seed: int, a: argparse.Namespace) -> Trainer:
    """Train a network, and return the trainer with what it made."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(kind)
        network.initialize()
    settings = TrainSettings(precision=a.precision, patch=a.patch, batch=a.batch)
    data = TrainingData([p.noisy for p in pictures], settings.patch, network.config.stride)
    model = choose_likelihood(noise, lambda c: photon_transfer([im[c] for im in data.images]), data.normalization.std)
    trainer = Trainer(
        network,
        model,
        data,
        budget=(CpuBudget if a.clock == "cpu" else Budget)(minutes=a.minutes),
        settings=settings,
        seed=seed,
        device=torch.device("cpu"),
    )
    trainer.run()
    return trainer


def score(trainer: Trainer, pictures: list[Picture], samples: int, seed: int) -> dict[str, float]:
    """Mean PSNR of the mean of the samples and of single samples."""
    model = DivNoising(ModelParts(trainer.network, trainer.noise, trainer.data.normalization), device="cpu")
    rows = []
    for picture in pictures:
        images = Images(picture, lambda p=picture: model.draw(p.noisy, range(samples), seed=seed))
        single = np.mean([psnr(sample, picture.truth) for sample in images.samples])
        rows.append((psnr(images.image(("mmse",)), picture.truth), single))
    mmse, single = np.mean(rows, axis=0)
    return {"mmse": float(mmse), "single": float(single)}


def level_kl(trainer: Trainer) -> list[float]:
    """KL of each latent grid in nats per pixel on the validation crops, finest first."""
    return [float(v) for v in trainer._losses(trainer._validation_crops).grid_kl.mean(0)]


@torch.inference_mode()
def cost(network: LatentNet) -> dict[str, float]:
    """Thousands of multiplications per pixel (once an image, and each sample) and time per sample and megapixel."""
    counted = [0.0]

    def count(module: nn.Module, _: Any, out: torch.Tensor) -> None:
        weight, size = module.weight, out.shape[-2] * out.shape[-1]
        if isinstance(module, nn.ConvTranspose2d):
            size //= module.stride[0] * module.stride[1]
        counted[0] += weight.numel() * size / TIMED_SIDE**2 / 1e3

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1, TIMED_SIDE, TIMED_SIDE, generator=generator).contiguous(memory_format=LAYOUT[2])
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [m.register_forward_hook(count) for m in convolutions]
    shared = network.encode(x)
    once, counted[0] = counted[0], 0.0
    network.decode(network.latents(shared, network.noise_for(x, generator))[0])
    for hook in hooks:
        hook.remove()
    seconds = []
    for _ in range(6):
        began = time.perf_counter()
        eps = network.noise_for(x.expand(TIMED_BATCH, -1, -1, -1), generator)
        network.decode(network.latents(shared, [e.contiguous(memory_format=LAYOUT[2]) for e in eps])[0])
        seconds.append(time.perf_counter() - began)
    each = min(seconds[1:]) / TIMED_BATCH / (TIMED_SIDE**2 / 1e6)
    parameters = sum(p.numel() for p in network.parameters())
    return {"once": once, "sample": counted[0], "seconds": each, "parameters": parameters / 1e3}


def compare(job: str, kinds: list[str], a: argparse.Namespace) -> list[dict[str, Any]]:
    """Train all networks on a set with all seeds, one after another, and score them."""
    name, level = split_name(job)
    pictures = load_set(name, level)
    chosen = evenly(pictures, SETS[job])
    noise = known_noise(level) or "estimated"
    out = []
    for seed in range(a.seeds):
        for kind in kinds:
            trainer = train(kind, pictures, noise, seed, a)
            record = trainer.record
            row = {"set": job, "network": kind, "seed": seed, "steps": record.steps, "megapixels": record.megapixels}
            row |= {"loss": record.loss, "kl": level_kl(trainer)} | score(trainer, chosen, a.samples, seed)
            row["noisy"] = float(np.mean([psnr(p.noisy, p.truth) for p in chosen]))
            print(row, flush=True)
            out.append(row)
    return out


def table(rows: list[dict[str, Any]], kinds: list[str], jobs: list[str]) -> str:
    """Return the table of all sets and networks; figures are means over the seeds."""
    lines = [
        "| set | network | Mpx trained | loss (nats/px) | KL by level, finest first | PSNR MMSE | PSNR single | gain |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for job in jobs:
        first = [r["mmse"] for r in rows if r["set"] == job and r["network"] == kinds[0]]
        for kind in kinds:
            mine = [r for r in rows if r["set"] == job and r["network"] == kind]
            mean = {key: float(np.mean([r[key] for r in mine])) for key in ("megapixels", "loss", "mmse", "single")}
            kl = ", ".join(f"{v:.3f}" for v in np.mean([r["kl"] for r in mine], axis=0))
            each = [a - b for a, b in zip((r["mmse"] for r in mine), first, strict=False)]
            gain = "" if kind == kinds[0] else f"{np.mean(each):+.2f}"
            if gain and len(each) > 1:
                gain += f" ({min(each):+.2f} to {max(each):+.2f})"
            lines.append(
                f"| {job} (noisy {mine[0]['noisy']:.1f}) | {kind} | {mean['megapixels']:.1f} | {mean['loss']:.4f} | "
                f"{kl} | {mean['mmse']:.2f} | {mean['single']:.2f} | {gain} |"
            )
    return "\n".join(lines)


def costs(kinds: list[str]) -> str:
    """Return the table of what the networks cost."""
    lines = [
        "| network | parameters | kMAC/px once an image | kMAC/px each sample | s per sample and Mpx |",
        "| --- | --- | --- | --- | --- |",
    ]
    for kind in kinds:
        c = cost(build(kind).to(memory_format=LAYOUT[2]).eval())
        lines.append(f"| {kind} | {c['parameters']:.0f}k | {c['once']:.1f} | {c['sample']:.1f} | {c['seconds']:.2f} |")
    return "\n".join(lines)


def explained(a: argparse.Namespace) -> str:
    """Return the paragraph above the tables."""
    clock = "of processor time" if a.clock == "cpu" else "by the clock"
    trunk = str(training_dtype(torch.device("cpu"), a.precision)).removeprefix("torch.")
    scored = ", ".join(f"{SETS[job]} images of {job}" for job in a.sets)
    return (
        f"{a.minutes:g} minutes {clock} with {a.threads} thread(s) for each network, {a.seeds} seed(s), {trunk} trunk, "
        f"{a.batch} crops of {a.patch}x{a.patch} a step, rate {TUNED_RATE:g} for {TUNED_BATCH}. Noise is known if it "
        f"is simulated, estimated if it is real. PSNR in dB of the mean of {a.samples} samples and of one, over "
        f"{scored}. Gain: MMSE against the first network of the same seed, mean (and range over the seeds). "
        f"Seconds are by the clock, for {TIMED_BATCH} samples of {TIMED_SIDE}x{TIMED_SIDE} pixels at once, the fastest "
        "of five."
    )


def command(a: argparse.Namespace) -> str:
    """Return the command line that was given."""
    words = [f"--sets {' '.join(a.sets)}", f"--networks {' '.join(map(shlex.quote, a.networks))}"]
    names = ("patch", "batch", "minutes", "precision", "samples", "seeds", "threads", "clock")
    words += [f"--{name} {getattr(a, name)}" for name in names]
    return " ".join(["python -m benchmarks.ladder", *words, "--record"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--networks", nargs="+", default=["flat,filters=16", "hierarchical"])
    parser.add_argument("--patch", type=int, default=TrainSettings.patch, help="side of the crops in pixels")
    parser.add_argument("--batch", type=int, default=TUNED_BATCH, help="crops a step")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument(
        "--precision", choices=["auto", "fp32", "bf16"], default="auto", help="of the trunk in training"
    )
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=["cpu", "wall"], default="cpu", help="cpu needs --threads 1")
    parser.add_argument("--record", action="store_true", help="write the table to results/ladder.md")
    a = parser.parse_args()
    if a.clock == "cpu" and a.threads != 1:
        parser.error("processor time is equal training time for one thread only: give --threads 1 or --clock wall")
    torch.set_num_threads(a.threads)
    for kind in a.networks:
        build(kind)
    rows = [row for job in a.sets for row in compare(job, a.networks, a)]
    body = "\n\n".join([explained(a), table(rows, a.networks, a.sets), costs(a.networks)])
    if a.record:
        write_result("ladder", "Hierarchical against flat network", command(a), body)
    else:
        print(body)


if __name__ == "__main__":
    main()
