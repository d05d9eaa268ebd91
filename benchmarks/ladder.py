"""Does a ladder of latents denoise better? PSNR against the flat network after equal training time.

    DIVSEG_DATA=... python -m benchmarks.ladder [--minutes 3] [--threads 1] [--record]
        [--sets dsb2018_fluo-n20 ...] [--networks flat 4-8-16 ...]

The flat network is DivNoising's with its defaults, or with settings: ``flat;depth=1;filters=16``. The ladders are named
by the strides of their latent grids. All are trained by the same loop on the same crops with the same settings: the
noise is known where it is simulated, and held at the photon-transfer estimate where it is real, so only the networks
differ. Time is processor time of one thread (``--clock cpu``), which other work on the machine disturbs less, or
``--clock wall``. Gains are against the network that is named first.
"""

from __future__ import annotations

import argparse
import math
import shlex
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.datasets import Picture, known_noise, load_set, psnr
from benchmarks.ladder_network import LadderConfig, LadderNet
from benchmarks.record import write_result
from divseg.denoise.data import TrainingData
from divseg.denoise.device import trunk
from divseg.denoise.elbo import Elbo
from divseg.denoise.likelihood import choose_likelihood
from divseg.denoise.network import LAYOUT, DivNoisingNet, NetworkConfig, kl_to_prior
from divseg.denoise.noise import photon_transfer
from divseg.denoise.record import TrainSettings
from divseg.denoise.schedule import Budget
from divseg.denoise.training import Trainer

SETS = {
    "dsb2018_fluo-n10": 12,
    "dsb2018_fluo-n20": 12,
    "bbbc039-pg_mid": 4,
    "bbbc039-pg_low": 4,
    "fmd_confocal_pairs-real": 3,
    "text_pages-n70": 8,
}
"""Images that are scored, of each set."""

LADDERS = {
    "4-8": LadderConfig(latents=(32, 32)),
    "4-8-16": LadderConfig(latents=(32, 32, 32)),
    "2-4-8": LadderConfig(finest=1, latents=(8, 32, 32), filters=32, width=32),
    "4-8-slim": LadderConfig(latents=(32, 32), filters=16, width=32),
    "2-4-8-slim": LadderConfig(finest=1, latents=(8, 16, 16), filters=16, width=24),
}

TIMED_SIDE, TIMED_BATCH = 256, 4


@dataclass
class CpuBudget(Budget):
    """Minutes of processor time instead of the clock on the wall."""

    def start(self, used: float = 0.0) -> None:
        """Start the clock, with `used` seconds on it already."""
        self._start = time.process_time() - used

    @property
    def seconds(self) -> float:
        """Seconds of processor time since the start."""
        return time.process_time() - self._start


@dataclass(frozen=True)
class LadderElbo(Elbo):
    """Terms of a ladder: latent channels of all levels side by side, each in nats a position of its own grid."""

    pixels: Tensor
    """Pixels that a position covers, for each latent channel."""

    def floored_kl(self, free_bits: float) -> Tensor:
        """KL per pixel with a floor for every latent channel, a scalar."""
        if free_bits <= 0:
            return self.kl.mean()
        return (self.per_latent.mean(0).clamp_min(free_bits) / self.pixels).sum()


class LadderTrainer(Trainer):
    """The training of the flat network, with the latents of a ladder."""

    def _crops(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        count = sum(map(math.prod, self.network.noise_shapes(x.shape[2:])))
        return x.to(self.device), torch.randn((len(x), count), generator=generator, device=self.device)

    def _terms(self, x: Tensor, eps: Tensor) -> Elbo:
        x = x.contiguous(memory_format=LAYOUT[2])
        intensity = self.data.intensity
        with trunk(self.device, self.dtype):
            s, means, logvars = self.network.decode(self.network.encode(x), apart(self.network, eps, x.shape[2:]))
            log_prob = self.noise.log_prob(intensity.restore(x), intensity.restore(s))
            nll = -log_prob.flatten(1).mean(1) - math.log(intensity.sd[0])
            levels = [kl_to_prior(m, v).mean((2, 3)) for m, v in zip(means, logvars, strict=True)]
        strides = self.network.config.strides
        kl = sum(level.sum(1) / stride**2 for level, stride in zip(levels, strides, strict=True))
        areas = [float(stride**2) for stride, level in zip(strides, levels, strict=True) for _ in range(level.shape[1])]
        return LadderElbo(nll, kl, torch.cat(levels, 1), 1.0, torch.tensor(areas, device=x.device))


def apart(network: LadderNet, eps: Tensor, sides: tuple[int, ...]) -> list[Tensor]:
    """Cut noise (B, all latents) into the levels of a ladder."""
    shapes = network.noise_shapes(sides)
    parts = eps.split([math.prod(shape) for shape in shapes], 1)
    return [
        part.reshape(len(eps), *shape).contiguous(memory_format=LAYOUT[2])
        for part, shape in zip(parts, shapes, strict=True)
    ]


def build(kind: str) -> DivNoisingNet | LadderNet:
    """Return a ladder by its name, or a flat network by its settings, ``flat;depth=1;filters=16``."""
    if kind in LADDERS:
        return LadderNet(LADDERS[kind])
    name, *words = kind.split(";")
    pairs = [word.partition("=") for word in words]
    if name != "flat" or not all(k in NetworkConfig.__dataclass_fields__ and v.isdigit() for k, _, v in pairs):
        raise SystemExit(f"unknown network {kind!r} (networks: flat, flat;depth=1 and so on, {', '.join(LADDERS)})")
    return DivNoisingNet(NetworkConfig(**{key: int(value) for key, _, value in pairs}))


def train(kind: str, pictures: list[Picture], noise: str, seed: int, a: argparse.Namespace) -> Trainer:
    """Train a flat network or a ladder, and return the trainer with what it made."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(kind)
        network.initialise()
    settings = TrainSettings(precision="fp32", patch=a.patch, batch=a.batch)
    data = TrainingData([p.noisy for p in pictures], settings.patch, network.config.stride)
    model = choose_likelihood(noise, lambda c: photon_transfer([im[c] for im in data.images]), data.intensity.sd)
    trainer = (LadderTrainer if isinstance(network, LadderNet) else Trainer)(
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


def encode(network: nn.Module, x: Tensor) -> list[Tensor]:
    """Return what all samples of an image share."""
    if isinstance(network, LadderNet):
        return network.encode(x)
    mean, logvar = network.encoder(x)
    return [mean, torch.exp(0.5 * logvar)]


def decode(network: nn.Module, encoded: list[Tensor], size: int, generator: torch.Generator) -> Tensor:
    """Draw `size` samples of one image: (size, C, *sides), normalised."""
    if isinstance(network, LadderNet):
        shapes = [(latents, *e.shape[2:]) for e, latents in zip(encoded, network.config.latents, strict=True)]
        eps = [torch.randn((size, *shape), generator=generator) for shape in shapes]
        wide = [e.expand(size, -1, -1, -1).contiguous(memory_format=LAYOUT[2]) for e in encoded]
        return network.decode(wide, [e.contiguous(memory_format=LAYOUT[2]) for e in eps])[0]
    mean, sd = encoded
    z = torch.randn((size, *mean.shape[1:]), generator=generator).mul_(sd).add_(mean)
    return network.decoder(z.contiguous(memory_format=LAYOUT[2]))


def normalised(data: TrainingData, image: NDArray[np.float32], stride: int) -> Tensor:
    """Return an image as the network wants it: normalised, padded by reflection to whole positions."""
    padded = np.pad(image, [(0, -side % stride) for side in image.shape], mode="reflect")
    x = torch.from_numpy(data.intensity.normalise(padded[None]))[None].float()
    return x.contiguous(memory_format=LAYOUT[2])


@torch.inference_mode()
def score(trainer: Trainer, pictures: list[Picture], samples: int, seed: int) -> dict[str, float]:
    """Mean PSNR of the mean of the samples and of single samples, and the samples' spread."""
    network, data = trainer.network, trainer.data
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for picture in pictures:
        encoded = encode(network, normalised(data, picture.noisy, network.config.stride))
        y, x = picture.noisy.shape
        total, singles = np.zeros((y, x)), []
        square = np.zeros((y, x))
        for _ in range(samples):
            s = data.intensity.restore(decode(network, encoded, 1, generator))[0, 0, :y, :x].numpy().astype(np.float64)
            total += s
            square += s**2
            singles.append(psnr(s, picture.clean))
        mean = total / samples
        variance = np.maximum(square / samples - mean**2, 0) * samples / (samples - 1)
        rows.append((psnr(mean, picture.clean), np.mean(singles), np.sqrt(variance.mean())))
    mmse, single, spread = np.mean(rows, axis=0)
    return {"mmse": float(mmse), "single": float(single), "spread": float(spread)}


def level_kl(trainer: Trainer) -> list[float]:
    """KL of each level in nats per pixel on the validation crops, finest first."""
    x, eps = trainer._check
    with torch.no_grad():
        per_latent = trainer._terms(x, eps).per_latent.mean(0)
    if not isinstance(trainer.network, LadderNet):
        return [float(per_latent.sum()) / trainer.network.config.stride**2]
    config = trainer.network.config
    parts = per_latent.split(list(config.latents))
    return [float(part.sum()) / stride**2 for part, stride in zip(parts, config.strides, strict=True)]


@torch.inference_mode()
def cost(network: nn.Module) -> dict[str, float]:
    """Thousands of multiplications per pixel (once an image, and each sample) and time per sample and megapixel."""
    counted = [0.0]

    def count(module: nn.Module, _: Any, out: Tensor) -> None:
        weight, size = module.weight, out.shape[-2] * out.shape[-1]
        if isinstance(module, nn.ConvTranspose2d):
            size //= module.stride[0] * module.stride[1]
        counted[0] += weight.numel() * size / TIMED_SIDE**2 / 1e3

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1, TIMED_SIDE, TIMED_SIDE, generator=generator).contiguous(memory_format=LAYOUT[2])
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [m.register_forward_hook(count) for m in convolutions]
    encoded = encode(network, x)
    once, counted[0] = counted[0], 0.0
    decode(network, encoded, 1, generator)
    for hook in hooks:
        hook.remove()
    seconds = []
    for _ in range(6):
        began = time.perf_counter()
        decode(network, encoded, TIMED_BATCH, generator)
        seconds.append(time.perf_counter() - began)
    each = min(seconds[1:]) / TIMED_BATCH / (TIMED_SIDE**2 / 1e6)
    parameters = sum(p.numel() for p in network.parameters())
    return {"once": once, "sample": counted[0], "seconds": each, "parameters": parameters / 1e3}


def evenly(pictures: list[Picture], count: int) -> list[Picture]:
    """Return `count` of the pictures, evenly chosen."""
    return [pictures[int((k + 0.5) * len(pictures) / count)] for k in range(min(count, len(pictures)))]


def compare(job: str, kinds: list[str], a: argparse.Namespace) -> list[dict[str, Any]]:
    """Train all networks on a set with all seeds, one after another, and score them."""
    name, _, level = job.rpartition("-")
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
            row["noisy"] = float(np.mean([psnr(p.noisy, p.clean) for p in chosen]))
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
    scored = ", ".join(f"{SETS[job]} images of {job}" for job in a.sets)
    return (
        f"{a.minutes:g} minutes {clock} with {a.threads} thread(s) for each network, {a.seeds} seed(s), float32, "
        f"{a.batch} crops of {a.patch}x{a.patch} a step, rate {TrainSettings.learning_rate:g}. Noise is known where "
        f"it is simulated, estimated where it is real. PSNR in dB of the mean of {a.samples} samples and of one, "
        f"mean over {scored}. Gain: MMSE against the first network of the same seed, mean (and range over the seeds). "
        f"Seconds are by the clock, for {TIMED_BATCH} samples of {TIMED_SIDE}x{TIMED_SIDE} pixels at once, the fastest "
        "of five."
    )


def command(a: argparse.Namespace) -> str:
    """Return the command line that was given."""
    words = [f"--sets {' '.join(a.sets)}", f"--networks {' '.join(map(shlex.quote, a.networks))}"]
    names = ("patch", "batch", "minutes", "samples", "seeds", "threads", "clock")
    words += [f"--{name} {getattr(a, name)}" for name in names]
    return " ".join(["python -m benchmarks.ladder", *words, "--record"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--networks", nargs="+", default=["flat", "flat;filters=16", "2-4-8", "2-4-8-slim"])
    parser.add_argument("--patch", type=int, default=TrainSettings.patch, help="side of the crops in pixels")
    parser.add_argument("--batch", type=int, default=TrainSettings.batch, help="crops a step")
    parser.add_argument("--minutes", type=float, default=3.0)
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
        write_result("ladder", "A ladder of latents against the flat network", command(a), body)
    else:
        print(body)


if __name__ == "__main__":
    main()
