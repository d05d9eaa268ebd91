"""How good and how honest the posterior samples of one image are, judged by the clean image."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.images import Images
from benchmarks.sets import Picture, psnr
from divseg import DivNoising
from divseg.denoise.sampling.estimates import sample_quantiles

INTERVAL = (0.05, 0.95)
"""Quantiles of the samples between which the clean pixel should lie in 90 % of pixels."""


@dataclass(frozen=True)
class Judgement:
    """Figures of one image.

    Attributes
    ----------
    psnr : float
        Of the mean of the samples (MMSE), in dB.
    single : float
        Of the first sample, in dB.
    covered : float
        Share of pixels whose clean value lies within the samples' interval.
    residual : float
        Mean over pixels and samples of the squared difference of noisy image and sample, each divided by the variance
        of the noise model at the sample. Samples of the true posterior have 1.
    spread : float
        Root of the mean variance of the samples divided by the root-mean-square error of their mean. Samples of the
        true posterior have 1.
    seconds : float
        To draw the samples.
    """

    psnr: float
    single: float
    covered: float
    residual: float
    spread: float
    seconds: float


def judge(model: DivNoising, images: Images) -> Judgement:
    """Compare the samples of an image with the clean image and with the noise model.

    Parameters
    ----------
    model : DivNoising
        Trained on the image's set.
    images : Images
        Of a picture with a clean image; at least 64 samples, or the quantiles are too coarse to be judged.
    """
    clean = images.picture.truth
    start = time.perf_counter()
    drawn = torch.from_numpy(images.samples)
    seconds = time.perf_counter() - start
    mean = images.image(("mmse",))
    low, high = sample_quantiles(drawn, INTERVAL).numpy()
    noisy, total = torch.from_numpy(images.picture.noisy), 0.0
    with torch.inference_mode():
        for sample in drawn:
            variance = model.noise.variance(sample.to(model.device)).cpu()
            total += float(((noisy - sample).square() / variance).double().mean())
    error = float(np.mean((mean.astype(np.float64) - clean) ** 2))
    return Judgement(
        psnr=psnr(mean, clean),
        single=psnr(drawn[0].numpy(), clean),
        covered=float(np.mean((low <= clean) & (clean <= high))),
        residual=total / len(drawn),
        spread=float(np.sqrt(float(drawn.var(0).double().mean()) / error)),
        seconds=seconds,
    )


def mmse_psnr(model: DivNoising, picture: Picture, samples: int, seed: int = 0) -> tuple[float, float]:
    """Return the PSNR of the mean of very many samples, streamed, and the seconds it took."""
    start = time.perf_counter()
    mean = model.mmse(picture.noisy, n=samples, seed=seed)
    return psnr(mean, picture.truth), time.perf_counter() - start
