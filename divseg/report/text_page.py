"""The page of ``divseg ocr``: every text with its doubtful words marked, and each of them as a small picture."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from divseg.errors import printable
from divseg.io import write_text
from divseg.report.style import encode
from divseg.results.files import read_image
from divseg.results.layout import RunLayout
from divseg.results.overlay import enlarge, grey_limits, to_grey
from divseg.results.reader import read_table

MOST = 200
"""Doubtful words that are shown as pictures, the least certain ones."""
ENLARGE, AROUND = 3, 4
"""Enlargement of a picture, and pixels that it shows around the word."""


@dataclass(frozen=True)
class ShownWord:
    """A word on the page."""

    text: str
    confidence: float
    alternatives: list[tuple[str, str]]
    doubtful: bool


@dataclass(frozen=True)
class Doubt:
    """A doubtful word with its picture."""

    image: str
    line: int
    word: ShownWord
    picture: str


def write_text_page(layout: RunLayout, names: Sequence[str], doubtful: float) -> Path:
    """Write ``report.html`` of the run folder of ``divseg ocr``: one file that needs nothing else.

    Parameters
    ----------
    layout : RunLayout
        Names of the files.
    names : sequence of str
        Images that were read.
    doubtful : float
        Words below this confidence are marked.
    """
    tables = {name: read_table(layout.words(name)) for name in names}
    doubts = sorted(
        (float(confidence), name, k)
        for name, table in tables.items()
        for k, confidence in enumerate(table["confidence"])
        if confidence < doubtful
    )
    images: dict[str, NDArray[np.float32]] = {}
    rows = []
    for _, name, k in doubts[:MOST]:
        image = images[name] if name in images else images.setdefault(name, read_image(layout.denoised(name)))
        row = tables[name].iloc[k]
        rows.append(Doubt(name, int(row["line"]) + 1, _shown(row, doubtful), _picture(image, row)))
    texts = {
        name: [[_shown(row, doubtful) for _, row in line.iterrows()] for _, line in table.groupby("line")]
        for name, table in tables.items()
    }
    environment = Environment(
        loader=PackageLoader("divseg.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    html = environment.get_template("text_page.html.j2").render(
        title=layout.folder.resolve().name,
        texts=texts,
        doubts=rows,
        total=sum(len(table) for table in tables.values()),
        n_doubtful=len(doubts),
        limit=doubtful,
    )
    write_text(layout.report, printable(html, lines=True))
    return layout.report


def _shown(row: pd.Series, doubtful: float) -> ShownWord:
    told = str(row["alternatives"]) if isinstance(row["alternatives"], str) else ""
    options = [(text, chance) for text, _, chance in (part.rpartition(":") for part in told.split())]
    return ShownWord(str(row["text"]), float(row["confidence"]), options, bool(row["confidence"] < doubtful))


def _picture(image: NDArray[np.float32], row: pd.Series) -> str:
    """Return the place of a word in the image as the address of a PNG."""
    height, width = image.shape
    top, left = max(int(row["top"]) - AROUND, 0), max(int(row["left"]) - AROUND, 0)
    bottom = min(int(np.ceil(row["top"] + row["height"])) + AROUND, height)
    right = min(int(np.ceil(row["left"] + row["width"])) + AROUND, width)
    part = image[min(top, height - 1) : max(bottom, top + 1), min(left, width - 1) : max(right, left + 1)]
    grey = enlarge(to_grey(part, grey_limits(image)), ENLARGE)
    return "data:image/png;base64," + base64.b64encode(encode(np.stack([grey] * 3, axis=-1))).decode("ascii")
