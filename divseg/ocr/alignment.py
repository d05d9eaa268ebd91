"""Multiple alignment of the readings of one line: which characters stand in the same place.

Readings are aligned one after another to a network of columns, as ROVER aligns the outputs of speech recognisers, and
then all once more to the finished network (a star alignment whose centre is the consensus). Unlike words in time,
the characters have known places on the page, so a character is matched only to a column near it.

References
----------
Fiscus, "A post-processing system to yield reduced word error rates: Recognizer Output Voting Error Reduction (ROVER)",
IEEE Workshop on Automatic Speech Recognition and Understanding 1997; Needleman and Wunsch, "A general method applicable
to the search for similarities in the amino acid sequence of two proteins", J. Mol. Biol. 48 (1970).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divseg.ocr.reading import Line

GAP = 0
"""Code of a column in which a reading has no character."""
PLACE = 0.5
"""Cost of a character that lies half a line height from a column, beside the cost of 1 of a wrong character."""
FARTHEST = 1.0
"""Distance in line heights from which a character is never matched to a column."""


@dataclass(frozen=True)
class Letters:
    """The characters of one reading of a line, spaces between words included.

    Attributes
    ----------
    text : str
        The characters.
    x : (N,) array
        Their centres in pixels, as if those of a word had one width.
    confidence : (N,) array
        That of their word, of a space the mean of the words beside it.
    """

    text: str
    x: NDArray[np.float64]
    confidence: NDArray[np.float64]

    @classmethod
    def of(cls, line: Line) -> Letters:
        """Return the characters of a line."""
        x: list[float] = []
        confidence: list[float] = []
        for k, word in enumerate(line.words):
            if k:
                before = line.words[k - 1]
                x.append((before.box.right + word.box.left) / 2)
                confidence.append((before.confidence + word.confidence) / 2)
            step = word.box.width / len(word.text)
            x += [word.box.left + (i + 0.5) * step for i in range(len(word.text))]
            confidence += [word.confidence] * len(word.text)
        return cls(line.text, np.array(x), np.array(confidence))


@dataclass(frozen=True)
class Alignment:
    """Readings of a line in columns.

    Attributes
    ----------
    alphabet : str
        Characters by code from 1; code 0 is none.
    codes : (K, N) int array
        Character of each reading in each column, 0 if it has none there.
    confidence : (K, N) array
        The engine's confidence in it, 0 if there is none.
    x : (N,) array
        Mean place of each column's characters in pixels.
    """

    alphabet: str
    codes: NDArray[np.intp]
    confidence: NDArray[np.float64]
    x: NDArray[np.float64]

    def text(self, codes: Sequence[int] | NDArray[np.intp]) -> str:
        """Return the characters of codes, without gaps."""
        return "".join(self.alphabet[code - 1] for code in codes if code)


def align(lines: Sequence[Line], passes: int = 2) -> Alignment:
    """Align the readings of one line.

    Parameters
    ----------
    lines : sequence of Line
        One at least.
    passes : int
        How often all readings are aligned.

    Returns
    -------
    Alignment
        Every reading's characters stand in it completely and in their order; no column is empty.
    """
    readings = [Letters.of(line) for line in lines]
    alphabet = "".join(sorted({c for r in readings for c in r.text}))
    code_of = {c: code for code, c in enumerate(alphabet, start=1)}
    coded = [np.array([code_of[c] for c in r.text], np.intp) for r in readings]
    height = float(np.median([line.box.height for line in lines])) or 1.0
    first = sorted(range(len(lines)), key=lambda k: -lines[k].confidence)  # the surest makes the first columns
    network = _Network(len(lines), len(alphabet) + 1, height)
    for _ in range(passes):
        for k in first:
            network.add(k, coded[k], readings[k].x)
    return network.finish(alphabet, readings)


class _Network:
    """Columns with the characters that the readings so far have in them.

    `codes` is (K, N), -1 in rows of readings that are not there yet; `x` is (K, N), NaN where there is no character.
    """

    def __init__(self, readings: int, alphabet: int, height: float) -> None:
        self.height, self.size = height, alphabet
        self.codes = np.full((readings, 0), -1, np.intp)
        self.x = np.full((readings, 0), np.nan)

    def add(self, k: int, codes: NDArray[np.intp], x: NDArray[np.float64]) -> None:
        """Align reading `k` to the columns; what it had in them before is forgotten."""
        self.codes[k], self.x[k] = -1, np.nan
        used = (self.codes > GAP).any(axis=0)
        self.codes, self.x = self.codes[:, used], self.x[:, used]
        counts = np.stack([(self.codes == code).sum(axis=0) for code in range(self.size)], axis=1)
        there = max(int((self.codes >= 0).any(axis=1).sum()), 1)
        places = np.nanmean(self.x, axis=0) if self.x.shape[1] else np.empty(0)
        columns = match(codes, x, counts / there, places, self.height)
        new = np.flatnonzero(columns < 0)
        if len(new):
            # a new column stands before that of the next character which has one
            ends = np.append(columns, self.codes.shape[1])
            before = [int(next(c for c in ends[i:] if c >= 0)) for i in new]
            present = (self.codes >= 0).any(axis=1)
            self.codes = np.insert(self.codes, before, np.where(present, GAP, -1)[:, None], axis=1)
            self.x = np.insert(self.x, before, np.nan, axis=1)
            shift = np.searchsorted(before, columns[columns >= 0], side="right")
            columns[columns >= 0] += shift
            columns[new] = np.array(before) + np.arange(len(new))
        self.codes[k], self.x[k] = GAP, np.nan
        self.codes[k, columns], self.x[k, columns] = codes, x

    def finish(self, alphabet: str, readings: Sequence[Letters]) -> Alignment:
        """Return the columns that hold a character."""
        used = (self.codes > GAP).any(axis=0)
        codes, places = self.codes[:, used], np.nanmean(self.x[:, used], axis=0)
        confidence = np.zeros(codes.shape)
        for k, reading in enumerate(readings):
            confidence[k, codes[k] > GAP] = reading.confidence
        return Alignment(alphabet, codes, confidence, places)


def match(
    codes: NDArray[np.intp],
    x: NDArray[np.float64],
    shares: NDArray[np.float64],
    places: NDArray[np.float64],
    height: float,
) -> NDArray[np.intp]:
    """Return the column of each character of a reading in the cheapest alignment, -1 for one that needs a new column.

    Parameters
    ----------
    codes, x : (M,) array
        Characters of the reading, and their places in pixels.
    shares : (N, A) array
        Share of each code among the readings so far in each column, that of the gap first.
    places : (N,) array
        Places of the columns.
    height : float
        Height of the line in pixels.

    Returns
    -------
    (M,) int array
        Columns that are not -1 increase.
    """
    m, n = len(codes), len(places)
    away = np.abs(x[:, None] - places) / height
    change = 1 - shares[:, codes].T + 2 * PLACE * away + np.where(away < FARTHEST, 0.0, 2.0)
    skipped = np.concatenate([[0.0], np.cumsum(1 - shares[:, GAP])])  # of the first j columns
    cost = skipped.copy()
    diagonal, skip = np.zeros((m, n + 1), bool), np.zeros((m, n + 1), bool)
    for i in range(m):
        fresh = cost + 1  # the character makes a new column
        kept = np.concatenate([[np.inf], cost[:-1] + change[i]])
        diagonal[i] = kept <= fresh
        own = np.minimum(kept, fresh)
        cost = np.minimum.accumulate(own - skipped) + skipped
        skip[i] = cost < own - 1e-9
    columns = np.full(m, -1, np.intp)
    i, j = m - 1, n
    while i >= 0:
        if skip[i, j]:
            j -= 1
        elif diagonal[i, j]:
            columns[i] = j - 1
            i, j = i - 1, j - 1
        else:
            i -= 1
    return columns
