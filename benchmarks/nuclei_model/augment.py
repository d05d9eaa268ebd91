"""Random changes of training patches that leave their segmentation valid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter, maximum_filter

from benchmarks.nuclei_model.synthetic import draw, texture

SYNTHETIC = 0.22
"""Share of patches that a drawn image replaces."""


class Augment:
    """Change geometry of image and labels alike, then brightness and texture of nuclei, grey values, blur and noise.

    Parameters
    ----------
    seed : int
        Seed of the random numbers.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def __call__(self, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
        """Return a changed patch, or a drawn one instead."""
        if self.rng.random() < SYNTHETIC:
            x, y = draw(len(x), self.rng)
            return self._gain(x).astype(np.float32), y
        x, y = self._flip(x, y)
        diameter = _diameter(y)
        if self.rng.random() < 0.6:
            x, y, diameter = self._warp(x, y, diameter)
        x = self._nuclei(x, y, diameter)
        return self._noise(self._grey(x)).astype(np.float32), y

    def _flip(self, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
        turns = int(self.rng.integers(4))
        x, y = np.rot90(x, turns), np.rot90(y, turns)
        return (x[:, ::-1], y[:, ::-1]) if self.rng.random() < 0.5 else (x, y)

    def _warp(self, x: NDArray, y: NDArray, diameter: float) -> tuple[NDArray, NDArray, float]:
        """Rotate by any angle and scale so that nuclei keep 7 to 80 pixels; what lies outside is mirrored."""
        angle = self.rng.uniform(0, 2 * np.pi)
        least, most = np.clip(7 / diameter, 0.5, 1.0), np.clip(80 / diameter, 1.0, 2.3)
        scale = np.exp(self.rng.uniform(np.log(least), np.log(most)))
        stretched = scale * self.rng.uniform(0.9, 1.1, 2)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = turn @ np.diag(1 / stretched)
        centre = (np.array(x.shape) - 1) / 2
        offset = centre - matrix @ centre
        return (
            affine_transform(x, matrix, offset, order=1, mode="reflect"),
            affine_transform(y, matrix, offset, order=0, mode="reflect"),
            diameter * scale,
        )

    def _nuclei(self, x: NDArray, y: NDArray, diameter: float) -> NDArray:
        """Dim some nuclei, each by its own factor, or give them a texture."""
        if self.rng.random() < 0.2:
            gain = 10 ** -self.rng.uniform(0, 0.9, int(y.max()) + 1)
            gain = np.where(self.rng.random(len(gain)) < 0.5, gain, 1.0)
            gain[0] = 1.0
            # the light around a nucleus is its own
            around = gaussian_filter(gain[np.where(y > 0, y, maximum_filter(y, 7))], 0.8)
            x = np.where(x > 0, x * around, x)
        if self.rng.random() < 0.2:
            x = np.where(x > 0, x * texture(y, diameter, self.rng), x)
        return x

    def _grey(self, x: NDArray) -> NDArray:
        if self.rng.random() < 0.4:
            gamma = np.exp(self.rng.uniform(-0.4, 0.4))
            x = np.where(x > 0, np.maximum(x, 0) ** gamma, x)
        if self.rng.random() < 0.15:
            limit = self.rng.uniform(0.35, 0.9)
            x = np.minimum(x, limit) / limit
        return self._gain(x)

    def _gain(self, x: NDArray) -> NDArray:
        return x * self.rng.uniform(0.6, 1.6) + self.rng.uniform(-0.15, 0.15)

    def _noise(self, x: NDArray) -> NDArray:
        """Blur (as denoising does), then noise that grows with the grey value, at times itself smooth."""
        if self.rng.random() < 0.25:
            x = gaussian_filter(x, self.rng.uniform(0.3, 1.5))
        if self.rng.random() < 0.4:
            noise = self.rng.normal(size=x.shape) * np.sqrt(0.3 + np.clip(x, 0, 2))
            if self.rng.random() < 0.4:
                width = self.rng.uniform(0.4, 1.0)
                noise = gaussian_filter(noise, width)
                noise /= max(noise.std(), 1e-6)
            x = x + self.rng.uniform(0, 0.15) * noise
        return x


def _diameter(labels: NDArray[np.integer]) -> float:
    """Return the diameter of a disc with the median area of the labels; 20 pixels if there are none."""
    areas = np.bincount(labels.ravel())[1:]
    return float(np.sqrt(np.median(areas[areas > 0]) * 4 / np.pi)) if areas.any() else 20.0
