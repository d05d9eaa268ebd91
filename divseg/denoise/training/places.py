"""Where crops may be cut from images with pixels that are no data: crops that hold none of these."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from divseg.errors import InputError

MOST_PLACES = 2**16
"""Places that are kept for an image; of more, a random selection."""

Mask = NDArray[np.bool_]


def whole_crops(valid: Mask, crop: Sequence[int]) -> Mask:
    """Return for each first pixel of a crop whether the crop is within the image and all its pixels are valid.

    Parameters
    ----------
    valid : bool array, shape (*sides)
        False where a pixel is no data.
    crop : sequence of int
        Sides of the crops, none longer than the image's.

    Returns
    -------
    bool array, shape (side - crop + 1 along each axis)
    """
    whole = valid
    for axis, side in enumerate(crop):
        counts = np.cumsum(whole, axis=axis, dtype=np.int32)
        counts = np.concatenate([np.zeros_like(counts.take([0], axis)), counts], axis)
        last = counts.take(np.arange(side, counts.shape[axis]), axis)
        whole = last - counts.take(np.arange(counts.shape[axis] - side), axis) == side
    return whole


def fitting_crop(
    valid: Sequence[Mask | None], sizes: Sequence[int], crop: tuple[int, ...], multiple: int
) -> tuple[int, ...]:
    """Return the largest crop, up to `crop`, that fits between what is no data in most images.

    Sides along Y and X shrink in steps of `multiple` down to four of them, until images without any place for a crop
    hold less than half of the pixels that are data.

    Parameters
    ----------
    valid : sequence of (bool array, shape (*sides), or None)
        For each image False where a pixel is no data.
    sizes : sequence of int
        Pixels of each image.
    crop : tuple of int
        Sides of the crops.
    multiple : int
        Sides are multiples of this.

    Raises
    ------
    InputError
        If there is no place for the smallest crop in any image.
    """
    pixels = [n if mask is None else int(mask.sum()) for mask, n in zip(valid, sizes, strict=True)]
    while any(mask is not None for mask in valid):
        room = [mask is None or bool(whole_crops(mask, crop).any()) for mask in valid]
        if all(room) or (any(room) and sum(p for p, r in zip(pixels, room, strict=True) if not r) < 0.5 * sum(pixels)):
            break
        if crop[-1] <= 4 * multiple:
            if any(room):
                break
            words = "x".join(map(str, crop))
            raise InputError(
                f"no image has a part of {words} pixels without pixels that are no data, which a crop to train on "
                "needs; give larger images, or --invalid none if these pixels are data"
            )
        crop = (*crop[:-2], crop[-1] - multiple, crop[-1] - multiple)
    return crop


def find_places(
    valid: Mask, crop: Sequence[int], without: Sequence[tuple[int, int]] | None, seed: int
) -> NDArray[np.int64]:
    """Return the first pixels of the crops that may be cut, shape (places, axes).

    Parameters
    ----------
    valid : bool array, shape (*sides)
        False where a pixel is no data.
    crop : sequence of int
        Sides of the crops.
    without : sequence of (int, int), optional
        First and one past the last pixel of a box that crops must not touch.
    seed : int
        Seed of the selection if there are more than `MOST_PLACES`.
    """
    whole = whole_crops(valid, crop)
    if without is not None:
        whole[tuple(slice(max(0, a - c + 1), b) for (a, b), c in zip(without, crop, strict=True))] = False
    flat = np.flatnonzero(whole)
    if len(flat) > MOST_PLACES:
        flat = np.random.default_rng(seed).choice(flat, MOST_PLACES, replace=False)
    return np.stack(np.unravel_index(flat, whole.shape), axis=1).astype(np.int64)
