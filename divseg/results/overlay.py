"""Outlines of label images drawn on grey images, in plain NumPy and to the pixel."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import LinearSegmentedColormap, ListedColormap

from divseg.errors import InputError
from divseg.results.reader import column

# Plasma is ordered in lightness and safe for colour-blind readers; its darker half is left out because a dark
# outline cannot be seen on a dark background, and the doubtful objects are those to look at.
CONFIDENCE = LinearSegmentedColormap.from_list("existence", colormaps["plasma"](np.linspace(0.5, 1.0, 256)))
UNKNOWN = np.array([255, 255, 255], np.uint8)
# Okabe and Ito (2008), without black and dark blue: distinct for colour-blind readers, visible on dark grey.
CATEGORIES = np.array(
    [[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [213, 94, 0], [204, 121, 167]], np.uint8
)


def grey_limits(*images: np.ndarray, low: float = 0.5, high: float = 99.7) -> tuple[float, float]:
    """Return common grey limits of several images by percentiles of all their finite pixels.

    Parameters
    ----------
    *images : numpy.ndarray
        Images of any shape; those of one shape weigh alike.
    low, high : float
        Percentiles.

    Returns
    -------
    tuple of float
        Lower and upper limit, the upper always larger.
    """
    # At most about 1e5 pixels an image: percentiles of more would look the same.
    values = [image.ravel()[:: max(1, image.size // 100_000)].astype(float) for image in images if image.size]
    pooled = np.concatenate(values) if values else np.zeros(1)
    pooled = pooled[np.isfinite(pooled)]
    if not pooled.size:
        return 0.0, 1.0
    bottom, top = (float(v) for v in np.percentile(pooled, [low, high]))
    if top <= bottom:
        bottom, top = float(pooled.min()), float(pooled.max())
    return (bottom, top) if top > bottom else (bottom, bottom + 1.0)


def to_grey(image: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Scale an image (Y, X) to uint8 between two limits; pixels that are not finite become black."""
    scaled = (np.asarray(image, float) - limits[0]) / (limits[1] - limits[0])
    return np.rint(255 * np.clip(np.nan_to_num(scaled, nan=0.0, posinf=1.0, neginf=0.0), 0, 1)).astype(np.uint8)


def outlines(labels: np.ndarray, width: int = 1) -> np.ndarray:
    """Find the inner outline of every object.

    Parameters
    ----------
    labels : numpy.ndarray
        Label image, shape (Y, X), 0 = background.
    width : int
        Thickness in pixels.

    Returns
    -------
    numpy.ndarray
        Boolean, shape (Y, X): pixels of an object with another label within `width` pixels along an axis.
        Touching objects each keep their own outline; the edge of the image is not an outline.
    """
    edge = np.zeros(labels.shape, bool)
    for step in range(1, width + 1):
        for axis in (0, 1):
            if labels.shape[axis] <= step:
                continue
            near = np.take(labels, range(labels.shape[axis] - step), axis)
            far = np.take(labels, range(step, labels.shape[axis]), axis)
            differs = near != far
            head = [slice(None), slice(None)]
            tail = [slice(None), slice(None)]
            head[axis], tail[axis] = slice(None, -step), slice(step, None)
            edge[tuple(head)] |= differs
            edge[tuple(tail)] |= differs
    return edge & (labels != 0)


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Repeat every pixel `factor` times along Y and X."""
    return image if factor == 1 else image.repeat(factor, axis=0).repeat(factor, axis=1)


def existence_colours(labels: np.ndarray, objects: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels present in an image and their colours by existence.

    Parameters
    ----------
    labels : numpy.ndarray
        Label image, shape (Y, X).
    objects : pandas.DataFrame
        Rows of ``objects.csv`` of this image (columns ``label`` and ``existence``).

    Returns
    -------
    identities : numpy.ndarray
        Sorted labels that occur, without 0.
    colours : numpy.ndarray
        Shape (N, 3), uint8; white for objects without one.
    """
    present = _present(labels)
    colours = np.tile(UNKNOWN, (len(present), 1))
    existence = pd.Series(column(objects, "existence"), index=column(objects, "label"))
    existence = existence[~existence.index.duplicated()].reindex(present.astype(float))
    finite = existence.notna().to_numpy()
    colours[finite] = np.rint(255 * CONFIDENCE(existence.to_numpy()[finite])[:, :3]).astype(np.uint8)
    return present, colours


def label_colours(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels present in an image and one of six colours for each, in turn."""
    present = _present(labels)
    return present, CATEGORIES[np.arange(len(present)) % len(CATEGORIES)]


def draw(
    grey: np.ndarray,
    labels: np.ndarray,
    colours: tuple[np.ndarray, np.ndarray],
    *,
    factor: int = 1,
    width: int = 1,
    halo: bool = False,
) -> np.ndarray:
    """Draw coloured outlines on a grey image.

    Parameters
    ----------
    grey : numpy.ndarray
        Image, shape (Y, X), uint8.
    labels : numpy.ndarray
        Label image of the same shape.
    colours : tuple of numpy.ndarray
        Sorted labels (N,) and their colours (N, 3), as `existence_colours` returns them.
    factor : int
        Enlargement of the image; outlines are drawn after it.
    width : int
        Thickness of the outlines in pixels of the result.
    halo : bool
        Darken the background pixels next to an object, so that a bright outline shows on a bright image.

    Returns
    -------
    numpy.ndarray
        Shape (factor * Y, factor * X, 3), uint8.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    if grey.shape != labels.shape:
        raise InputError(f"overlay: image {grey.shape} and labels {labels.shape} differ in shape; give one image's")
    large = enlarge(labels, factor)
    rgb = np.repeat(enlarge(grey, factor)[:, :, None], 3, axis=2)
    if halo:
        around = outlines((large == 0).astype(np.uint8))
        rgb[around] = rgb[around] // 4
    edge = outlines(large, width)
    present, table = colours
    if len(present) and edge.any():
        rgb[edge] = table[np.searchsorted(present, large[edge])]
    return rgb


def confidence_map() -> ListedColormap:
    """Return the colours of existence from 0 to 1, for a colour bar."""
    return ListedColormap(CONFIDENCE(np.linspace(0, 1, 256)), name="existence")


def _present(labels: np.ndarray) -> np.ndarray:
    present = np.unique(labels)
    return present[present != 0]
