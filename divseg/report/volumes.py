"""Pictures of a volume: what is shown of it as one plane, and its projections along each axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from divseg.io import PixelSize
from divseg.io.pixel_size import plane_distance
from divseg.results.overlay import draw, existence_colours, grey_limits, to_grey

_WIDTH, _TEXT, _LONGEST = 15.0, 15, 1200


@dataclass(frozen=True)
class Volume:
    """A volume of a run, of which the report shows planes and projections.

    Attributes
    ----------
    labels : numpy.ndarray or None
        Label image, shape (Z, Y, X), 0 = background.
    image : numpy.ndarray or None
        What it is drawn on: the mean of the samples or, without it, the noisy image, same shape.
    plane : int
        The plane that is shown.
    """

    labels: np.ndarray | None
    image: np.ndarray | None
    plane: int


def plane_to_show(labels: np.ndarray | None, depth: int) -> int:
    """Return the plane in the middle of the objects, or of the volume if there are none."""
    if labels is None or not labels.any():
        return depth // 2
    inside = np.flatnonzero(labels.any(axis=(1, 2)))
    return int((inside[0] + inside[-1]) // 2)


def projections_figure(volume: Volume, objects: pd.DataFrame, size: PixelSize | None) -> Figure | None:
    """Draw the largest intensity along each axis with the outlines of the objects, in the colour of their existence.

    Parameters
    ----------
    volume : Volume
        The volume.
    objects : pandas.DataFrame
        Rows of ``objects.csv`` of this image.
    size : PixelSize or None
        Gives the distance of planes: pictures from the side are as high as the volume is deep.

    Returns
    -------
    matplotlib.figure.Figure or None
        None without labels.
    """
    labels = volume.labels
    if labels is None:
        return None
    back = (
        np.zeros(labels.shape, np.uint8) if volume.image is None else to_grey(volume.image, grey_limits(volume.image))
    )
    depth = labels.shape[0] * (plane_distance(size) or 1.0)
    sides = (labels.shape[1:], (depth, labels.shape[2]), (depth, labels.shape[1]))
    widths = [width for _, width in sides]
    height = _WIDTH * max(high for high, _ in sides) / sum(widths)
    figure = Figure(figsize=(_WIDTH, height + 0.6), dpi=100, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3, width_ratios=widths, squeeze=False)[0]
    for along, (axes, (high, wide)) in enumerate(zip(panels, sides, strict=True)):
        seen = nearest_labels(labels, along)
        factor = max(1, _LONGEST // (3 * max(seen.shape)))
        picture = draw(back.max(axis=along), seen, existence_colours(seen, objects), factor=factor, halo=True)
        axes.imshow(picture, interpolation="nearest", extent=(0, wide, high, 0))
        axes.set_title(f"Along {'ZYX'[along]}", fontsize=_TEXT)
        axes.set_axis_off()
    return figure


def nearest_labels(labels: np.ndarray, axis: int) -> np.ndarray:
    """Return the first label that is met along an axis, 0 where there is none."""
    first = np.expand_dims((labels > 0).argmax(axis=axis), axis)
    return np.take_along_axis(labels, first, axis).squeeze(axis)
