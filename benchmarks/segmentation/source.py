"""One picture and every image made of it: smoothed, denoised, sampled; each is made once and segmented once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.sets import Picture
from benchmarks.segmentation.grids import Grid, Raw
from benchmarks.segmentation.smoothing import SMOOTHINGS, NoiseLine

Image = NDArray[np.float32]
Key = tuple[Any, ...]
"""Names an image of a picture: its kind, then what the kind needs, such as ``("gaussian", 2.0)``, ``("sample", 5)``."""


class Source:
    """The images of one picture.

    Parameters
    ----------
    picture : Picture
        With its masks.
    samples : callable
        Returns the posterior samples, float32 (K, Y, X); called when they are first needed.
    noise : NoiseLine
        Of the set.
    others : mapping of str to callable
        Images made elsewhere, such as those of N2V, by kind.
    """

    def __init__(
        self,
        picture: Picture,
        samples: Callable[[], Image],
        noise: NoiseLine,
        others: Mapping[str, Callable[[], Image]] | None = None,
    ) -> None:
        self.picture, self.noise, self.others = picture, noise, dict(others or {})
        self._draw, self._samples = samples, None
        self._images: dict[Key, Image] = {}
        self._raw: dict[tuple[Key, str, bool], Raw] = {}
        self._made: dict[tuple[str, bool], Any] = {}

    @property
    def samples(self) -> Image:
        """All posterior samples, (K, Y, X)."""
        if self._samples is None:
            self._samples = self._draw()
        return self._samples

    def image(self, key: Key) -> Image:
        """Return an image by its key.

        Raises
        ------
        KeyError
            A kind that nobody knows.
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

            from divseg.denoise.sampling.modes import seek_mode

            return seek_mode(torch.from_numpy(np.array(self.samples))[:, None])[0].numpy()
        if kind in SMOOTHINGS:
            return SMOOTHINGS[kind](self.picture.noisy, values[0], self.noise)
        return np.asarray(self.others[kind](), np.float32)

    def labels(self, key: Key, grid: Grid, spec: str, *, joint: bool = False) -> NDArray[np.integer]:
        """Segment an image of the picture.

        Parameters
        ----------
        key : tuple
            Which image.
        grid : Grid
            That `spec` belongs to.
        spec : str
            Segmenter.
        joint : bool
            Take image-level parameters from the MMSE instead of from the image itself.
        """
        base, cut = grid.parts(spec)
        place = (key, base, joint)
        if place not in self._raw:
            if (base, joint) not in self._made:
                self._made[base, joint] = grid.made(base, self.image(("mmse",)) if joint else None)
            self._raw[place] = grid.segment(self._made[base, joint], self.image(key))
        return grid.cut(self._raw[place], cut)

    def keep_only(self, kinds: set[str]) -> None:
        """Free the label images of other kinds of images."""
        self._raw = {place: raw for place, raw in self._raw.items() if place[0][0] in kinds}

    def forget(self) -> None:
        """Free the images and label images; all can be made again."""
        self._images.clear()
        self._raw.clear()
        self._made.clear()
        self._samples = None
