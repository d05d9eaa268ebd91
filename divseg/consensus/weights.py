"""Weights of samples as whole units, so that sums of votes are exact, and statistics of weighted values."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divseg.errors import InputError

UNIT = 2**20
"""Sum of the units of weights that are not in a simple ratio, about."""

SIMPLEST = 64
"""Largest number of units of the lightest sample that is tried for a simple ratio."""


def weight_units(weights: ArrayLike) -> NDArray[np.int64]:
    """Return whole numbers in the ratio of the weights.

    Weights that are in the ratio of small whole numbers, like 2 : 1 : 1 or 0.5 : 0.3 : 0.2, get these, the
    smallest ones; others are rounded to a sum of about UNIT. A weight above 0 gets at least 1.

    Parameters
    ----------
    weights : array-like of float, shape (K,)
        Only the ratios count.

    Returns
    -------
    int64 array, shape (K,)

    Raises
    ------
    InputError
        Not a list of numbers, negative, infinite or NaN, or none above 0.
    """
    try:
        values = np.asarray(weights, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"weights={weights!r} are not numbers; give one number for each sample") from None
    if values.ndim != 1:
        raise InputError(f"weights has shape {values.shape}; give one number for each sample")
    if not (np.isfinite(values).all() and (values >= 0).all() and (values > 0).any()):
        raise InputError("weights must be finite, not negative, and not all zero")
    # relative to the largest one first: sums of very large numbers may overflow
    relative = values / values.max()
    lightest = relative[values > 0].min()
    if lightest * UNIT > 1:
        for smallest in range(1, SIMPLEST + 1):
            ratio = relative * (smallest / lightest)
            whole = np.rint(ratio)
            if whole.sum() <= UNIT and np.allclose(ratio, whole, rtol=1e-9, atol=0):
                return np.asarray(whole, np.int64)
    units = np.rint(relative / relative.sum() * UNIT).astype(np.int64)
    return np.where(values > 0, np.maximum(units, 1), 0)


def effective_number(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kish's effective number of samples, (sum w)^2 / sum w^2 along the last axis; 0 if all weights are 0."""
    squares = (weights**2).sum(axis=-1)
    return np.divide(weights.sum(axis=-1) ** 2, squares, out=np.zeros(squares.shape), where=squares > 0)


def weighted_quantiles(
    values: NDArray[np.float64], weights: NDArray[np.float64], quantiles: tuple[float, ...]
) -> NDArray[np.float64]:
    """Quantiles of weighted values along the last axis; NaN if nothing has weight.

    The estimator of type 7 of Akinshin (2023, arXiv 2304.07265, section 4): the weights of the ordered values
    are averaged over a window that is one effective sample wide. With equal weights it is that of
    ``numpy.quantile``; a value of weight 0 has no effect; small changes of the weights have small effects.

    Parameters
    ----------
    values, weights : float arrays, shape (..., K)
        Values of weight 0 may be NaN.
    quantiles : tuple of Q floats
        Levels from 0 to 1.

    Returns
    -------
    float64 array, shape (Q, ...)
    """
    order = np.argsort(values, axis=-1, kind="stable")
    values = np.take_along_axis(values, order, axis=-1)
    weights = np.take_along_axis(weights, order, axis=-1)
    total = weights.sum(axis=-1, keepdims=True)
    fraction = np.divide(weights, total, out=np.zeros(weights.shape), where=total > 0)
    upper = np.cumsum(fraction, axis=-1)
    number = effective_number(weights)[..., None]
    width = np.divide(1.0, number, out=np.ones(number.shape), where=number > 0)
    defined = np.where(weights > 0, values, 0.0)
    result = np.empty((len(quantiles), *values.shape[:-1]))
    for i, q in enumerate(quantiles):
        begin = q * (1 - width)
        covered = np.clip(upper, begin, begin + width) - np.clip(upper - fraction, begin, begin + width)
        result[i] = (defined * covered).sum(axis=-1) / width[..., 0]
    return np.where(total[..., 0] > 0, result, np.nan)
