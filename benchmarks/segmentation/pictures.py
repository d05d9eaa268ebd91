"""Pictures of the images on which the consensus gains and loses most against the MMSE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage as ndi

from benchmarks.segmentation.inputs import Input
from benchmarks.segmentation.results import Choice
from benchmarks.segmentation.rows import VIEWS_TUNED, Book, read_rows, result_of
from divseg.report.style import BLUE, GREEN, INK, ORANGE, new_chart

OURS, THEIRS = (VIEWS_TUNED, "consensus clustering"), "MMSE"
"""The first of ours that there is, against theirs."""
EACH = 2
"""Gains, and losses, that are shown."""
SIDE = 256
"""Side in pixels of what is shown of an image: where the two segmentations differ most."""


def extremes(
    book: Book, rows: Sequence[Input], folds: Sequence[tuple[Sequence[str], Mapping[str, Choice]]]
) -> Figure | None:
    """Draw noisy image, MMSE, both segmentations and the truth of the largest gains and losses in mAP.

    Parameters
    ----------
    book : Book
        Of one cell and segmenter.
    rows : sequence of Input
        Its inputs.
    folds : sequence
        Scored pictures and choices of each fold.
    """
    table = read_rows(book.rows, rows)
    if table.empty:
        return None
    wide = table.pivot_table(index="image", columns="input", values="map")
    ours = next((name for name in OURS if name in wide), None)
    if ours is None or THEIRS not in wide:
        return None
    scored = [name for names, _ in folds for name in names]
    gain = (wide[ours] - wide[THEIRS]).loc[lambda g: g.index.isin(scored)].dropna().sort_values()
    names = list(dict.fromkeys([*gain.index[::-1][:EACH], *gain.index[:EACH]]))
    if not names:
        return None
    figure, axes = new_chart(len(names), 5, 15.0, 3.2 * len(names))
    for line, name in enumerate(names):
        chosen = next(choices for members, choices in folds if name in members)
        scores = wide.loc[name]
        _draw(axes[5 * line : 5 * line + 5], book, rows, dict(chosen), name, scores.loc[[THEIRS, ours]])
    return figure


def _draw(
    axes: Sequence[Axes], book: Book, rows: Sequence[Input], chosen: dict[str, Choice], name: str, scores: pd.Series
) -> None:
    source = book.cell.source(name)
    by_name = {row.name: row for row in rows}
    theirs, ours = (
        result_of(source, by_name[who], rows, chosen, book.grid, book.cell.samples)[0][0] for who in scores.index
    )
    before, after = scores
    truth, mmse, noisy = source.picture.masks, source.image(("mmse",)), source.picture.noisy
    place = _window((theirs > 0) != (ours > 0))
    shown: list[tuple[str, Any, NDArray[np.integer] | None, str]] = [
        (f"{name[:16]}: noisy", noisy, None, INK),
        ("MMSE", mmse, None, INK),
        (f"MMSE: {before:.3f}", mmse, theirs, ORANGE),
        (f"consensus: {after:.3f} ({after - before:+.3f})", mmse, ours, BLUE),
        ("truth", mmse, truth, GREEN),
    ]
    for ax, (title, image, labels, colour) in zip(axes, shown, strict=True):
        low, high = np.percentile(image[place], [1, 99.7])
        ax.imshow(image[place], cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
        if labels is not None:
            ax.imshow(_outline(labels[place], colour), interpolation="nearest")
        ax.set_title(title, fontsize=10, loc="left", color=INK, parse_math=False)
        ax.set_axis_off()


def _window(differs: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the square in which most pixels differ."""
    density = ndi.uniform_filter(differs.astype(np.float32), SIDE, mode="constant")
    centre = np.unravel_index(int(density.argmax()), density.shape)
    starts = [max(0, min(int(c) - SIDE // 2, n - SIDE)) for c, n in zip(centre, differs.shape, strict=True)]
    return slice(starts[0], starts[0] + SIDE), slice(starts[1], starts[1] + SIDE)


def _outline(labels: NDArray[np.integer], colour: str) -> NDArray[np.float64]:
    """Return the inner outlines as an image with transparency, (Y, X, 4)."""
    rim = (labels > 0) & ((ndi.minimum_filter(labels, 3) != labels) | (ndi.maximum_filter(labels, 3) != labels))
    painted = np.zeros((*labels.shape, 4))
    painted[rim] = [*(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)), 1.0]
    return painted
