"""Powers of the figures that ``--segmenter auto`` ranks by, chosen on some sets so that the picks lose little there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from divseg.workflow.segmenter_support import Support

FIGURES = ("objects", "explained", "edges", "sharpness")
RELATIVE = {"objects": "again", "edges": "edges"}
"""Figures that are relative to the largest of any candidate, and what they are made of."""
SMALLEST = 0.02
"""Figures below are taken for this, so that their logarithm is finite."""

TRIED, BEST = 20_000, 40
"""Random powers that are tried, and the number of the best ones whose mean is taken."""


@dataclass(frozen=True)
class Table:
    """Candidates on one set.

    Attributes
    ----------
    names : tuple of str
        The candidates.
    support : float array, shape (candidates, images, fields of `Support`)
        What the samples say.
    score : float array, shape (candidates, images)
        mAP of the labels of the mean sample against the truth.
    """

    names: tuple[str, ...]
    support: NDArray[np.float64]
    score: NDArray[np.float64]

    @classmethod
    def load(cls, file: Path) -> Table:
        """Read what :meth:`benchmarks.untuned.sets.Left.table` has kept."""
        with np.load(file) as stored:
            return cls(tuple(stored["names"].tolist()), stored["support"], stored["score"])

    @property
    def quality(self) -> NDArray[np.float64]:
        """Mean mAP of each candidate."""
        return np.asarray(self.score.mean(axis=1))

    def figures(self) -> NDArray[np.float64]:
        """Return the logarithms of the figures of each candidate, (candidates, figures)."""
        means = self.support.mean(axis=1)
        columns = []
        for name in FIGURES:
            values = means[:, Support._fields.index(RELATIVE.get(name, name))]
            columns.append(values / max(values.max(), 1e-12) if name in RELATIVE else values)
        return np.log(np.clip(np.stack(columns, axis=1), SMALLEST, None))

    def loss(self, powers: NDArray[np.float64]) -> tuple[float, int]:
        """Return what the pick of these powers loses against the best candidate in hindsight, and the pick."""
        pick = int(np.argmax(self.figures() @ powers))
        return float(self.quality.max() - self.quality[pick]), pick


def fit_powers(tables: Sequence[Table], seed: int = 0) -> NDArray[np.float64]:
    """Return powers whose picks lose little on some sets: the mean of the best of many that are drawn at random.

    Parameters
    ----------
    tables : sequence of Table
        The sets; each counts the same.
    seed : int
        Seed of the powers that are tried.

    Returns
    -------
    float64 array, shape (figures,)
        None of them below 0, since every figure is better if it is larger; the first is 1, as a common factor of all
        changes no ranking.
    """
    tried = np.random.default_rng(seed).exponential(1.0, (TRIED, len(FIGURES)))
    tried /= tried.sum(axis=1, keepdims=True)
    losses = [t.quality.max() - t.quality[np.argmax(tried @ t.figures().T, axis=1)] for t in tables]
    best = np.argsort(np.mean(losses, axis=0), kind="stable")[:BEST]
    powers = tried[best].mean(axis=0)
    return np.asarray(powers / powers[0])
