"""Readings of several samples of one page, fused into one text with a confidence for each word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from divseg.errors import InputError
from divseg.ocr.alignment import align
from divseg.ocr.lines import PageLine, group_lines
from divseg.ocr.reading import Box, Line, Reading
from divseg.ocr.vote import VotedWord, vote

EXISTENCE = 0.3
"""Least share of the readings that have a line, for it to be one."""


@dataclass(frozen=True)
class FusedWord:
    """A word of the fused text, where it stands in the image."""

    vote: VotedWord
    box: Box


@dataclass(frozen=True)
class FusedLine:
    """A line of the fused text, and the share of the readings that have it."""

    words: tuple[FusedWord, ...]
    existence: float

    @property
    def text(self) -> str:
        """The words with a space between them."""
        return " ".join(word.vote.text for word in self.words)


@dataclass(frozen=True)
class FusedReading:
    """The fused text of a page."""

    lines: tuple[FusedLine, ...]

    @property
    def text(self) -> str:
        """The lines, each ended by a line feed."""
        return "".join(f"{line.text}\n" for line in self.lines)

    def table(self) -> pd.DataFrame:
        """Return a row per word.

        Columns are `line` and `word` (numbers from 0), `text`, `confidence`, `alternatives` (texts with probabilities,
        the likeliest first, separated by spaces, ``-`` for nothing), `least_character` (confidence of the least certain
        character), `existence` of the line, and the box in pixels: `left`, `top`, `width`, `height`.
        """
        rows = []
        for y, line in enumerate(self.lines):
            for x, word in enumerate(line.words):
                v, box = word.vote, word.box
                rows.append(
                    {
                        "line": y,
                        "word": x,
                        "text": v.text,
                        "confidence": round(v.confidence, 4),
                        "alternatives": " ".join(
                            f"{option.text.replace(' ', '␣') or '-'}:{option.probability:.2f}"
                            for option in v.alternatives
                        ),
                        "least_character": round(min(letter.confidence for letter in v.letters), 4),
                        "existence": round(line.existence, 4),
                        "left": round(box.left, 1),
                        "top": round(box.top, 1),
                        "width": round(box.width, 1),
                        "height": round(box.height, 1),
                    }
                )
        return pd.DataFrame(rows, columns=COLUMNS)


COLUMNS = ["line", "word", "text", "confidence", "alternatives", "least_character", "existence"]
COLUMNS += ["left", "top", "width", "height"]


def fuse_readings(readings: Sequence[Reading], *, existence: float = EXISTENCE, weight: float = 1.0) -> FusedReading:
    r"""Fuse readings of samples of one page.

    Parameters
    ----------
    readings : sequence of Reading
        One at least, with boxes on the same image.
    existence : float
        Lines that a smaller share of the readings has are left out.
    weight : float
        As for :func:`divseg.ocr.vote.vote`.

    Returns
    -------
    FusedReading
        Without lines if there is no text.

    Raises
    ------
    InputError
        If there is no reading.

    Examples
    --------
    >>> from divseg.ocr import Box, Line, Reading, Word, fuse_readings
    >>> box = Box(0, 0, 30, 10)
    >>> samples = [Reading((Line((Word(text, box, 0.9),)),)) for text in ("cell", "ce1l", "cell", "cel")]
    >>> fused = fuse_readings(samples)
    >>> fused.text
    'cell\n'
    """
    if not readings:
        raise InputError("there is no reading to fuse; give one at least")
    lines = []
    for group in group_lines(readings):
        share = len(group.readings) / len(readings)
        if share >= existence:
            words = _words(list(group.readings.values()), group, weight)
            if words:
                lines.append(FusedLine(words, share))
    return FusedReading(tuple(lines))


def _words(lines: Sequence[Line], group: PageLine, weight: float) -> tuple[FusedWord, ...]:
    alignment = align(lines)
    box = group.box
    half = float(np.median([word.box.width / len(word.text) for line in lines for word in line.words])) / 2
    words = []
    for voted in vote(alignment, weight):
        start, end = voted.columns
        held = (alignment.codes[:, start:end] > 0).mean(axis=0) >= 0.5
        x = alignment.x[start:end][held] if held.any() else alignment.x[start:end]
        words.append(FusedWord(voted, Box(float(x.min()) - half, box.top, float(x.max()) + half, box.bottom)))
    return tuple(words)
