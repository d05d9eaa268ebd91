"""Size and shape of the objects of a label image of a volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.io import PixelSize
from divseg.io.pixel_size import MICRO


def measure_volume(
    labels: NDArray[np.integer], n: int, size: PixelSize | None = None
) -> dict[str, NDArray[np.float64]]:
    """Return shape columns of the objects 1..n of a label image.

    Parameters
    ----------
    labels : integer array, shape (Z, Y, X)
        0 = background. Labels without voxels give NaN.
    n : int
        Largest label.
    size : PixelSize, optional
        Lengths in pixels count planes by their distance in pixels, 1 if it is not known. In µm, and known along all
        axes, it adds the columns in micrometres.

    Returns
    -------
    dict of str to float64 array, shape (n,)
        ``volume`` in voxels, ``volume_um3``; ``equivalent_diameter`` of the ball of the same volume; ``axis_major``,
        ``axis_middle`` and ``axis_minor`` of the ellipsoid of the same second moments (scikit-image's definition: 2
        sqrt(5 v) for a variance v along the axis); each of these also with the ending ``_um``; ``extent``, the volume
        by that of the bounding box; ``centroid_z_um``, ``centroid_y_um``, ``centroid_x_um``.
    """
    places = np.nonzero(labels)
    owner = labels[places].astype(np.int64) - 1
    count = np.bincount(owner, minlength=n)[:n].astype(np.float64)
    count[count == 0] = np.nan
    centre = [np.bincount(owner, place, minlength=n)[:n] / count for place in places]
    offsets = [place - mean[owner] for place, mean in zip(places, centre, strict=True)]
    moments = np.empty((n, 3, 3))
    for i in range(3):
        for j in range(3):
            moments[:, i, j] = np.bincount(owner, offsets[i] * offsets[j], minlength=n)[:n] / count
    boxes = ndi.find_objects(labels, max_label=n)
    box = np.array([np.nan if b is None else np.prod([side.stop - side.start for side in b]) for b in boxes])
    pixel = 1.0 if size is None else (size.y * size.x) ** 0.5
    steps = (1.0,) * 3 if size is None or size.z is None else (size.z / pixel, size.y / pixel, size.x / pixel)
    columns = {"volume": count, **_lengths(count, moments, steps), "extent": count / box}
    if size is None or size.z is None or size.unit != MICRO:
        return columns
    micro = (size.z, size.y, size.x)
    return {
        **columns,
        "volume_um3": count * np.prod(micro),
        **{f"{name}_um": values for name, values in _lengths(count, moments, micro).items()},
        **{f"centroid_{axis}_um": place * step for axis, place, step in zip("zyx", centre, micro, strict=True)},
    }


def _lengths(
    count: NDArray[np.float64], moments: NDArray[np.float64], steps: Sequence[float]
) -> dict[str, NDArray[np.float64]]:
    """Return diameter and axes of objects of so many voxels, whose sides are `steps` long."""
    scaled = moments * np.outer(steps, steps)
    variances = np.full((len(count), 3), np.nan)
    known = ~np.isnan(count)
    if known.any():
        variances[known] = np.linalg.eigvalsh(scaled[known])
    minor, middle, major = (2 * np.sqrt(5 * np.maximum(variance, 0)) for variance in variances.T)
    diameter = np.cbrt(6 / np.pi * count * np.prod(steps))
    return {"equivalent_diameter": diameter, "axis_major": major, "axis_middle": middle, "axis_minor": minor}
