"""The objects to look at first: the least certain ones, as a list and as small pictures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from divseg.report.image_data import ImageData
from divseg.results.overlay import CONFIDENCE, UNKNOWN, draw, grey_limits, to_grey
from divseg.results.reader import column, text

SIZE = 200
"""Side of a picture on the page in pixels."""


def review_tiles(objects: pd.DataFrame, get: Callable[[str], ImageData]) -> list[np.ndarray | None]:
    """Draw a small picture around each object, its outline coloured by existence.

    Parameters
    ----------
    objects : pandas.DataFrame
        Rows as from :func:`divseg.results.queues.least_certain`.
    get : callable
        ``get(name)`` returns what the folder holds of an image.

    Returns
    -------
    list of (uint8 array, shape (Y, X, 3), or None)
        Of each row a picture; None for an object without labels or an image to be shown on.
    """
    rows = zip(text(objects, "image"), column(objects, "label"), column(objects, "existence"), strict=True)
    return [_tile(get(name), label, existence) if np.isfinite(label) else None for name, label, existence in rows]


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
    factor = max(1, SIZE // side)
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
