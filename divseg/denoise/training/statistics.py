"""Mean and standard deviation of the training images, which a few pixels cannot move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divseg.denoise.normalization import Normalization
from divseg.errors import InputError
from divseg.io.outliers import far_limits

REACH = 2.0
"""Values count up to this many times the distance of two quantiles beyond these (:func:`far_limits`)."""

_SAMPLE = 2**20
"""Pixels that the quantiles are taken from."""


def find_normalization(
    images: Sequence[NDArray[np.generic]], valid: Sequence[NDArray[np.bool_] | None]
) -> Normalization:
    """Return mean and standard deviation of each channel over all pixels that are data.

    Values beyond the limits of :func:`divseg.io.outliers.far_limits` count as the nearer of the two quantiles: where
    there are none, the result is the plain mean and standard deviation.

    Parameters
    ----------
    images : sequence of array, each (C, *sides)
        At least one.
    valid : sequence of (bool array, shape (*sides), or None)
        False where a pixel is no data.

    Raises
    ------
    InputError
        If all pixels have the same value.
    """
    channels = [_channel([image[c] for image in images], valid) for c in range(images[0].shape[0])]
    std = [s for _, s in channels]
    if min(std) <= 0:
        which = "" if len(std) == 1 else f" in channel {int(np.argmin(std))}"
        raise InputError(f"all pixels of all images have the same value{which}: there is nothing to train on")
    return Normalization(tuple(m for m, _ in channels), tuple(std))


def _channel(images: Sequence[NDArray[Any]], valid: Sequence[NDArray[np.bool_] | None]) -> tuple[float, float]:
    """Return mean and standard deviation of one channel."""
    pixels = list(zip(images, valid, strict=True))
    step = max(1, sum(image.size for image in images) // _SAMPLE)
    sample = np.concatenate([_data(*pair).ravel()[::step] for pair in pixels])
    limits, ends = far_limits(sample, REACH), far_limits(sample, 0.0)

    def parts() -> Iterator[NDArray[Any]]:
        for pair in pixels:
            part = _data(*pair)
            if limits is None or ends is None or (part.min() >= limits[0] and part.max() <= limits[1]):
                yield part
            else:
                high = np.where(part > limits[1], ends[1], part)
                yield np.where(part < limits[0], ends[0], high)

    count = sum(_data(*pair).size for pair in pixels)
    mean = sum(part.sum(dtype=np.float64) for part in parts()) / count
    square = sum(np.square(part.astype(np.float64) - mean).sum() for part in parts())
    return float(mean), float(np.sqrt(square / count))


def _data(image: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[Any]:
    return image if valid is None else image[valid]
