"""Pictures of one image: noisy, MMSE, standard deviation, consensus, a part of the samples, and the whole image."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from divseg.io import PixelSize, write_bytes
from divseg.report.image_data import ImageData
from divseg.report.style import encode
from divseg.results.overlay import confidence_map, draw, existence_colours, grey_limits, label_colours, to_grey

CROP = 360
LARGE_OBJECT = 60  # pixels; if objects are larger, twice the crop is shown, otherwise they would not fit in
MAX_BAR = 480  # pixels of image width above which the scale bar grows no thicker
_CELL = 720  # device pixels of one picture
_WIDTH = 4.0  # inches of it: the text size below refers to that
_NARROWEST = 600  # device pixels that a colour bar needs
_TEXT = 11.0


@dataclass(frozen=True)
class Region:
    """A rectangle of an image in pixels."""

    y: int
    x: int
    height: int
    width: int

    def of(self, image: np.ndarray) -> np.ndarray:
        """Cut the rectangle out of an image (Y, X)."""
        return image[self.y : self.y + self.height, self.x : self.x + self.width]


def region_to_show(shape: tuple[int, int], labels: np.ndarray | None) -> Region:
    """Choose the part of an image to show: all of a small one, otherwise the part with most objects.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the image.
    labels : numpy.ndarray or None
        Label image; without objects the middle is shown.

    Returns
    -------
    Region
        Sides of at most `CROP` pixels, twice that if the median object is larger than `LARGE_OBJECT` across;
        sides up to 7 % longer are shown whole.
    """
    crop = CROP
    if labels is not None and labels.any():
        areas = np.unique(labels[labels != 0], return_counts=True)[1]
        crop = 2 * CROP if np.sqrt(np.median(areas)) > LARGE_OBJECT else CROP
    height, width = (side if side <= 1.07 * crop else crop for side in shape)
    rest_y, rest_x = shape[0] - height, shape[1] - width
    if rest_y == rest_x == 0:
        return Region(0, 0, height, width)
    if labels is None or not labels.any():
        return Region(rest_y // 2, rest_x // 2, height, width)
    ys, xs = _centres(labels)
    best, corner = -1, (0, 0)
    for y in np.unique(np.linspace(0, rest_y, min(rest_y, 24) + 1).astype(int)):
        in_row = (ys >= y) & (ys < y + height)
        for x in np.unique(np.linspace(0, rest_x, min(rest_x, 24) + 1).astype(int)):
            count = int(np.count_nonzero(in_row & (xs >= x) & (xs < x + width)))
            if count > best:
                best, corner = count, (int(y), int(x))
    return Region(*corner, height, width)


@dataclass(frozen=True)
class Panel:
    """One picture: name of its file, title and figure."""

    key: str
    title: str
    figure: Figure


def image_panels(
    data: ImageData, objects: pd.DataFrame, region: Region, size: PixelSize | None
) -> tuple[list[Panel], tuple[float, float]]:
    """Draw the available pictures of a part of one image.

    Parameters
    ----------
    data : ImageData
        The image; it must hold at least one piece. Pieces that are None are left out.
    objects : pandas.DataFrame
        Rows of ``objects.csv`` of this image.
    region : Region
        The part of the image that is shown.
    size : PixelSize or None
        Pixel size for the scale bar of the first picture; None draws no bar.

    Returns
    -------
    panels : list of Panel
        Noisy image, MMSE, standard deviation, consensus.
    limits : tuple of float
        Grey limits common to the noisy image and the MMSE: their pooled 0.5 (with the noisy image 4) and 99.7
        percentiles within the region.
    """
    greys = [
        (key, title, region.of(image))
        for key, title, image in (
            ("noisy", "Noisy image", data.noisy),
            ("mmse", "MMSE: mean of the samples", data.mmse),
        )
        if image is not None
    ]
    # The dark tail of heavy noise would lift the background of every other picture to a middle grey.
    limits = grey_limits(*(image for *_, image in greys), low=0.5 if data.noisy is None else 4.0)
    painters: list[tuple[str, str, Callable[[Axes], ScalarMappable | None], str]] = []
    for key, title, image in greys:
        painters.append((key, title, _grey_painter(image, limits), ""))
    if data.std is not None:
        name = "standard deviation (intensity)"
        painters.append(("std", "Standard deviation of the samples", _std_painter(region.of(data.std)), name))
    if data.labels is not None:
        picture = _outlined(data, objects, region, limits)
        painters.append(("consensus", "Consensus", _confidence_painter(picture), "existence (fraction of samples)"))
    return [
        Panel(key, title, _figure(paint, region, legend, size if number == 0 else None))
        for number, (key, title, paint, legend) in enumerate(painters)
    ], limits


def sample_panels(data: ImageData, size: PixelSize | None) -> list[Panel]:
    """Draw a part of the posterior samples, and the same part of the noisy image, on one grey scale.

    Parameters
    ----------
    data : ImageData
        The image.
    size : PixelSize or None
        Pixel size for the scale bar of the first picture; None draws no bar.

    Returns
    -------
    list of Panel
        Empty if the run kept no samples of the image.
    """
    if data.crop is None:
        return []
    region = Region(data.crop.y, data.crop.x, *data.crop.samples.shape[1:])  # for its size
    images = [(f"sample{k}", f"Posterior sample {k}", image) for k, image in enumerate(data.crop.samples, 1)]
    limits = grey_limits(data.crop.samples)
    if data.detail is not None:
        images.insert(0, ("detail", "Noisy image, detail", data.detail))
    return [
        Panel(key, title, _figure(_grey_painter(image, limits), region, "", size if number == 0 else None))
        for number, (key, title, image) in enumerate(images)
    ]


def whole_image(data: ImageData, objects: pd.DataFrame, region: Region, size: PixelSize | None) -> Figure:
    """Draw the consensus on the whole image, thinned above 1400 pixels, with a frame around the region that is shown.

    Parameters
    ----------
    data : ImageData
        The image; it must have labels.
    objects : pandas.DataFrame
        Rows of ``objects.csv`` of this image.
    region : Region
        Framed in white.
    size : PixelSize or None
        Pixel size for the scale bar; None draws no bar.

    Returns
    -------
    matplotlib.figure.Figure
        At 100 pixels an inch one pixel of the figure is one pixel of the (thinned) image.
    """
    labels = data.labels
    assert labels is not None
    step = -(-max(labels.shape) // 1400)
    factor = 2 if max(labels.shape) <= 600 else 1
    back = _background(data)
    small = labels[::step, ::step]
    grey = np.zeros(small.shape, np.uint8)
    if back is not None:
        thin = back[::step, ::step]
        grey = to_grey(thin, grey_limits(thin))
    picture = draw(grey, small, existence_colours(small, objects), factor=factor, width=2, halo=True)
    height, width = picture.shape[:2]
    left, below, above = 10, 10, 10
    figure = Figure(figsize=((width + 2 * left) / 100, (height + below + above) / 100), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    axes = _axes_at(figure, left, above, width, height)
    _confidence_painter(picture)(axes)
    scaled = factor / step
    axes.add_patch(
        Rectangle(
            (region.x * scaled - 0.5, region.y * scaled - 0.5),
            region.width * scaled - 1,
            region.height * scaled - 1,
            fill=False,
            edgecolor="white",
            linewidth=1.5,
            linestyle=(0, (5, 3)),
        )
    )
    if size is not None:
        add_scale_bar(axes, width, height, PixelSize(size.y / scaled, size.x / scaled, unit=size.unit), 22)
    return figure


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
    thick = max(0.011 * min(width, MAX_BAR), 0.5)
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


def write_overlay(path: str | Path, image: np.ndarray, labels: np.ndarray) -> Path:
    """Write an overlay: every object with a crisp outline of one pixel, in six colours in turn.

    Parameters
    ----------
    path : path
        PNG file to write.
    image : numpy.ndarray
        Grey image, shape (Y, X); grey limits are its 0.5 and 99.7 percentiles.
    labels : numpy.ndarray
        Label image of the same shape, 0 = background.

    Returns
    -------
    pathlib.Path
        The file. Images below about 800 pixels are enlarged by a whole factor; images above 4096 pixels are
        thinned by a whole step.
    """
    step = max(1, -(-max(labels.shape) // 4096))
    image, labels = image[::step, ::step], labels[::step, ::step]
    grey = to_grey(image, grey_limits(image))
    factor = max(1, 800 // max(labels.shape))
    rgb = draw(grey, labels, label_colours(labels), factor=factor)
    write_bytes(path, encode(rgb))
    return Path(path)


def _figure(
    paint: Callable[[Axes], ScalarMappable | None], region: Region, legend: str, size: PixelSize | None
) -> Figure:
    """Draw one picture in whole device pixels, with a colour bar below it if it has a legend."""
    factor = max(1, round(_CELL / max(region.height, region.width)))
    height, width = region.height * factor, region.width * factor
    cell = max(width, _NARROWEST)
    dpi = cell / _WIDTH
    total = height + (round(0.72 * dpi) if legend else 0)
    figure = Figure(figsize=(_WIDTH, total / dpi), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    axes = _axes_at(figure, (cell - width) // 2, 0, width, height)
    scale = paint(axes)
    if size is not None:
        add_scale_bar(axes, region.width, region.height, size, _TEXT)
    if scale is not None:
        bar = _axes_at(figure, 0.1 * cell, height + round(0.1 * dpi), 0.8 * cell, round(0.13 * dpi))
        _colour_bar(figure, scale, bar, legend, _TEXT)
    return figure


def _axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Make axes at a position in device pixels from the upper left corner."""
    total_width, total_height = figure.get_size_inches() * figure.dpi
    box = (left / total_width, 1 - (top + height) / total_height, width / total_width, height / total_height)
    axes = figure.add_axes(box)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _show(axes: Axes, rgb: np.ndarray, width: int, height: int) -> None:
    # nearest: what the reader sees are the pixels, not an interpolation between them
    axes.imshow(rgb, interpolation="nearest", aspect="auto", extent=(-0.5, width - 0.5, height - 0.5, -0.5))


def _grey_painter(image: np.ndarray, limits: tuple[float, float]) -> Callable[[Axes], ScalarMappable | None]:
    def paint(axes: Axes) -> None:
        _show(axes, np.repeat(to_grey(image, limits)[:, :, None], 3, axis=2), image.shape[1], image.shape[0])

    return paint


def _std_painter(image: np.ndarray) -> Callable[[Axes], ScalarMappable | None]:
    def paint(axes: Axes) -> ScalarMappable:
        top = grey_limits(image)[1]
        scale = ScalarMappable(Normalize(0, top if top > 0 else 1.0), "magma")
        filled = np.nan_to_num(image.astype(float), nan=0.0, posinf=0.0, neginf=0.0)
        _show(axes, scale.to_rgba(filled)[:, :, :3], image.shape[1], image.shape[0])
        return scale

    return paint


def _confidence_painter(
    picture: tuple[np.ndarray, int] | np.ndarray,
) -> Callable[[Axes], ScalarMappable | None]:
    rgb, factor = picture if isinstance(picture, tuple) else (picture, 1)

    def paint(axes: Axes) -> ScalarMappable:
        _show(axes, rgb, rgb.shape[1] // factor, rgb.shape[0] // factor)
        return ScalarMappable(Normalize(0, 1), confidence_map())

    return paint


def _outlined(
    data: ImageData, objects: pd.DataFrame, region: Region, limits: tuple[float, float]
) -> tuple[np.ndarray, int]:
    assert data.labels is not None
    labels = region.of(data.labels)
    back = _background(data)
    grey = to_grey(region.of(back), limits) if back is not None else np.zeros(labels.shape, np.uint8)
    factor = max(1, round(_CELL / max(labels.shape)))
    picture = draw(grey, labels, existence_colours(labels, objects), factor=factor, width=2 * factor, halo=True)
    return picture, factor


def _background(data: ImageData) -> np.ndarray | None:
    return data.noisy if data.mmse is None else data.mmse


def _colour_bar(figure: Figure, scale: ScalarMappable, axes: Axes, name: str, font_size: float) -> None:
    bar = figure.colorbar(scale, cax=axes, orientation="horizontal")
    bar.set_label(name, fontsize=font_size)
    bar.ax.tick_params(labelsize=font_size)
    bar.outline.set_visible(False)


def _centres(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ys, xs = np.nonzero(labels)
    _, inverse = np.unique(labels[ys, xs], return_inverse=True)
    areas = np.bincount(inverse)
    return np.bincount(inverse, ys) / areas, np.bincount(inverse, xs) / areas
