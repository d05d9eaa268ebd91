"""One picture and every image made of it: smoothed, denoised by other tools, sampled; each is made once.

Every benchmark takes its rows from here: the noisy image, smoothings, Noise2Void, the mean of the posterior samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.sets import Picture
from benchmarks.smoothing import SMOOTHINGS, SetNoise, denoise, denoisers

Image = NDArray[np.float32]
Key = tuple[Any, ...]
"""Names an image of a picture: its kind, then what the kind needs, such as ``("gaussian", 2.0)``, ``("sample", 5)``."""


class Images:
    """The images of one picture.

    Parameters
    ----------
    picture : Picture
        The picture.
    samples : callable, optional
        Returns the posterior samples, float32 (K, Y, X); called when they are first needed.
    noise : SetNoise, optional
        Noise of the set; smoothings need it.
    others : mapping of str to callable
        Makers of images by other means, such as Noise2Void, by kind.
    """

    def __init__(
        self,
        picture: Picture,
        samples: Callable[[], Image] | None = None,
        noise: SetNoise | None = None,
        others: Mapping[str, Callable[[], Image]] | None = None,
    ) -> None:
        self.picture, self.noise, self.others = picture, noise, dict(others or {})
        self._draw, self._samples = samples, None
        self._images: dict[Key, Image] = {}

    @property
    def samples(self) -> Image:
        """All posterior samples, (K, Y, X)."""
        if self._samples is None:
            if self._draw is None:
                raise KeyError(f"{self.picture.name} has no samples")
            self._samples = self._draw()
        return self._samples

    def image(self, key: Key) -> Image:
        """Return an image by its key.

        Raises
        ------
        KeyError
            If the kind is unknown.
        """
        kind = key[0]
        if kind == "noisy":
            return self.picture.noisy
        if kind == "sample":
            return self.samples[key[1]]
        if key not in self._images:
            self._images[key] = self._make(kind, key[1:])
        return self._images[key]

    def _make(self, kind: str, values: tuple[Any, ...]) -> Image:
        if kind == "clean":
            if self.picture.clean is None:
                raise KeyError(f"{self.picture.name} has no clean image")
            return self.picture.clean.astype(np.float32)
        if kind == "mmse":  # of the first samples, or of all
            return np.asarray(self.samples[: values[0] if values else None].mean(axis=0), np.float32)
        if kind == "shrunk":
            share, number = values
            mean = self.image(("mmse",))
            return np.asarray(mean + share * (self.samples[number] - mean), np.float32)
        if kind == "group":
            size, number = values
            return np.asarray(self.samples[size * number : size * (number + 1)].mean(axis=0), np.float32)
        if kind == "map":
            import torch

            from divseg.denoise.sampling.estimates import map_estimate

            return map_estimate(torch.from_numpy(np.array(self.samples))[:, None])[0].numpy()
        if kind in SMOOTHINGS:
            return SMOOTHINGS[kind](self.picture.noisy, values[0], self.noise)
        if kind == "advised":  # a denoiser with advised settings, by name
            return denoise(self.picture.noisy, denoisers()[values[0]], self.noise)
        return np.asarray(self.others[kind](), np.float32)

    def forget(self) -> None:
        """Free the images; all can be made again."""
        self._images.clear()
        self._samples = None
