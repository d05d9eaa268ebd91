"""How every figure looks, and how it becomes a PNG file: no pyplot, no global state."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from PIL import Image

# Okabe and Ito (2008): blue for what divseg says, orange for what needs attention, grey for baselines.
BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#7A8288", "#1E2429"
FONT = FontProperties(family="DejaVu Sans")  # ships with matplotlib: the same letters on every machine

CHART_DPI = 200


def new_chart(
    rows: int, columns: int, width: float, height: float, *, share_y: bool = False
) -> tuple[Figure, list[Axes]]:
    """Make an empty figure with a grid of axes, `width` by `height` inches."""
    figure = Figure(figsize=(width, height), dpi=CHART_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=share_y)
    return figure, list(axes.ravel())


def style_axes(axes: Axes, *, title: str = "", x: str = "", y: str = "", grid: str = "y", aside: str = "") -> None:
    """Give axes their title, a remark on its right, axis names, a light grid ("x" or "y") and text sizes."""
    sns.despine(ax=axes)
    axes.set_title(title, fontsize=11, loc="left", color=INK, fontweight="bold")
    axes.set_title(aside, fontsize=9.5, loc="right", color=ORANGE)
    axes.set_xlabel(x, fontsize=10, color=INK)
    axes.set_ylabel(y, fontsize=10, color=INK)
    axes.tick_params(which="both", labelsize=9.5, colors=INK)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#9AA3AA")
    axes.set_axisbelow(True)
    axes.grid(True, axis="x" if grid == "x" else "y", color="#E3E7EA", linewidth=0.8)


def logarithmic(axes: Axes, *, along: str) -> None:
    """Make one axis logarithmic, its ticks plain numbers at 1, 2 and 5 times powers of ten."""
    axis = axes.yaxis if along == "y" else axes.xaxis
    (axes.set_yscale if along == "y" else axes.set_xscale)("log")
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def safe_text(words: str, longest: int = 40) -> str:
    """Make any string safe to draw: letters the font lacks become a box, long strings lose their middle.

    Matplotlib would otherwise warn about every missing glyph. The page itself shows names unchanged.
    """
    font = get_font(findfont(FONT))
    words = "".join(letter if font.get_char_index(ord(letter)) else "\u25a1" for letter in words)
    if len(words) <= longest:
        return words
    half = (longest - 1) // 2
    return f"{words[:half]}\u2026{words[-half:]}"


def name_ticks(axes: Axes, names: Sequence[str], *, along: str = "y", rotation: float = 0, longest: int = 40) -> None:
    """Put names on the ticks 0, 1, 2, ... of one axis, taken literally (a "$" starts no formula)."""
    axis = axes.yaxis if along == "y" else axes.xaxis
    axis.set_ticks(range(len(names)))
    axis.set_ticklabels([safe_text(name, longest) for name in names])
    for label in axis.get_ticklabels():
        label.set_parse_math(False)
        if rotation:
            label.set(rotation=rotation, ha="right", rotation_mode="anchor")


def to_rgb(figure: Figure) -> np.ndarray:
    """Draw a figure: uint8 of shape (Y, X, 3)."""
    canvas = figure.canvas
    if not isinstance(canvas, FigureCanvasAgg):
        canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[:, :, :3])


def to_png(figure: Figure) -> bytes:
    """Draw a figure and return it as PNG; the same figure gives the same bytes."""
    return encode(to_rgb(figure))


def smaller(rgb: np.ndarray, png: bytes, limit: int = 300_000) -> tuple[str, bytes]:
    """Return a picture as it goes into the page: pictures of noise, which PNG cannot compress, as WebP.

    The file in ``plots/`` keeps every pixel; the page would grow by megabytes an image without this.
    """
    if len(png) <= limit:
        return "png", png
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "WEBP", quality=85, method=1)
    return "webp", stream.getvalue()


def encode(rgb: np.ndarray) -> bytes:
    """Encode an image of shape (Y, X, 3), uint8, as PNG."""
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(stream, "PNG", compress_level=2)
    return stream.getvalue()
