"""Training data: noisy images as they are stored, validation split, and random crops drawn on the fly."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from divseg.denoise import dihedral
from divseg.denoise.normalization import DeviceNormalization
from divseg.denoise.training.crops import CropSource
from divseg.denoise.training.places import find_places, fitting_crop
from divseg.denoise.training.statistics import find_normalization
from divseg.errors import DivsegWarning, InputError
from divseg.io import Image

MAX_BYTES = 2**31
"""Images are held in memory up to this size; a larger collection is thinned evenly."""

MANY_IMAGES = 20
"""From this number of images on, whole images validate; of fewer, a corner of each that is large enough."""
VALIDATION_FRACTION = 0.05
"""Fraction of many images that validates, at most 32 of them."""
MAX_CORNER = 1 / 8
"""Fraction of an image that its validation corner may take; about half of it is aimed at."""

STRUCTURE_BLOCK = 8
"""Side in pixels of the blocks whose means tell structure from noise."""
STRUCTURE_CANDIDATES = 4
"""Crops drawn for each one that is chosen for its structure."""

Box = tuple[tuple[int, int], ...]
"""First and one past the last pixel along each axis."""


class TrainingData:
    """Noisy images of any sizes, and normalized random crops of them.

    Parameters
    ----------
    images : sequence of array or Image, each (*sides) or (C, *sides)
        uint8 and uint16 are held as they are, others as float32. Of images with pixels that are no data, crops are cut
        that hold none of these.
    patch : int
        Side of the crops in pixels along Y and X. Volumes are cropped to half of it along Y and X and a
        quarter along Z, so that a crop of 64 has about as many pixels as four flat ones. Reduced to a
        multiple of `multiple` that fits the smallest image.
    multiple : int
        Crops have sides that are multiples of this (the network's stride).
    dims : int
        Spatial axes, 2 or 3.
    validation_split : bool
        Hold out pixels for validation if possible: every twentieth image of 20 or more, otherwise a corner of
        each image that is large enough.

    Attributes
    ----------
    images : list of array, each (C, *sides)
    crop : tuple of int
        Sides of the crops.
    valid : list of (bool array, shape (*sides), or None)
        False where a pixel is no data; None for images without such pixels.
    names : list of str
        Names of the images, numbers if they have none.
    normalization : Normalization
        Mean and standard deviation of all pixels that are data, channel by channel.
    validation : str
        ``"held-out images"``, ``"held-out corners"`` or ``"training crops"``.
    """

    def __init__(
        self,
        images: Sequence[NDArray[np.generic] | Image],
        patch: int,
        multiple: int,
        *,
        dims: int = 2,
        validation_split: bool = True,
    ) -> None:
        self.images, self.valid, self.names = _within_memory(images, dims)
        if not self.images:
            raise InputError("there are no images to train on")
        self.dims, self.channels = dims, self.images[0].shape[0]
        sides = _crop_sides(self.images, patch, multiple, dims)
        self.crop = fitting_crop(self.valid, [im[0].size for im in self.images], sides, multiple)
        self.normalization = find_normalization(self.images, self.valid)
        self.pixels = sum(math.prod(im.shape[1:]) for im in self.images)
        whole = validation_images(len(self.images)) if validation_split else []
        corners = validation_split and not whole
        self._boxes = validation_boxes([im.shape[1:] for im in self.images], self.crop) if corners else {}
        self._boxes = {i: box for i, box in self._boxes.items() if self._is_whole(i, box)}
        self._places = {
            i: find_places(mask, self.crop, self._boxes.get(i), i)
            for i, mask in enumerate(self.valid)
            if mask is not None
        }
        usable = [i for i in range(len(self.images)) if len(self._places.get(i, [0]))]
        whole = [i for i in whole if i in usable]
        self._train = [i for i in usable if i not in set(whole)]
        self._validate = whole or sorted(self._boxes) or self._train
        self.validation = "held-out images" if whole else "held-out corners" if self._boxes else "training crops"
        self._source = CropSource(self.images, self.crop)
        self.keep_on(torch.device("cpu"))

    def _is_whole(self, index: int, box: Box) -> bool:
        """Tell whether all pixels of a part of an image are data."""
        mask = self.valid[index]
        return mask is None or bool(mask[tuple(slice(a, b) for a, b in box)].all())

    def planes(self, channel: int) -> Iterator[NDArray[np.float32]]:
        """Yield the planes of one channel of all images."""
        for image in self.images:
            pixels = image[channel].astype(np.float32)
            yield from pixels if self.dims == 3 else [pixels]

    def valid_planes(self) -> Iterator[NDArray[np.bool_] | None]:
        """Yield for each of :meth:`planes` what is data in it."""
        for image, mask in zip(self.images, self.valid, strict=True):
            yield from ([None] * image.shape[1] if mask is None else mask) if self.dims == 3 else [mask]

    def keep_on(self, device: torch.device) -> None:
        """Move the pixels, as they are stored, to a device, and cut the crops there from now on."""
        self._source.to(device)
        self.units: DeviceNormalization = self.normalization.on(device, self.dims)

    def batch(self, size: int, rng: np.random.Generator, structure_sampling: float = 0.0) -> Tensor:
        """Draw crops to train on: a batch of :meth:`plan`, cut by :meth:`cut`.

        Returns
        -------
        Tensor, shape (size, C, *crop), float32
            Normalized by the data's mean and standard deviation, on the device of the pixels.
        """
        rows = self.plan(1, size, rng, structure_sampling)[0]
        return self.cut(rows.to(self.units.mean.device), size, structure_sampling)

    def validation_batch(self, size: int, rng: np.random.Generator) -> Tensor:
        """Draw crops to validate on; they are never trained on if anything is held out."""
        rows = self._source.rows(self._positions(size, rng, self._validate, validation=True))
        return self.cut(torch.from_numpy(rows).to(self.units.mean.device), size)

    def plan(self, steps: int, size: int, rng: np.random.Generator, structure_sampling: float = 0.0) -> Tensor:
        """Draw the crops of some steps: image by area, position, quarter turn and flip at random.

        Most of a microscopy image is empty, and a network that has learned what emptiness looks like learns nothing
        more from it. A fraction of a batch is therefore chosen for its structure: of every four crops drawn, the
        one with the most. The rest is drawn evenly, so that the background is not forgotten.

        Parameters
        ----------
        steps, size : int
            Number of batches, and of crops in each.
        rng : numpy.random.Generator
            Source of randomness.
        structure_sampling : float
            Fraction of a batch that is chosen for its structure, from 0 to 1.

        Returns
        -------
        Tensor, shape (steps, crops, 2 + spatial axes), int64, on the CPU
            Where the pixels of the crops lie, those to choose among last.
        """
        chosen = round(size * structure_sampling)
        drawn = size - chosen + chosen * STRUCTURE_CANDIDATES
        positions = self._positions(steps * drawn, rng, self._train)
        return torch.from_numpy(self._source.rows(positions.reshape(steps, drawn, -1)))

    def cut(self, rows: Tensor, size: int, structure_sampling: float = 0.0) -> Tensor:
        """Cut the crops of a batch, without a wait for the device.

        Parameters
        ----------
        rows : Tensor, shape (crops, 2 + spatial axes), int64, on the device of the pixels
            A batch of :meth:`plan`.
        size : int
            Crops in the batch, as for :meth:`plan`.
        structure_sampling : float
            As for :meth:`plan`.

        Returns
        -------
        Tensor, shape (size, C, *crop), float32, normalized
        """
        crops = self.units.normalize(self._source.cut(rows))
        chosen = round(size * structure_sampling)
        if chosen == 0:
            return crops
        candidates = structure(crops[size - chosen :]).view(chosen, STRUCTURE_CANDIDATES)
        groups = torch.arange(size - chosen, len(crops), STRUCTURE_CANDIDATES, device=rows.device)
        best = crops.index_select(0, groups + candidates.argmax(1))
        return torch.cat([crops[: size - chosen], best])

    def _positions(
        self, size: int, rng: np.random.Generator, among: list[int], *, validation: bool = False
    ) -> NDArray[np.int64]:
        """Draw (image, first pixel along each axis, one of eight turns and flips) for each crop."""
        sides = np.array([self.images[i].shape[1:] for i in among], dtype=np.int64)
        area = sides.prod(1, dtype=np.float64)
        # the box of an image that has none is empty, beyond its last pixel
        boxes = np.array([self._boxes.get(i, [(n, n) for n in self.images[i].shape[1:]]) for i in among])
        chosen = rng.choice(len(among), size, p=area / area.sum())
        lowest, highest = np.zeros_like(sides[chosen]), sides[chosen]
        if validation:
            inside = np.array([i in self._boxes for i in among])[chosen, None]
            lowest, highest = (np.where(inside, boxes[chosen, :, k], old) for k, old in enumerate((lowest, highest)))
        crop = np.array(self.crop)
        first = rng.integers(lowest, highest - crop + 1)
        while not validation:
            low, high = boxes[chosen, :, 0], boxes[chosen, :, 1]
            held_out = np.flatnonzero(((first < high) & (first + crop > low)).all(1))
            if not held_out.size:
                break
            first[held_out] = rng.integers(lowest[held_out], highest[held_out] - crop + 1)
        numbers = np.array(among)[chosen]
        if self._places:
            self._draw_places(first, numbers, rng, validation)
        return np.column_stack([numbers, first, rng.integers(dihedral.COUNT, size=size)])

    def _draw_places(
        self, first: NDArray[np.int64], numbers: NDArray[np.int64], rng: np.random.Generator, validation: bool
    ) -> None:
        """Draw the crops of images with pixels that are no data again, from those that hold none."""
        for i in np.unique(numbers).tolist():
            if i in self._places and not (validation and i in self._boxes):
                own = np.flatnonzero(numbers == i)
                first[own] = self._places[i][rng.integers(len(self._places[i]), size=len(own))]


def validation_images(count: int) -> list[int]:
    """Numbers of the images that validate, evenly spread; none if there are few images."""
    if count < MANY_IMAGES:
        return []
    chosen = min(32, max(1, round(VALIDATION_FRACTION * count)))
    return [int((k + 0.5) * count / chosen) for k in range(chosen)]


def validation_boxes(shapes: Sequence[tuple[int, ...]], crop: Sequence[int]) -> dict[int, Box]:
    """Return a box in a corner of every image that can spare one, the four corners in turn.

    A box holds at least one crop, takes at most an eighth of the image, and leaves room for crops that do
    not touch it.
    """
    boxes: dict[int, Box] = {}
    for i, sides in enumerate(shapes):
        fraction = math.prod(crop) / math.prod(sides)
        if fraction > MAX_CORNER:
            continue
        scale = max(1, math.floor((MAX_CORNER / 2 / fraction) ** 0.5))
        flat = [min(c * scale, n) for c, n in zip(crop[-2:], sides[-2:], strict=True)]
        if not any(n - b >= c for n, b, c in zip(sides[-2:], flat, crop[-2:], strict=True)):
            continue
        deep: Box = tuple((0, c) for c in crop[:-2])
        far = (i % 2 == 1, i // 2 % 2 == 1)
        corner = tuple((n - b, n) if end else (0, b) for n, b, end in zip(sides[-2:], flat, far, strict=True))
        boxes[i] = deep + corner
    return boxes


def structure(crops: Tensor) -> Tensor:
    """Return the standard deviation of the means of blocks within each crop (B, C, *sides): shape (B,)."""
    pool = torch.nn.functional.avg_pool2d if crops.ndim == 4 else torch.nn.functional.avg_pool3d
    means = pool(crops, [min(STRUCTURE_BLOCK, side) for side in crops.shape[2:]])
    return means.flatten(2).std(2, correction=0).mean(1)


def _crop_sides(images: Sequence[NDArray[np.generic]], patch: int, multiple: int, dims: int) -> tuple[int, ...]:
    """Sides of the crops: square along Y and X, within the smallest image, multiples of the stride."""
    flat = min(min(im.shape[-2:]) for im in images)
    min_side = 4 * multiple
    for image in images:
        sides = image.shape[1:]
        if min(sides[-2:]) < min_side or min(sides) < multiple:
            words = "x".join(map(str, sides))
            needed = "x".join(map(str, (multiple,) * (dims - 2) + (min_side,) * 2))
            thin = dims == 3 and min(sides[-2:]) >= min_side
            remedy = "leave it out or give larger images"
            raise InputError(
                f"an image of {words} pixels is smaller than the network's tile of {needed} pixels; "
                + ("give its planes as images of their own (N, Y, X)" if thin else remedy)
            )
    if dims == 2:
        side = min(patch, flat // multiple * multiple)
        return side, side
    deep = min(im.shape[-3] for im in images)
    side = max(min_side, min(patch // 2, flat) // multiple * multiple)
    return max(multiple, min(patch // 4, deep) // multiple * multiple), side, side


def _within_memory(
    images: Sequence[NDArray[np.generic] | Image], dims: int
) -> tuple[list[NDArray[np.generic]], list[NDArray[np.bool_] | None], list[str]]:
    """Load the images, what is data in them and their names, or evenly spread ones of them if all would not fit."""
    count = len(images)
    loaded: list[NDArray[np.generic]] = []
    valid: list[NDArray[np.bool_] | None] = []
    names: list[str] = []
    total, step = 0, 1
    for i in range(count):
        if i % step:
            continue
        item = images[i]
        image = np.asarray(item)
        if image.ndim == dims:
            image = image[None]
        if image.ndim != dims + 1 or (loaded and image.shape[0] != loaded[0].shape[0]):
            axes = "2-D images (Y, X)" if dims == 2 else "volumes (Z, Y, X)"
            raise InputError(
                f"training image {i} has shape {image.shape}; {axes} are needed, all with the same channels"
            )
        loaded.append(image)
        valid.append(item.valid if isinstance(item, Image) else None)
        names.append(item.name if isinstance(item, Image) else f"image {i}")
        total += image.nbytes
        while total > MAX_BYTES and len(loaded) > 1:
            step *= 2
            loaded, valid, names = loaded[::2], valid[::2], names[::2]
            total = sum(im.nbytes for im in loaded)
    if len(loaded) < count:
        warnings.warn(
            f"training on {len(loaded)} of {count} images, evenly spread: all of them would take more than "
            f"{MAX_BYTES / 2**30:.0f} GiB of memory",
            DivsegWarning,
            stacklevel=3,
        )
    return loaded, valid, names
