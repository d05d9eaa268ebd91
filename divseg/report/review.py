"""The objects to look at first: the least certain ones, as a list and as small pictures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from divseg.report.image_data import ImageData
from divseg.report.style import safe_text
from divseg.results.overlay import CONFIDENCE, UNKNOWN, draw, grey_limits, to_grey
from divseg.results.reader import column, text

_COLUMNS, _SIZE = 7, 200  # pictures in a row, and their side on the page in pixels


def review_figure(objects: pd.DataFrame, get: Callable[[str], ImageData]) -> Figure | None:
    """Draw a small picture around each object, its outline coloured by existence.

    Parameters
    ----------
    objects : pandas.DataFrame
        Rows as from :func:`divseg.results.queues.least_certain`.
    get : callable
        ``get(name)`` returns what the folder holds of an image.

    Returns
    -------
    matplotlib.figure.Figure or None
        None if none of the objects has labels and an image to be shown on.
    """
    rows = zip(text(objects, "image"), column(objects, "label"), column(objects, "existence"), strict=True)
    tiles = [
        (f"{number}. {safe_text(name, 16)} #{label:.0f}", tile)
        for number, (name, label, existence) in enumerate(rows, start=1)
        if np.isfinite(label) and (tile := _tile(get(name), label, existence)) is not None
    ]
    if not tiles:
        return None
    across, gap, title = min(_COLUMNS, len(tiles)), 14, 24
    down = -(-len(tiles) // across)
    width, height = across * (_SIZE + gap) + gap, down * (_SIZE + title) + gap
    figure = Figure(figsize=(width / 100, height / 100), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))  # one for all: twenty would take longer than all other charts
    axes.set_axis_off()
    for index, (words, tile) in enumerate(tiles):
        left = gap + (index % across) * (_SIZE + gap)
        top = (index // across) * (_SIZE + title) + title
        axes.imshow(tile, interpolation="nearest", extent=(left, left + _SIZE, top + _SIZE, top))
        place = (left + _SIZE / 2, top - 5)
        axes.text(*place, words, fontsize=9.5, ha="center", va="bottom", parse_math=False)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_aspect("auto")
    return figure


def _tile(data: ImageData, label: float, existence: float) -> np.ndarray | None:
    labels, back = data.labels, data.mmse if data.mmse is not None else data.noisy
    if labels is None or back is None:
        return None
    rows = np.flatnonzero((labels == label).any(axis=1))
    if not rows.size:
        return None
    cols = np.flatnonzero((labels[rows[0] : rows[-1] + 1] == label).any(axis=0))
    side = int(np.clip(2.2 * max(np.ptp(rows), np.ptp(cols)), 32, 400))
    window = tuple(
        slice(max(0, start), max(0, start) + side)
        for start in (
            min((int(rows[0]) + int(rows[-1]) - side) // 2 + 1, labels.shape[0] - side),
            min((int(cols[0]) + int(cols[-1]) - side) // 2 + 1, labels.shape[1] - side),
        )
    )
    part, image = labels[window], back[window]
    factor = max(1, _SIZE // side)
    colour = np.rint(255 * np.array(CONFIDENCE(existence)[:3])) if np.isfinite(existence) else UNKNOWN
    present = np.unique(part[part != 0])
    # neighbours in thin grey: what the object borders on
    table = np.where((present == label)[:, None], colour, 150).astype(np.uint8)
    only = np.where(part == label, part, 0)
    rgb = draw(to_grey(image, grey_limits(image)), part, (present, table), factor=factor)
    bold = draw(to_grey(image, grey_limits(image)), only, (present, table), factor=factor, width=2, halo=True)
    chosen = np.kron(only == label, np.ones((factor, factor), bool))
    rgb[chosen] = bold[chosen]
    return rgb
