"""Votes of aligned readings, by character and by word.

References
----------
Good, "The population frequencies of species and the estimation of population parameters", Biometrika 40 (1953), after
Turing: the probability of what has not been seen is the share of what was seen once.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divseg.ocr.alignment import GAP, Alignment

ALTERNATIVES = 3
"""Alternatives that are told of each word and character."""


@dataclass(frozen=True)
class Option:
    """A text, empty for nothing, and its probability."""

    text: str
    probability: float


@dataclass(frozen=True)
class Vote:
    """What was decided for one word or character.

    Attributes
    ----------
    text : str
        The winner.
    confidence : float
        Its probability.
    alternatives : tuple of Option
        The next ones, the likeliest first.
    """

    text: str
    confidence: float
    alternatives: tuple[Option, ...]


@dataclass(frozen=True)
class VotedWord(Vote):
    """A word with the votes on its characters, and the columns of the alignment from which it was made."""

    letters: tuple[Vote, ...]
    columns: tuple[int, int]


def vote(alignment: Alignment, weight: float = 1.0) -> list[VotedWord]:
    """Decide on the words of a line.

    A column's characters are weighted by the share of the readings that have them; columns in which the space wins part
    the words. The probability of a word is a mixture of two estimates: the share of the readings with exactly this
    word, and the product of the shares of its characters, as if the columns were independent. The second knows words
    that no reading has, and its weight is the estimate of Good and Turing for these: the share of the readings whose
    word no other reading has.

    Parameters
    ----------
    alignment : Alignment
        The readings of one line.
    weight : float
        A reading's vote counts as its engine's mean confidence in the line to this power; 0 makes all equal.
    """
    codes = alignment.codes
    present = codes > GAP
    surety = alignment.confidence.sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    weights = np.maximum(surety, 1e-3) ** weight
    weights = weights / weights.sum()
    shares = np.stack([weights @ (codes == code) for code in range(len(alignment.alphabet) + 1)], axis=1)
    winners = shares.argmax(axis=1)
    space = alignment.alphabet.find(" ") + 1  # 0, which never wins over itself, if there is none
    breaks = np.flatnonzero((winners == space) & (winners != GAP))
    words = []
    for start, end in zip([0, *(breaks + 1)], [*breaks, len(winners)], strict=True):
        if (winners[start:end] != GAP).any():
            word = _word(alignment, slice(int(start), int(end)), weights, shares, winners)
            if word.text:
                words.append(word)
    return words


def _word(
    alignment: Alignment,
    part: slice,
    weights: NDArray[np.float64],
    shares: NDArray[np.float64],
    winners: NDArray[np.intp],
) -> VotedWord:
    columns = np.arange(part.start, part.stop)
    paths = [tuple(int(c) for c in row) for row in alignment.codes[:, part]]
    by_path: dict[tuple[int, ...], float] = {}
    for path, weight in zip(paths, weights, strict=True):
        by_path[path] = by_path.get(path, 0.0) + float(weight)
    by_path.setdefault(tuple(int(c) for c in winners[part]), 0.0)
    share: defaultdict[str, float] = defaultdict(float)
    product: defaultdict[str, float] = defaultdict(float)
    readers: defaultdict[str, int] = defaultdict(int)
    for path in paths:
        readers[" ".join(alignment.text(path).split())] += 1
    likeliest: dict[str, tuple[float, tuple[int, ...]]] = {}
    for path, weight in by_path.items():
        text = " ".join(alignment.text(path).split())
        chance = float(shares[columns, list(path)].prod())
        share[text] += weight
        product[text] += chance
        likeliest[text] = max(likeliest.get(text, (-1.0, path)), (chance, path))
    unseen = sum(share[text] for text, count in readers.items() if count == 1)
    probability = {text: (1 - unseen) * share[text] + unseen * product[text] for text in share}
    ranked = sorted(probability.items(), key=lambda item: (-item[1], item[0]))
    best, confidence = ranked[0]
    options = tuple(Option(text, p) for text, p in ranked[1 : ALTERNATIVES + 1])
    path = likeliest[best][1]
    letters = tuple(_letter(alignment, shares[c], code) for c, code in zip(columns, path, strict=True) if code)
    return VotedWord(best, confidence, options, letters, (part.start, part.stop))


def _letter(alignment: Alignment, shares: NDArray[np.float64], code: int) -> Vote:
    order = [int(c) for c in np.argsort(-shares, kind="stable") if c != code and shares[c] > 0]
    options = tuple(Option(alignment.text([c]), float(shares[c])) for c in order[:ALTERNATIVES])
    return Vote(alignment.text([code]), float(shares[code]), options)
