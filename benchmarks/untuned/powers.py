"""Powers of the figures that ``--segmenter auto`` ranks by, chosen on some sets so that the picks lose little there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import softmax

from divseg.workflow.segmenter_support import Support

FIGURES = ("objects", "stability", "explained", "explained_root", "edges", "sharpness")
RELATIVE = {"objects": "again", "edges": "edges"}
"""Figures that are relative to the largest of any candidate, and what they are made of."""
SMALLEST = 0.02
"""Figures below are taken for this, so that their logarithm is finite."""

TEMPERATURE, PENALTY, STARTS = 0.1, 0.02, 4
"""Softness of the choice while powers are fitted, weight of their sum of squares, and random starts."""


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
    """Return the powers of least expected loss on some sets, if a candidate is picked by a softmax of its score.

    Parameters
    ----------
    tables : sequence of Table
        The sets; each counts the same.
    seed : int
        Seed of the starts.

    Returns
    -------
    float64 array, shape (figures,)
        None of them below 0: every figure is better if it is larger.
    """
    figures, qualities = [t.figures() for t in tables], [t.quality for t in tables]

    def expected(powers: NDArray[np.float64]) -> float:
        losses = [q.max() - softmax(x @ powers / TEMPERATURE) @ q for x, q in zip(figures, qualities, strict=True)]
        return float(np.mean(losses) + PENALTY * powers @ powers)

    rng = np.random.default_rng(seed)
    starts = [np.full(len(FIGURES), 0.3), *rng.uniform(0, 1, (STARTS, len(FIGURES)))]
    fits = [minimize(expected, start, method="L-BFGS-B", bounds=[(0, None)] * len(FIGURES)) for start in starts]
    return np.asarray(min(fits, key=lambda fit: fit.fun).x)
