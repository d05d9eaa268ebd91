"""A cut-off of confidence with a promise: conformal risk control of the false objects among those that are kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divseg.errors import ConfigError, InputError, counted

KEEP_ALL = -1.0
"""Cut-off below every score."""

LEAST_KEPT = 0.1
"""Part of the objects of an image by which false ones are divided, if fewer are kept."""


@dataclass(frozen=True)
class RiskCurve:
    """Mean risk over labelled images if only objects with a score above a cut-off are kept.

    Attributes
    ----------
    n_images : int
        Labelled images.
    cut : list of float
        Cut-offs, rising; the first keeps all objects and the last none of the labelled images.
    risk : list of float
        Mean over the images of :func:`image_risk` at each cut-off, in [0, 1], not rising.
    """

    n_images: int
    cut: list[float]
    risk: list[float]

    def __post_init__(self) -> None:
        cut, risk = np.asarray(self.cut, float), np.asarray(self.risk, float)
        if cut.ndim != 1 or cut.shape != risk.shape or not len(cut) or (np.diff(cut) <= 0).any():
            raise InputError("a risk curve needs as many risks as cut-offs, at least one, the cut-offs rising")
        if (np.diff(risk) > 0).any() or risk.min() < 0 or risk.max() > 1 or self.n_images < 1:
            raise InputError("a risk curve needs risks between 0 and 1 that do not rise, and at least one image")

    def cutoff(self, max_false: float) -> float:
        """Return the lowest cut-off that keeps the promise: keep objects with a score above it.

        Parameters
        ----------
        max_false : float
            Largest expected risk of a new image, between 0 and 1.

        Raises
        ------
        ConfigError
            If `max_false` is not between 0 and 1.
        InputError
            If there are too few images for any promise: it takes 1 / max_false - 1 of them.

        Notes
        -----
        Conformal risk control (Angelopoulos, Bates, Fisch, Lei & Schuster, ICLR 2024, arXiv 2208.02814, theorem 1):
        the smallest cut-off with ``n / (n + 1) * risk + 1 / (n + 1) <= max_false``. For images exchangeable with the
        labelled ones the expected risk is then at most `max_false`.
        """
        n = self.n_images
        check_promise(n, max_false)
        kept = (n * np.asarray(self.risk) + 1) / (n + 1) <= max_false + 1e-12
        return self.cut[int(np.argmax(kept))]  # the last always is: it keeps nothing


def check_promise(n_images: int, max_false: float) -> None:
    """Raise if so many labelled images cannot promise so small a fraction of false objects.

    Raises
    ------
    ConfigError
        If `max_false` is not between 0 and 1.
    InputError
        If there are fewer images than 1 / max_false - 1: a new image could be worse than all of them.
    """
    if not 0 < max_false < 1:
        raise ConfigError(f"max_false={max_false!r} is impossible; give a fraction between 0 and 1, such as 0.05")
    needed = math.ceil(1 / max_false - 1 - 1e-9)
    if n_images < needed:
        raise InputError(
            f"{counted(n_images, 'labelled image')} cannot promise at most {max_false:g} of false objects: "
            f"that takes at least {needed}; label more images, or allow {1 / (n_images + 1):.2g}"
        )


def image_risk(score: ArrayLike, hit: ArrayLike, cut: ArrayLike) -> NDArray[np.float64]:
    """Return the fraction of false objects among those with a score above each cut-off, in a form that never rises.

    False objects are divided by the number of kept ones, or by a tenth of the number of all if that is more; of each
    cut-off and all higher ones the largest value counts. So the risk is at least the fraction of false ones among
    the kept wherever a tenth of the objects or more are kept, and a single false object above all others
    does not make it 1. An image without objects has no risk.

    Parameters
    ----------
    score : array-like of float, shape (N,)
        Score of each object.
    hit : array-like of bool, shape (N,)
        Whether it is right.
    cut : array-like of float, shape (M,)
        Cut-offs, rising.

    Returns
    -------
    float64 array, shape (M,)
        In [0, 1].
    """
    values, false = np.asarray(score, float), ~np.asarray(hit, bool)
    if not len(values):
        return np.zeros(len(np.asarray(cut)))
    order = np.argsort(values, kind="stable")
    first = np.searchsorted(values[order], np.asarray(cut, float), side="right")
    wrong = np.concatenate([np.cumsum(false[order][::-1])[::-1], [0]])[first]
    kept = len(values) - first
    fraction = wrong / np.maximum(kept, LEAST_KEPT * len(values))
    return np.asarray(np.maximum.accumulate(fraction[::-1])[::-1])


def fit_risk(scores: Sequence[ArrayLike], hits: Sequence[ArrayLike]) -> RiskCurve:
    """Return the mean risk over labelled images, by cut-off.

    Parameters
    ----------
    scores, hits : sequence of arrays
        Of each image, as for :func:`image_risk`.

    Returns
    -------
    RiskCurve
        With a cut-off wherever the risk changes.
    """
    flat = [np.asarray(s, float) for s in scores]
    cut = np.unique(np.concatenate([[KEEP_ALL], *flat]))
    risk = np.mean([image_risk(s, h, cut) for s, h in zip(flat, hits, strict=True)], axis=0)
    changes = np.concatenate([[True], np.diff(risk) < 0])
    return RiskCurve(len(flat), cut[changes].tolist(), risk[changes].tolist())
