"""Images among those of a training that no single camera setting explains: other scales, other offsets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from divseg.errors import some

NOISE_RATIO = 6.0
"""Ratio of the noise to that of most images: of Poisson noise, 36 times the signal."""

RANGES = 5.0
"""Distance from the usual intensities, in their range: a field that is full of cells is brighter than an empty one."""

_SAMPLE = 2**18
_MAD = 1.4826 / 2**0.5


def unlike_others(
    names: Sequence[str], images: Sequence[NDArray[np.generic]], valid: Sequence[NDArray[np.bool_] | None]
) -> str | None:
    """Return a warning that names the images whose intensities are not of the camera setting of most others.

    An image is named if its noise (from differences of neighbours) is more than `NOISE_RATIO` times larger or smaller
    than the median of all images, or if its intensities, from the first to the 99th percentile, lie more than `RANGES`
    times their usual range from the usual ones, the medians of these percentiles.

    Parameters
    ----------
    names : sequence of str
        A name for each image.
    images : sequence of array, each (C, *sides)
        The first channel is looked at.
    valid : sequence of (bool array, shape (*sides), or None)
        False where a pixel is no data.

    Returns
    -------
    str or None
        None if there are fewer than three images, or if all are alike.
    """
    if len(images) < 3:
        return None
    figures = np.array([_figures(image[0], mask) for image, mask in zip(images, valid, strict=True)])
    noise, low, high = figures.T
    usual, usual_low, usual_high = np.median(figures, axis=0)
    ratio = noise / usual if usual > 0 else np.ones_like(noise)
    far = RANGES * (usual_high - usual_low)
    odd = (ratio > NOISE_RATIO) | (ratio < 1 / NOISE_RATIO) | (low > usual_high + far) | (high < usual_low - far)
    if not odd.any() or odd.sum() > len(images) / 2:
        return None
    found = [
        f"{names[i]} (noise {noise[i]:.3g}, intensities {low[i]:.4g} to {high[i]:.4g})"
        for i in np.flatnonzero(odd).tolist()
    ]
    return (
        f"intensities that one camera setting does not explain: {some(found)}; most images have noise {usual:.3g}, "
        f"intensities {usual_low:.4g} to {usual_high:.4g}. One model does not fit both: run on them apart"
    )


def _figures(image: NDArray[np.generic], valid: NDArray[np.bool_] | None) -> tuple[float, float, float]:
    """Return standard deviation of the noise, and the first and 99th percentile."""
    pixels = image.reshape(-1, image.shape[-1])
    step = max(1, image.size // _SAMPLE)
    rows = pixels[::step].astype(np.float64)
    mask = np.ones(rows.shape, bool) if valid is None else valid.reshape(pixels.shape)[::step]
    if not (pairs := mask[:, 1:] & mask[:, :-1]).any():
        mask, pairs = np.ones_like(mask), np.ones_like(pairs)  # of filled pixels, then
    noise = _MAD * float(np.median(np.abs(np.diff(rows, axis=1))[pairs]))
    low, high = np.quantile(rows[mask], (0.01, 0.99))
    return noise, float(low), float(high)
