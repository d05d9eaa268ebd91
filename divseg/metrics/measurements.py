"""The table of measurements of the objects of one image: sizes, shape, intensities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from divseg.errors import InputError
from divseg.io import PixelSize
from divseg.io.pixel_size import MICRO, plane_distance
from divseg.metrics.intensity import Regions, channel_columns
from divseg.metrics.posterior import Moments, posterior_columns
from divseg.metrics.shape import axes, measure_shape
from divseg.metrics.shape_3d import measure_volume


def measure_objects(
    labels: NDArray[np.integer],
    raw: ArrayLike,
    *,
    channels: Sequence[str] = ("",),
    denoised: ArrayLike | None = None,
    samples: Iterable[tuple[NDArray[np.integer], Sequence[Moments]]] | None = None,
    valid: NDArray[np.bool_] | None = None,
    pixel_size: PixelSize | None = None,
) -> pd.DataFrame:
    """Measure every object of a label image.

    Parameters
    ----------
    labels : integer array, shape (Y, X) or (Z, Y, X)
        0 = background.
    raw : array_like, shape (C, *labels.shape)
        The channels as they were recorded.
    channels : sequence of str
        Their names; ``""`` for a channel whose columns need none.
    denoised : array_like, shape (D, *labels.shape), optional
        Posterior mean of the channels that were denoised, the first D of all.
    samples : iterable of (integer array, sequence of Moments), optional
        Label image of each posterior sample, and the intensity of its objects in the D channels of that sample; seen
        one by one. It needs the posterior mean.
    valid : bool array, shape of the labels, optional
        Pixels that are data.
    pixel_size : PixelSize, optional
        Adds the columns in micrometres, if its unit is µm.

    Returns
    -------
    DataFrame
        A row for each label that has pixels, in ascending order: ``label``; the shape of
        :func:`divseg.metrics.shape.measure_shape`, with lengths in micrometres beside those in pixels (``..._um``,
        ``area_um2``, ``centroid_y_um``, ``centroid_x_um``; the perimeter only if pixels are square), in volumes that of
        :func:`divseg.metrics.shape_3d.measure_volume`; ``raw_...`` of
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
    columns = _shape(labels, n, pixel_size) if labels.ndim == 2 else measure_volume(labels, n, pixel_size)
    regions = Regions(labels, n, valid, plane_distance(pixel_size))
    columns |= channel_columns(regions, image, channels)
    if denoised is not None:
        means = np.asarray(denoised)
        names = list(channels[: len(means)])
        columns |= channel_columns(regions, means, names, "denoised")
        if samples is not None:
            around = [columns[f"denoised_{name}_background" if name else "denoised_background"] for name in names]
            columns |= posterior_columns(labels, n, samples, around, names)
    whole = [name for name in ("area", "volume", "euler_number") if name in columns]
    present = np.flatnonzero(~np.isnan(columns[whole[0]]))
    table = pd.DataFrame({"label": present + 1, **{name: values[present] for name, values in columns.items()}})
    return table.astype(dict.fromkeys(whole, np.int64))


def _shape(labels: NDArray[np.integer], n: int, size: PixelSize | None) -> dict[str, NDArray[np.float64]]:
    """Return the shape columns of a plane, those in micrometres beside those in pixels."""
    shape = measure_shape(labels, n)
    moments = [shape.pop(name) for name in ("_yy", "_xx", "_xy")]
    centroid = [shape.pop(name) for name in ("_y", "_x")]
    micrometres = _micrometres(shape, moments, centroid, size)
    columns: dict[str, NDArray[np.float64]] = {}
    for name, values in shape.items():
        columns[name] = values
        columns |= {other: micrometres.pop(other) for other in (f"{name}_um", f"{name}_um2") if other in micrometres}
    return columns | micrometres


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
