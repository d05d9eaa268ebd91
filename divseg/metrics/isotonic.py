"""Two tools of calibration that assume no form: monotone regression and conformal margins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

from divseg.errors import InputError


@dataclass(frozen=True)
class Curve:
    """Monotone, piecewise linear map; constant beyond its ends.

    Attributes
    ----------
    x, y : list of float
        Knots, both ascending.
    """

    x: list[float]
    y: list[float]

    def __post_init__(self) -> None:
        x, y = np.asarray(self.x, float), np.asarray(self.y, float)
        if x.ndim != 1 or x.shape != y.shape or not len(x) or (np.diff(x) <= 0).any() or (np.diff(y) < 0).any():
            raise InputError("a calibration curve needs as many y as x, at least one, x rising and y not falling")

    def __call__(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the curve at `values`."""
        return np.interp(np.asarray(values, float), self.x, self.y)


def fit_curve(score: ArrayLike, hit: ArrayLike) -> Curve:
    """Fit the probability of a hit as a monotone function of a score.

    Parameters
    ----------
    score : array-like of float, shape (N,)
        Finite.
    hit : array-like of bool, shape (N,)

    Returns
    -------
    Curve
        Knots lie at the mean score of each level of the isotonic regression.

    Notes
    -----
    Pool adjacent violators, then a level of n objects with h hits gets (h + 1/2) / (n + 1), the posterior mean
    under Jeffreys' prior, so that three hits out of three do not become certainty; levels are pooled again where that
    breaks the order, and joined by straight lines (centred isotonic regression, Oron & Flournoy 2017,
    doi 10.1080/19466315.2017.1286256).
    """
    score, hit = np.asarray(score, float), np.asarray(hit, float)
    values, n = np.unique(score, return_counts=True)
    hits = np.bincount(np.searchsorted(values, score), hit, minlength=len(values))
    level = _levels(hits / n, n)
    count = np.bincount(level, n)
    share = (np.bincount(level, hits) + 0.5) / (count + 1)
    centre = np.bincount(level, values * n) / count
    again = _levels(share, count)
    weight = np.bincount(again, count)
    x = np.bincount(again, centre * count) / weight
    y = np.bincount(again, share * count) / weight
    return Curve(x.tolist(), np.maximum.accumulate(y).tolist())


def _levels(share: NDArray[np.float64], weight: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the level 0.. of the isotonic regression that each value belongs to."""
    blocks = isotonic_regression(share, weights=weight.astype(float)).blocks
    return np.repeat(np.arange(len(blocks) - 1), np.diff(blocks))


def conformal_margin(misses: NDArray[np.float64], coverage: float) -> float | None:
    """Return the margin that makes an interval cover a new value with the probability `coverage`.

    Parameters
    ----------
    misses : float64 array, shape (n,)
        By how much each true value lies outside its interval; negative inside.
    coverage : float
        In (0, 1).

    Returns
    -------
    float or None
        The ceil((n + 1) * coverage)-th smallest miss; None where n is too small for that (Romano et al., NeurIPS
        2019, eq. 5).
    """
    n = len(misses)
    rank = int(np.ceil((n + 1) * coverage - 1e-9))
    return float(np.sort(misses)[rank - 1]) if 1 <= rank <= n else None
