"""Models trained for the benchmarks, each once: a folder of models is a cache that any benchmark may read.

    python -m benchmarks.trained --out MODELS --minutes 10 dsb2018_fluo-n20 bbbc039-pg_mid:estimated

trains what is named and not there yet, one after another: ``SET-LEVEL[:VARIANT]``. Variants are ``learned`` (the
default: nothing but the noisy images is known), ``estimated`` (the photon-transfer estimate held), ``known`` (the true
noise), ``vanilla`` (a plain variational autoencoder without a noise model), or a network with settings such as
``flat;filters=16``, after the noise if need be: ``estimated;flat;depth=3``.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.sets import Picture, known_noise, load_set
from divseg import DivNoising, DivsegError
from divseg.denoise.networks.base import VAEConfig
from divseg.denoise.networks.registry import CONFIGS, default_network, parse_network
from divseg.denoise.training.schedule import Budget


@dataclass
class CpuBudget(Budget):
    """Minutes of processor time instead of the clock on the wall: other work on the machine disturbs it less."""

    def start(self, used: float = 0.0) -> None:
        """Start the clock, with `used` seconds on it already."""
        self._start = time.process_time() - used

    @property
    def seconds(self) -> float:
        """Seconds of processor time since the start."""
        return time.process_time() - self._start


NOISES = ("learned", "estimated", "known", "vanilla")


def model_folder(
    models: Path, name: str, level: str, variant: str, minutes: float, seed: int, steps: int | None = None
) -> Path:
    """Return where the model of these settings lies; every setting is part of its name."""
    safe = variant.replace(";", "_").replace("=", "")
    budget = f"{minutes:g}min" if steps is None else f"{steps}steps"
    return models / f"{name}-{level}-{safe}-{budget}-seed{seed}"


def trained(
    models: Path,
    name: str,
    level: str,
    variant: str = "learned",
    *,
    minutes: float = 10.0,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    pictures: list[Picture] | None = None,
) -> DivNoising:
    """Load the model of a set, level and variant from the cache, or train it on all noisy images and keep it.

    A budget in `steps` takes the place of that in `minutes`, which other work on the machine would change.

    Raises
    ------
    SystemExit
        If the variant is unknown, or needs a noise that is not known.
    """
    folder = model_folder(models, name, level, variant, minutes, seed, steps)
    if (folder / "config.json").is_file():
        return DivNoising.load(folder, device=device)
    noise, network = _settings(variant, level)
    images = [p.noisy for p in pictures or load_set(name, level)]
    budget = {"train_minutes": minutes} if steps is None else {"train_steps": steps}
    model = DivNoising.fit(images, noise=noise, network=network, seed=seed, device=device, **budget)
    model.save(folder)
    return model


def _settings(variant: str, level: str) -> tuple[str, VAEConfig]:
    words = variant.split(";")
    noise = words.pop(0) if words[0] in NOISES else "learned"
    if words and words[0] not in CONFIGS:
        raise SystemExit(f"unknown variant {words[0]!r} (variants: {', '.join(NOISES)}, {', '.join(CONFIGS)})")
    try:
        network = parse_network(",".join(words)) if words else default_network()
    except DivsegError as error:
        raise SystemExit(str(error)) from error
    if noise == "known":
        level_noise = known_noise(level)
        if level_noise is None:
            raise SystemExit(f"the noise of level {level!r} is not known: use the variant estimated")
        noise = level_noise
    return {"vanilla": "none"}.get(noise, noise), network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="+", metavar="SET-LEVEL[:VARIANT]")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    a = parser.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    for job in a.jobs:
        where, _, variant = job.partition(":")
        name, _, level = where.rpartition("-")
        options = {"minutes": a.minutes, "seed": a.seed, "device": a.device}
        model = trained(a.out, name, level, variant or "learned", **options)
        t = model.training
        print(f"{job}: {t['megapixels']:.1f} Mpx, loss {t['loss']}, KL {t['kl_per_pixel']}", flush=True)


if __name__ == "__main__":
    main()
