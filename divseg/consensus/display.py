"""A consensus as a picture and as HTML, for notebooks; matplotlib is imported on first use."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from skimage.segmentation import find_boundaries

from divseg.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from divseg.consensus.result import Consensus

ROWS = 5
"""Objects in the table of a notebook."""

COLUMNS = ("label", "existence", "mean_iou", "area", "area_q05", "area_q95")


def draw(consensus: Consensus, image: ArrayLike | None, ax: Axes) -> None:
    """Draw the outlines of the objects, coloured by existence, on an image; see :meth:`Consensus.plot`."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    labels = consensus.labels
    background = consensus.foreground if image is None else np.asarray(image)
    if background.shape != labels.shape:
        raise InputError(f"image has shape {background.shape} but the labels have shape {labels.shape}")
    if labels.ndim == 3:
        z = int(np.argmax(np.count_nonzero(labels, axis=(1, 2))))
        labels, background = labels[z], background[z]
        ax.set_title(f"z = {z}")
    low, high = np.percentile(background, [0.5, 99.7]) if image is not None else (0.0, 1.0)
    ax.imshow(background, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    existence = np.concatenate([[np.nan], consensus.objects["existence"]])[labels]
    outlines = np.ma.masked_where(~find_boundaries(labels, connectivity=1, mode="inner"), existence)
    # the dark end of plasma cannot be seen on a dark background
    colours = ListedColormap(colormaps["plasma"](np.linspace(0.32, 1.0, 256)))
    shown = ax.imshow(outlines, cmap=colours, vmin=0, vmax=1, interpolation="nearest")
    ax.figure.colorbar(shown, ax=ax, label="existence (fraction of samples)", shrink=0.8)
    ax.set_axis_off()


def to_html(consensus: Consensus) -> str:
    """Return counts, expected scores, the first objects and a picture as HTML."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    draw(consensus, None, figure.add_subplot())
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100)
    counts = consensus.counts
    facts = {
        "objects": len(consensus.objects),
        "objects per label image": f"{counts.mean():.1f} ({counts.min()} to {counts.max()})",
        "samples": consensus.n_samples,
        "method": html.escape(consensus.method),
        "shape": " x ".join(map(str, consensus.labels.shape)),
        **{f"expected {name}": f"{score:.3f}" for name, score in consensus.expected.items()},
    }
    rows = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in facts.items())
    table = consensus.objects[list(COLUMNS)].head(ROWS).to_html(index=False, float_format="{:.2f}".format)
    more = len(consensus.objects) - ROWS
    return (
        f'<div style="display: flex; gap: 1em"><table>{rows}</table><div>{table}'
        f"{f'and {more} more' if more > 0 else ''}</div>"
        f'<img alt="outlines" src="data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"></div>'
    )
