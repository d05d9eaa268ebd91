"""Training data: noisy images as they are stored, random crops drawn on the fly."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from divseg.denoise.normalization import Intensity
from divseg.denoise.training.device_crops import DeviceImages
from divseg.denoise.training.heldout import held_out_boxes, held_out_images
from divseg.errors import DivsegWarning, InputError

MAX_BYTES = 2**31
"""Images are kept in memory up to this size; of larger collections an even choice is trained on."""


class TrainingData:
    """Noisy images of any sizes, and normalised random crops of them.

    Parameters
    ----------
    images : sequence of array, each (*sides) or (C, *sides)
        Kept in the dtype they come in.
    patch : int
        Side of the crops in pixels along Y and X. Volumes are cropped to half of it along Y and X and a
        quarter along Z, so that a crop of 64 has about as many pixels as four flat ones. Made smaller, to a
        multiple of `multiple`, where the smallest image asks for it.
    multiple : int
        Crops have sides that are multiples of this (the network's stride).
    dims : int
        Spatial axes, 2 or 3.
    held_out : bool
        Keep a part of the images for validation, where they are many or large enough: every twentieth
        image of 20 or more, else a corner of each.

    Attributes
    ----------
    images : list of array, each (C, *sides)
    crop : tuple of int
        Sides of the crops.
    intensity : Intensity
        Mean and standard deviation of all pixels, channel by channel.
    validation : str
        ``"held-out images"``, ``"held-out corners"`` or ``"training crops"``.
    """

    def __init__(
        self,
        images: Sequence[NDArray[np.generic]],
        patch: int,
        multiple: int,
        *,
        dims: int = 2,
        held_out: bool = True,
    ) -> None:
        self.images = _within_memory(images, dims)
        if not self.images:
            raise InputError("there are no images to train on")
        self.dims, self.channels = dims, self.images[0].shape[0]
        self.crop = _crop_sides(self.images, patch, multiple, dims)
        self.intensity = _intensity(self.images)
        self.pixels = sum(math.prod(im.shape[1:]) for im in self.images)
        whole = held_out_images(len(self.images)) if held_out else []
        boxes = held_out_boxes([im.shape[1:] for im in self.images], self.crop) if held_out and not whole else {}
        self._boxes = boxes
        self._train = [i for i in range(len(self.images)) if i not in set(whole)]
        self._check = whole or sorted(boxes) or self._train
        self.validation = "held-out images" if whole else "held-out corners" if boxes else "training crops"
        self._device: DeviceImages | None = None

    def keep_on(self, device: torch.device) -> None:
        """Move the pixels, as they are stored, to a GPU, and crop them there from now on."""
        if device.type != "cpu":
            self._device = DeviceImages(self.images, device)

    def batch(self, size: int, rng: np.random.Generator) -> Tensor:
        """Draw crops to train on: image by area, place, quarter turn and flip at random.

        Returns
        -------
        Tensor, shape (size, C, *crop), float32
            Normalised by the data's mean and standard deviation.
        """
        return self._cut(self._places(size, rng, self._train, check=False))

    def check_batch(self, size: int, rng: np.random.Generator) -> Tensor:
        """Draw crops to validate on; never trained on where anything is held out."""
        return self._cut(self._places(size, rng, self._check, check=True))

    def _places(self, size: int, rng: np.random.Generator, among: list[int], *, check: bool) -> NDArray[np.int64]:
        """Draw (image, first pixel along each axis, one of eight positions) for each crop."""
        area = np.array([math.prod(self.images[i].shape[1:]) for i in among], dtype=np.float64)
        out = np.empty((size, 2 + self.dims), np.int64)
        for row, chosen in zip(out, rng.choice(len(among), size, p=area / area.sum()), strict=True):
            which = among[chosen]
            sides, box = self.images[which].shape[1:], self._boxes.get(which)
            while True:
                if check and box is not None:
                    first = [int(rng.integers(a, b - c + 1)) for (a, b), c in zip(box, self.crop, strict=True)]
                else:
                    first = [int(rng.integers(n - c + 1)) for n, c in zip(sides, self.crop, strict=True)]
                if check or box is None or not _overlap(first, self.crop, box):
                    break
            row[0], row[1:-1], row[-1] = which, first, rng.integers(8)
        return out

    def _cut(self, places: NDArray[np.int64]) -> Tensor:
        if self._device is not None:
            x = self._device.crops(places, self.crop)
            mean, sd = self.intensity.tensors(x)
            return (x - mean) / sd
        out = np.empty((len(places), self.channels, *self.crop), np.float32)
        for slot, (which, *first, turn) in zip(out, places.tolist(), strict=True):
            where = tuple(slice(a, a + c) for a, c in zip(first, self.crop, strict=True))
            crop = np.rot90(self.images[which][(slice(None), *where)], turn % 4, axes=(-2, -1))
            slot[:] = crop[..., ::-1, :] if turn >= 4 else crop
        shape = (1, -1) + (1,) * self.dims
        centre, width = (np.array(v, np.float32).reshape(shape) for v in (self.intensity.mean, self.intensity.sd))
        return torch.from_numpy((out - centre) / width)


def _overlap(first: Sequence[int], crop: Sequence[int], box: Sequence[tuple[int, int]]) -> bool:
    return all(f < b and f + c > a for f, c, (a, b) in zip(first, crop, box, strict=True))


def _crop_sides(images: Sequence[NDArray[np.generic]], patch: int, multiple: int, dims: int) -> tuple[int, ...]:
    """Sides of the crops: square along Y and X, within the smallest image, multiples of the stride."""
    flat = min(min(im.shape[-2:]) for im in images)
    least = 4 * multiple
    for image in images:
        sides = image.shape[1:]
        if min(sides[-2:]) < least or min(sides) < multiple:
            words = "x".join(map(str, sides))
            needed = "x".join(map(str, (multiple,) * (dims - 2) + (least,) * 2))
            thin = dims == 3 and min(sides[-2:]) >= least
            remedy = "leave it out or give larger images"
            raise InputError(
                f"an image of {words} pixels is smaller than the network's tile of {needed} pixels; "
                + ("give its planes as images of their own (N, Y, X)" if thin else remedy)
            )
    if dims == 2:
        side = min(patch, flat // multiple * multiple)
        return side, side
    deep = min(im.shape[-3] for im in images)
    side = max(least, min(patch // 2, flat) // multiple * multiple)
    return max(multiple, min(patch // 4, deep) // multiple * multiple), side, side


def _intensity(images: Sequence[NDArray[np.generic]]) -> Intensity:
    """Mean and standard deviation of each channel over all images."""
    axes = tuple(range(1, images[0].ndim))
    count = sum(math.prod(im.shape[1:]) for im in images)
    mean = sum(im.sum(axis=axes, dtype=np.float64) for im in images) / count
    column = np.reshape(mean, (-1,) + (1,) * len(axes))
    square = sum(np.square(im.astype(np.float64) - column).sum(axis=axes) for im in images)
    sd = np.sqrt(square / count)
    if not (sd > 0).all():
        which = "" if sd.size == 1 else f" in channel {int(np.argmin(sd))}"
        raise InputError(f"all pixels of all images have the same value{which}: there is nothing to train on")
    return Intensity(tuple(np.asarray(mean).tolist()), tuple(sd.tolist()))


def _within_memory(images: Sequence[NDArray[np.generic]], dims: int) -> list[NDArray[np.generic]]:
    """Load the images, or an even choice of them where they would not fit."""
    count = len(images)
    kept: list[NDArray[np.generic]] = []
    total, step = 0, 1
    for i in range(count):
        if i % step:
            continue
        image = np.asarray(images[i])
        if image.ndim == dims:
            image = image[None]
        if image.ndim != dims + 1 or (kept and image.shape[0] != kept[0].shape[0]):
            axes = "2-D images (Y, X)" if dims == 2 else "volumes (Z, Y, X)"
            raise InputError(
                f"training image {i} has shape {image.shape}; {axes} are needed, all with the same channels"
            )
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
