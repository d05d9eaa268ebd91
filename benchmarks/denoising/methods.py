"""The methods, each by name: from the images of a set to one denoised image each, and samples if it has them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.denoising.registry import REGISTRY
from benchmarks.images import Images
from benchmarks.record import data_root
from benchmarks.sets import Picture, psnr, read_denoised
from benchmarks.smoothing import SetNoise, denoisers
from benchmarks.trained import CpuBudget
from divseg import DivNoising
from divseg.denoise.noise import NoiseModel, bootstrap, measure, photon_transfer
from divseg.denoise.training.settings import TrainSettings
from divseg.denoise.training.train import train_parts

PUBLISHED = TrainSettings(
    batch=32,
    learning_rate=1e-3,
    kl_warmup=0.0,
    kl_balancing=0.0,
    structure_sampling=0.0,
    ema_decay=0.0,
    precision="fp32",
)
"""The published recipe, as far as the trainer can follow it: see :mod:`benchmarks.speed.reference`."""

NETWORKS = {
    "published flat, depth 2": ("flat", "learned", PUBLISHED),
    "flat, depth 2": ("flat", "learned", TrainSettings()),
    "flat, depth 3": ("flat,depth=3", "learned", TrainSettings()),
    "vanilla": ("hierarchical", "none", TrainSettings()),
    "hierarchical, learned": ("hierarchical", "learned", TrainSettings()),
    "hierarchical, known": ("hierarchical", "known", TrainSettings()),
    "hierarchical, measured": ("hierarchical", "measured", TrainSettings()),
    "hierarchical, bootstrapped": ("hierarchical", "bootstrapped", TrainSettings()),
    "hierarchical, mixture": ("hierarchical", "mixture", TrainSettings()),
}
"""Network, noise model and settings, by method."""

CLASSICAL = ("noisy", "best Gaussian", "non-local means", "BM3D", "stabilised non-local means")
METHODS = (*CLASSICAL, "N2V", *NETWORKS)
WIDTHS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)
"""Gaussians, in pixels, of which the best for each image is chosen with the target."""


class Impossible(Exception):
    """A method that cannot be had on a set, and why."""


@dataclass
class Denoised:
    """What a method made of one image.

    Attributes
    ----------
    image : (Y, X) array
        The denoised image.
    samples : (K, Y, X) array, optional
        Posterior samples.
    seconds : float
        To denoise it.
    """

    image: NDArray[np.float32]
    samples: NDArray[np.float32] | None
    seconds: float


@dataclass
class Method:
    """A method ready to denoise images, with what its training took and gave."""

    denoise: Callable[[Picture], Denoised]
    training_seconds: float = 0.0
    note: str = ""


def prepare(
    name: str, job: str, pictures: list[Picture], *, minutes: float, samples: int, models: Path, n2v: list[Path]
) -> Method:
    """Return a method, trained if need be.

    Raises
    ------
    Impossible
        If the method cannot be had: a package is not installed, or the noise is not known.
    DivsegError
        If training collapsed, or the noise cannot be measured.
    """
    if name in CLASSICAL:
        return Method(_classical(name, job, pictures))
    if name == "N2V":
        return Method(_n2v(job, n2v))
    kind, noise, settings = NETWORKS[name]
    folder = models / f"{job}-{name.replace(', ', '_').replace(' ', '_')}-{minutes:g}min"
    if (folder / "config.json").is_file():
        model = DivNoising.load(folder, device="cpu")
    else:
        images = [p.noisy for p in pictures]
        choice = _noise(noise, job, images, models, minutes)
        settings = _fitting(settings, images)
        parts = train_parts(
            images,
            choice,
            CpuBudget(minutes=minutes),
            seed=0,
            device=torch.device("cpu"),
            network=kind,
            settings=settings,
            progress=None,
            checkpoints=None,
            resume=False,
        )
        model = DivNoising(parts, device="cpu")
        model.save(folder)
    return Method(_network(model, samples), float(model.training["seconds"]), model.noise.describe())


def _fitting(settings: TrainSettings, images: list[NDArray[np.float32]]) -> TrainSettings:
    """Return the published settings with the published patches of 128 pixels, or the largest that the images allow."""
    if settings is not PUBLISHED:
        return settings
    return replace(settings, patch=min(128, min(min(image.shape) for image in images) // 16 * 16))


def _classical(name: str, job: str, pictures: list[Picture]) -> Callable[[Picture], Denoised]:
    known = set_noise(job, pictures)
    if name == "BM3D" and name not in denoisers():
        raise Impossible("the package bm3d is not installed")

    def make(picture: Picture) -> NDArray[np.float32]:
        images = Images(picture, noise=known)
        if name == "noisy":
            return picture.noisy
        if name == "best Gaussian":
            if picture.clean is None:
                raise Impossible("it is chosen with the target, and there is none")
            return max((images.image(("gaussian", w)) for w in WIDTHS), key=lambda im: psnr(im, picture.truth))
        if name == "stabilised non-local means":
            return images.image((name, 1.0))
        return images.image(("advised", name))

    return _timed(make)


def _n2v(job: str, folders: list[Path]) -> Callable[[Picture], Denoised]:
    def make(picture: Picture) -> NDArray[np.float32]:
        for folder in folders:
            if (image := read_denoised(folder, job, picture)) is not None:
                return image
        raise Impossible(f"python -m benchmarks.n2v --set {job} --out FOLDER has not been run")

    return _timed(make)


def _timed(make: Callable[[Picture], NDArray[np.float32]]) -> Callable[[Picture], Denoised]:
    def denoise(picture: Picture) -> Denoised:
        start = time.process_time()
        image = make(picture)
        return Denoised(image, None, time.process_time() - start)

    return denoise


def _network(model: DivNoising, samples: int) -> Callable[[Picture], Denoised]:
    def denoise(picture: Picture) -> Denoised:
        start = time.process_time()
        drawn = model.draw(picture.noisy, range(samples))
        return Denoised(drawn.mean(axis=0), drawn, time.process_time() - start)

    return denoise


def set_noise(job: str, pictures: list[Picture]) -> SetNoise:
    """Return the variance of the noise: the truth if it is known, or the photon-transfer estimate."""
    words = dict(part.split("=") for part in (REGISTRY[job].noise or "").split(",")[1:])
    if "std" in words:
        return SetNoise(0.0, float(words["std"]) ** 2)
    if words:
        return SetNoise(float(words["a"]), float(words["b"]))
    estimate = photon_transfer([p.noisy for p in pictures])
    return SetNoise(estimate.a, estimate.b) if estimate.a > 0 else SetNoise(0.0, estimate.std**2)


def _noise(noise: str, job: str, images: list[NDArray[np.float32]], models: Path, minutes: float) -> str | NoiseModel:
    """Return the noise model, as :meth:`divseg.DivNoising.fit` takes it."""
    entry = REGISTRY[job]
    if noise == "known":
        if entry.noise is None:
            raise Impossible("no noise model is known to be true")
        return entry.noise
    if noise == "measured":
        if not entry.calibration:
            raise Impossible("there is no calibration frame")
        return measure(data_root() / entry.calibration)
    if noise in ("bootstrapped", "mixture"):
        learned = models / f"{job}-hierarchical_learned-{minutes:g}min"
        if not (learned / "config.json").is_file():
            raise Impossible("it starts from the images of the method hierarchical, learned, which is not there")
        model = DivNoising.load(learned, device="cpu")
        few = images[:8]
        kind = "mixture" if noise == "mixture" else "poisson-gaussian"
        return bootstrap(few, [model.mmse(image, n=16) for image in few], kind=kind)
    return noise
