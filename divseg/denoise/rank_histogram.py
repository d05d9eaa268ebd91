"""Does the noise model fit? The rank of each noisy pixel among draws of p(noisy | sample) tells."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from divseg.denoise.noise import NoiseModel

PIXELS = 2**16
"""Largest number of pixels that are ranked, spread over the image: more would not change the histogram."""

BINS = 10
"""Bins of the histogram."""

THIRDS = ("darkest", "middle", "brightest")
"""Parts of the pixels, by signal, that have a histogram each."""

MISFIT = 0.1
"""Fraction of the pixels of a third in the wrong bin above which the noise model does not fit: it is reached by a
standard deviation that is a quarter too large or a fifth too small."""


class RankHistogram:
    """Ranks of noisy pixels among noisy values drawn from the samples, gathered a batch of samples at a time.

    If the noise model and the samples are right, a pixel is as likely to be the smallest as any other of itself and
    the K values drawn for it, and the histogram of the ranks is flat. Draws are rounded if the image holds whole
    numbers, and ranks among equals are drawn by lot, so that neither rounding nor a detector's limit bends it.

    Parameters
    ----------
    noise : NoiseModel
        Distribution of a noisy pixel around its clean value.
    noisy : array of any shape
        Noisy image in intensity units.
    seed : int
        Seed of the draws.

    References
    ----------
    Hamill, "Interpretation of rank histograms for verifying ensemble forecasts", Monthly Weather Review 129 (2001);
    Czado et al., "Predictive model assessment for count data", Biometrics 65 (2009), for ranks among equals.
    """

    def __init__(self, noise: NoiseModel, noisy: NDArray[np.generic], seed: int = 0) -> None:
        flat = torch.from_numpy(np.ascontiguousarray(noisy).ravel().astype(np.float32))
        step = max(1, len(flat) // PIXELS)
        self._picked = torch.arange(step // 2, len(flat), step)  # step and width of an image seldom divide each other
        self._picked, device = self._picked.to(noise.device), noise.device
        self.noise, self._whole = noise, bool((flat == flat.round()).all())
        self._pixels = flat.to(device)[self._picked]
        self._below, self._equal = torch.zeros(2, len(self._picked), dtype=torch.int64, device=device)
        self._signal = torch.zeros(len(self._picked), device=device)
        self._generator = torch.Generator(device).manual_seed(seed)
        self._drawn = 0

    def add(self, batch: Tensor) -> None:
        """Draw a noisy value for each pixel of each sample of a batch (B, ...), on the device of the noise model."""
        with torch.inference_mode():
            signal = batch.float().reshape(len(batch), -1)[:, self._picked]
            self._signal += signal.sum(0)
            drawn = self.noise.sample(signal, self._generator)
            if self._whole:
                drawn = drawn.round()
            self._below += (drawn < self._pixels).sum(0)
            self._equal += (drawn == self._pixels).sum(0)
        self._drawn += len(batch)

    def heights(self) -> NDArray[np.float64]:
        """Return the fraction of the pixels in each bin, from the smallest ranks to the largest.

        Returns
        -------
        float array, shape (3, BINS)
            For the thirds of the pixels with the lowest, middle and highest mean of the samples: noise that is wrong
            in dark parts is often wrong the other way in bright ones.
        """
        chance = torch.rand(len(self._pixels), generator=self._generator, device=self._pixels.device)
        rank = ((self._below + chance * (self._equal + 1)) / (self._drawn + 1)).cpu().numpy()
        known = np.isfinite(self._pixels.cpu().numpy())
        order = np.argsort(self._signal.cpu().numpy()[known], kind="stable")
        thirds = [
            np.histogram(part, BINS, (0.0, 1.0))[0] / max(1, len(part))
            for part in np.array_split(rank[known][order], len(THIRDS))
        ]
        return np.stack(thirds)


def misfit(heights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fraction of the pixels that lie in the wrong bin: 0 for a flat histogram, at most 0.9.

    It is the total variation distance, an effect size: with a million pixels any deviation is significant.

    Parameters
    ----------
    heights : float array, shape (..., BINS)
        Histograms.
    """
    return np.asarray(np.abs(heights - 1.0 / BINS).sum(axis=-1) / 2)


def misfit_words(heights: NDArray[np.float64]) -> str:
    """Say where and in which way histograms, shape (3, BINS), are the least flat."""
    wrong = misfit(heights)
    worst = int(wrong.argmax())
    low, high = heights[worst][[0, -1]]
    middle = heights[worst][BINS // 2 - 1 : BINS // 2 + 1].mean()
    if abs(high - low) > abs((low + high) / 2 - middle):
        way = f"more of them than expected lie far {'above' if high > low else 'below'} the samples"
    elif low + high > 2 * middle:
        way = "they lie farther from the samples than it says (more noise than that, or detail that the samples miss)"
    else:
        way = "they lie closer to the samples than it says (less noise than that, or samples that follow the noise)"
    part = f"of the {THIRDS[worst]} third of the pixels {100 * wrong[worst]:.0f} %"
    return f"{part} have a wrong rank among draws from it; {way}"
