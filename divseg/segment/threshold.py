"""The level of an image, and the foreground above it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.segment.histogram import RULES, histogram, otsu
from divseg.segment.options import ThresholdOptions
from divseg.segment.pixelwise import local_level, sauvola_level


@dataclass(frozen=True, eq=False)
class Level:
    """What separates foreground from background.

    Attributes
    ----------
    low : float or float array of the image's shape
        Pixels above it are foreground, in the image's units; infinite where there is nothing to find.
    high : float, optional
        With hysteresis: only regions that also hold a pixel above this are foreground.
    """

    low: float | NDArray[np.floating]
    high: float | None = None


def find_level(image: NDArray[np.floating], method: str, options: ThresholdOptions) -> Level:
    """Choose the level of an image.

    Parameters
    ----------
    image : float array, shape (Y, X) or (Z, Y, X)
        Finite values.
    method : str
        A name of :data:`divseg.segment.options.METHODS`.
    options : ThresholdOptions
        Options of the method.

    Returns
    -------
    Level
        Infinite for an image of one value, except where the user fixed the level.
    """
    if isinstance(options.threshold, float):
        return Level(options.threshold)
    if isinstance(options.low, float) and isinstance(options.high, float):
        return Level(options.low, options.high)
    counted = histogram(image)
    if counted is None:
        return Level(np.inf)
    if method in RULES:
        return Level(RULES[method](counted))
    if method == "local":
        return Level(local_level(image, options.window, options.offset))
    if method == "sauvola":
        return Level(sauvola_level(image, options.window, options.k))
    middle = otsu(counted)
    above = image > middle
    back, fore = float(image[~above].mean(dtype=np.float64)), float(image[above].mean(dtype=np.float64))
    return Level(middle - options.band * (middle - back), middle + options.band * (fore - middle))


def foreground(image: NDArray[np.floating], level: Level, connectivity: int) -> NDArray[np.bool_]:
    """Return the pixels above a level.

    Parameters
    ----------
    image : float array, shape (Y, X) or (Z, Y, X)
        In the units of `level`.
    level : Level
        With ``high``, of the regions above ``low`` only those that reach above ``high`` are kept
        (hysteresis; Canny, IEEE Trans. PAMI 8, 1986).
    connectivity : int
        What makes a region, 1..ndim.

    Returns
    -------
    bool array, shape of `image`
    """
    mask = image > level.low
    if level.high is None:
        return mask
    regions, n = ndi.label(mask, ndi.generate_binary_structure(image.ndim, connectivity))
    strong = np.zeros(n + 1, bool)
    strong[regions[image > level.high]] = True
    strong[0] = False
    return strong[regions]
