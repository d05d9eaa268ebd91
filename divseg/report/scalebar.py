"""A scale bar of a round length, for images whose pixel size is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

_MICRO = {"um", "µm", "μm", "micron", "microns", "micrometer", "micrometre", "micrometers", "micrometres"}
LARGEST = 480  # above this width in pixels the bar grows no thicker
_NONE = {"", "px", "pixel", "pixels", "nan", "none"}


@dataclass(frozen=True)
class PixelSize:
    """Size of a pixel along Y and X and its unit ("µm" for every way to write micrometre)."""

    y: float
    x: float
    unit: str


def pixel_size(y: float, x: float, unit: str) -> PixelSize | None:
    """Return the pixel size, or None when it is not known in a physical unit."""
    unit = unit.strip()
    if unit.lower() in _NONE or not (math.isfinite(y) and math.isfinite(x) and y > 0 and x > 0):
        return None
    return PixelSize(y, x, "µm" if unit.lower() in _MICRO else unit)


def round_length(longest: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that is at most `longest`."""
    power = 10.0 ** math.floor(math.log10(longest))
    # a hair of tolerance: 0.1 * 10 must count as 1
    return max(m * power for m in (1, 2, 5) if m * power <= longest * (1 + 1e-9))


def add_scale_bar(axes: Axes, width: int, height: int, size: PixelSize, font_size: float) -> None:
    """Draw a scale bar of at most a quarter of the width in the lower right corner.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Axes whose data coordinates are image pixels, Y downwards.
    width, height : int
        Size of the image shown, in pixels.
    size : PixelSize
        Pixel size; the bar lies along X.
    font_size : float
        Text size in points.
    """
    length = round_length(0.25 * width * size.x)
    pixels = length / size.x
    right, bottom = width * 0.965 - 0.5, height - 0.5 - 0.035 * width
    thick = max(0.011 * min(width, LARGEST), 0.5)
    bar = Rectangle((right - pixels, bottom - thick), pixels, thick, facecolor="white", edgecolor="black")
    axes.add_patch(bar)
    axes.annotate(
        f"{length:g} {size.unit}",
        (right - pixels / 2, bottom - thick),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        color="white",
        fontsize=font_size,
        fontweight="bold",
        parse_math=False,
        path_effects=[withStroke(linewidth=3, foreground="black")],
    )
