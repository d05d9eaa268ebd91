"""The table of measurements of the objects of one image: sizes, shape, intensities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from divseg.errors import InputError
from divseg.io import PixelSize
from divseg.io.pixel_size import MICRO
from divseg.metrics.intensity import Regions, channel_columns
from divseg.metrics.posterior import Moments, posterior_columns
from divseg.metrics.shape import axes, measure_shape


def measure_objects(
    labels: NDArray[np.integer],
    raw: ArrayLike,
    *,
    channels: Sequence[str] = ("",),
    denoised: ArrayLike | None = None,
    samples: Iterable[tuple[NDArray[np.integer], Moments]] | None = None,
    valid: NDArray[np.bool_] | None = None,
    pixel_size: PixelSize | None = None,
) -> pd.DataFrame:
    """Measure every object of a label image.

    Parameters
    ----------
    labels : integer array, shape (Y, X)
        0 = background.
    raw : array_like, shape (C, Y, X)
        The channels as they were recorded.
    channels : sequence of str
        Their names; ``""`` for a channel whose columns need none.
    denoised : array_like, shape (Y, X), optional
        Posterior mean of the channel that was denoised.
    samples : iterable of (integer array, Moments), optional
        Label image of each posterior sample, and the intensity of its objects in that sample; seen one by one. It
        needs the posterior mean.
    valid : bool array, shape (Y, X), optional
        Pixels that are data.
    pixel_size : PixelSize, optional
        Adds the columns in micrometres, if its unit is µm.

    Returns
    -------
    DataFrame
        A row for each label that has pixels, in ascending order: ``label``; the shape of
        :func:`divseg.metrics.shape.measure_shape`, with lengths in micrometres beside those in pixels (``..._um``,
        ``area_um2``, ``centroid_y_um``, ``centroid_x_um``; the perimeter only if pixels are square); ``raw_...`` of
        each channel and ``denoised_...`` of the posterior mean, as :class:`divseg.metrics.intensity.Regions` measures
        them; and with samples ``posterior_...`` (:func:`divseg.metrics.posterior.posterior_columns`).

    Raises
    ------
    InputError
        If the shapes differ.
    """
    image = np.asarray(raw)
    if image.shape != (len(channels), *labels.shape):
        raise InputError(f"measure: image {image.shape} for {len(channels)} channels and labels {labels.shape}")
    n = int(labels.max(initial=0))
    shape = measure_shape(labels, n)
    columns: dict[str, NDArray[np.float64]] = {}
    moments = [shape.pop(name) for name in ("_yy", "_xx", "_xy")]
    centroid = [shape.pop(name) for name in ("_y", "_x")]
    micrometres = _micrometres(shape, moments, centroid, pixel_size)
    for name, values in shape.items():
        columns[name] = values
        columns |= {other: micrometres.pop(other) for other in (f"{name}_um", f"{name}_um2") if other in micrometres}
    columns |= micrometres
    regions = Regions(labels, n, valid)
    columns |= channel_columns(regions, image, channels)
    if denoised is not None:
        columns |= channel_columns(regions, np.asarray(denoised)[None], [""], "denoised")
        if samples is not None:
            columns |= posterior_columns(labels, n, samples, columns["denoised_background"])
    present = np.flatnonzero(~np.isnan(shape["area"]))
    table = pd.DataFrame({"label": present + 1, **{name: values[present] for name, values in columns.items()}})
    return table.astype({"area": np.int64, "euler_number": np.int64})


def _micrometres(
    shape: dict[str, NDArray[np.float64]],
    moments: Sequence[NDArray[np.float64]],
    centroid: Sequence[NDArray[np.float64]],
    size: PixelSize | None,
) -> dict[str, NDArray[np.float64]]:
    """Return the columns in micrometres; none without a pixel size in µm."""
    if size is None or size.unit != MICRO:
        return {}
    yy, xx, xy = moments
    real = axes(yy * size.y**2, xx * size.x**2, xy * size.y * size.x)
    square = np.isclose(size.y, size.x, rtol=1e-3)
    return {
        "area_um2": shape["area"] * size.y * size.x,
        **({"perimeter_um": shape["perimeter"] * size.x} if square else {}),
        "axis_major_um": real["axis_major"],
        "axis_minor_um": real["axis_minor"],
        "centroid_y_um": centroid[0] * size.y,
        "centroid_x_um": centroid[1] * size.x,
    }
