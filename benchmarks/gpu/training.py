"""How fast training goes, and what a minute of it gives."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import numpy as np
from scipy import ndimage as ndi

from benchmarks.gpu.card import Card, Row
from benchmarks.sets import Picture, load_set, psnr
from benchmarks.speed.reference import ReferenceTraining
from divseg import DivNoising, evaluate, fuse, segmenter
from divseg.denoise.networks.registry import build_network, parse_network
from divseg.denoise.noise import PoissonGaussian
from divseg.denoise.normalization import Normalization
from divseg.denoise.training.data import TrainingData
from divseg.denoise.training.schedule import Budget
from divseg.denoise.training.settings import TrainSettings
from divseg.denoise.training.trainer import Trainer

SEGMENTER = "otsu,split=distance,min_size=20"
"""Segmenter of the part quality, the same for every input."""
SAMPLES, COUNT = 16, 24


def speed(card: Card) -> Iterator[Row]:
    """Yield megapixels a second, the first steps not counted: the reference's recipe, and ours by crops in a step."""
    seconds = 0.5 if card.small else 3.0
    rng = np.random.default_rng(0)
    images = [rng.normal(100.0, 20.0, (256, 256)).astype(np.float32) for _ in range(16)]
    noise = PoissonGaussian(1.0, 300.0, low=50.0, high=200.0).to(card.device)
    patches = 8 if card.small else 256
    reference = ReferenceTraining(
        images, Normalization((100.0,), (20.0,)), noise, seed=0, device=card.device, patches=patches
    )
    rate = _steps_a_second(card, reference.step, seconds) * 32 * 128**2 / 1e6
    yield "training, the reference's recipe (32 crops of 128)", f"{rate:.2f} Mpx/s", ""
    for network in ("flat", "hierarchical"):
        for batch in (None,) if card.small else (None, 4, 16, 32, 64):
            trainer = _trainer(network, images, batch, card)
            steps = _steps_a_second(card, lambda t=trainer: t.step(0.6), seconds)
            crops = trainer.size.batch
            rate = steps * crops * trainer.data.crop[0] * trainer.data.crop[1] / 1e6
            name = f"{crops} crops of {trainer.data.crop[0]}" + ("" if batch else ", the default")
            yield f"training, {network}, {name}", f"{rate:.2f} Mpx/s, {steps:.0f} steps/s", "" if batch else "60 Mpx/s"


def _trainer(network: str, images: list[np.ndarray], batch: int | None, card: Card) -> Trainer:
    net = build_network(parse_network(network))
    net.initialize()
    data = TrainingData(images, 64, net.config.stride)
    noise = PoissonGaussian(1.0, 300.0, low=50.0, high=200.0, trainable=True)
    settings = TrainSettings(batch=batch)
    return Trainer(net, noise, data, budget=Budget(10**6), settings=settings, seed=0, device=card.device)


def _steps_a_second(card: Card, step, seconds: float) -> float:
    for _ in range(2 if card.small else 30):  # loads kernels, and records the CUDA graph
        step()
    card.wait()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step()
        steps += 1
    card.wait()
    return steps / (time.perf_counter() - began)


def quality(card: Card) -> Iterator[Row]:
    """Yield what training of one minute by the clock gives, from nothing to the end, noise learned."""
    name, level = ("dsb2018_fluo", "n20") if os.environ.get("DIVSEG_DATA") and not card.small else ("demo", "demo")
    pictures = load_set(name, level)
    budget = 3.0 if card.small else min(60.0, max(card.left, 10.0))
    began = time.perf_counter()
    model = DivNoising.fit([p.noisy for p in pictures], train_minutes=budget / 60, device=str(card.device))
    spent, facts = time.perf_counter() - began, model.training
    what = f"{name}-{level} after {spent:.0f} s"
    told = f"{facts['megapixels']:.0f} Mpx, {facts['steps']} steps of {facts['batch']} crops, {facts['precision']}"
    yield f"{what}: training", told, ""
    judged = [p for p in pictures if p.masks is not None and p.noisy.shape == (256, 256)][:COUNT]
    table = np.array([_scores(model, p) for p in judged]).mean(axis=0)
    mmse, noisy, _, _, consensus, clean = table
    asked = "37.5 dB" if name == "dsb2018_fluo" else ""
    yield f"{what}: PSNR of the MMSE, {len(judged)} images", f"{mmse:.2f} dB", asked
    names = ("noisy", "best Gaussian", "MMSE", "consensus", "clean")
    told = ", ".join(f"{name} {value:.3f}" for name, value in zip(names, table[1:], strict=True))
    yield f"{what}: mAP of {SEGMENTER}", told, ""
    closed = (consensus - noisy) / (clean - noisy)
    yield f"{what}: part of the gap between noisy and clean that is closed", f"{closed:.0%}", "84 %" if asked else ""


def _scores(model: DivNoising, picture: Picture) -> list[float]:
    """Return PSNR of the MMSE, and mAP of noisy image, best Gaussian, MMSE, consensus and clean image."""
    segment = segmenter(SEGMENTER)
    samples = np.concatenate([batch.cpu().numpy() for batch in model.sample(picture.noisy, n=SAMPLES)])
    mean, truth = samples.mean(axis=0), np.asarray(picture.masks)

    def score(image: np.ndarray) -> float:
        return evaluate(segment.fit(image)(image), truth).map

    fused = fuse(list(segment.fit(mean)(samples))).labels
    smooth = max(score(ndi.gaussian_filter(picture.noisy, sigma)) for sigma in (0.5, 1.0, 1.5, 2.0, 3.0))
    maps = [score(picture.noisy), smooth, score(mean), evaluate(fused, truth).map, score(picture.truth)]
    return [psnr(mean, picture.truth), *maps]
