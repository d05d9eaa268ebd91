"""Fewer digits for numbers that have an error: what a file then needs is what they tell.

The last digits of a posterior mean are chance, and chance cannot be compressed. Zender, "Bit Grooming", Geosci. Model
Dev. 9 (2016), keeps the digits that are significant and rounds the others off, so that any lossless compression works.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

STEPS = 8
"""Steps in the median posterior standard deviation, at least: rounding then moves a pixel by 1/28 of it (root mean
square), a fifth of the error that the mean of 32 samples has."""

BITS = 6
"""Significant binary digits of a standard deviation: it is off by at most 1/64 of its value; that of 32 samples has an
error of an eighth."""


def step_of(std: ArrayLike) -> float:
    """Return the step to which a mean may be rounded: a power of two, or 0 if there is none.

    Parameters
    ----------
    std : array_like
        Standard deviation of each pixel; what is not finite or 0 is left out.
    """
    values = np.asarray(std)
    values = values[np.isfinite(values) & (values > 0)]
    return 2.0 ** math.floor(math.log2(float(np.median(values)) / STEPS)) if values.size else 0.0


def to_step(image: NDArray[np.float32], step: float) -> NDArray[np.float32]:
    """Return an image rounded to multiples of a step, a power of two; as it is if the step is 0."""
    return image if step == 0 else np.asarray(np.rint(image * np.float32(1 / step)) * np.float32(step), np.float32)


def to_bits(image: NDArray[np.float32], bits: int = BITS) -> NDArray[np.float32]:
    """Return an image with that many significant binary digits; 0 and what is not finite stay."""
    mantissa, exponent = np.frexp(image)
    return np.asarray(np.ldexp(np.rint(mantissa * 2**bits) / 2**bits, exponent), np.float32)
