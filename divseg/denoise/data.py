"""Training data: noisy images as they are stored, random crops drawn on the fly."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from divseg.errors import DivsegWarning, InputError

MAX_BYTES = 2**31
"""Images are kept in memory up to this size; of larger collections an even choice is trained on."""


class TrainingData:
    """Noisy images of any sizes, and normalised random crops of them.

    Parameters
    ----------
    images : sequence of array, each (Y, X)
        Kept in the dtype they come in.
    patch : int
        Side of the square crops in pixels; made smaller, to a multiple of `multiple`, where the
        smallest image asks for it.
    multiple : int
        Crops have a side that is a multiple of this (the network's stride).
    """

    def __init__(self, images: Sequence[NDArray[np.generic]], patch: int, multiple: int) -> None:
        self.images = _within_memory(images)
        if not self.images:
            raise InputError("there are no images to train on")
        side = min(min(im.shape) for im in self.images)
        smallest = 4 * multiple
        if side < smallest:
            shape = next(im.shape for im in self.images if min(im.shape) == side)
            raise InputError(
                f"an image of {shape[0]}x{shape[1]} pixels is smaller than the network's tile of "
                f"{smallest}x{smallest} pixels; leave it out or give larger images"
            )
        self.patch = min(patch, side // multiple * multiple)
        count = sum(im.size for im in self.images)
        self.mean = sum(float(im.sum(dtype=np.float64)) for im in self.images) / count
        square = sum(float(np.square(im.astype(np.float64) - self.mean).sum()) for im in self.images)
        self.sd = float(np.sqrt(square / count))
        if not self.sd > 0:
            raise InputError("all pixels of all images have the same value: there is nothing to train on")
        self.pixels = count
        sizes = np.array([im.size for im in self.images], dtype=np.float64)
        self._share = sizes / sizes.sum()

    def batch(self, size: int, rng: np.random.Generator) -> Tensor:
        """Draw crops: image by area, place, quarter turn and flip at random.

        Returns
        -------
        Tensor, shape (size, 1, patch, patch), float32
            Normalised by the data's mean and standard deviation.
        """
        out = np.empty((size, 1, self.patch, self.patch), np.float32)
        for slot, which in zip(out, rng.choice(len(self.images), size, p=self._share), strict=True):
            image = self.images[which]
            y = int(rng.integers(image.shape[0] - self.patch + 1))
            x = int(rng.integers(image.shape[1] - self.patch + 1))
            crop = image[y : y + self.patch, x : x + self.patch]
            turn = int(rng.integers(8))
            crop = np.rot90(crop, turn % 4)
            slot[0] = crop[::-1] if turn >= 4 else crop
        return torch.from_numpy((out - np.float32(self.mean)) / np.float32(self.sd))


def _within_memory(images: Sequence[NDArray[np.generic]]) -> list[NDArray[np.generic]]:
    """Load the images, or an even choice of them where they would not fit."""
    count = len(images)
    kept: list[NDArray[np.generic]] = []
    total, step = 0, 1
    for i in range(count):
        if i % step:
            continue
        image = np.asarray(images[i])
        if image.ndim != 2:
            raise InputError(f"training image {i} has shape {image.shape}; 2-D images (Y, X) are needed")
        kept.append(image)
        total += image.nbytes
        while total > MAX_BYTES and len(kept) > 1:
            step *= 2
            kept = kept[::2]
            total = sum(im.nbytes for im in kept)
    if len(kept) < count:
        warnings.warn(
            f"training on {len(kept)} of {count} images, evenly chosen: all of them would take more than "
            f"{MAX_BYTES / 2**30:.0f} GiB of memory",
            DivsegWarning,
            stacklevel=3,
        )
    return kept
