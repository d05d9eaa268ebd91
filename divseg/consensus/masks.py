"""Label images as users give them: arrays, files, or what a segmenter found with a probability for each object."""

from __future__ import annotations

import os
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divseg.errors import InputError
from divseg.io import read_labels


@runtime_checkable
class Scored(Protocol):
    """A label image whose objects have a probability, such as StarDist gives."""

    @property
    def labels(self) -> NDArray[np.integer[Any]]:
        """Label image, 0 = background."""

    @property
    def label(self) -> NDArray[np.integer[Any]]:
        """Label of each object, shape (n,); those that no pixel has are passed over."""

    @property
    def prob(self) -> NDArray[np.floating[Any]]:
        """Probability of each object, shape (n,)."""


Mask: TypeAlias = "ArrayLike | str | os.PathLike[str] | Scored"
"""A label image: array, file, or with a probability for each object."""


def open_mask(mask: Mask, name: str) -> tuple[NDArray[Any], Scored | None]:
    """Return a label image as an integer array, and its probabilities where it has them.

    Raises
    ------
    InputError
        No label image, or a file that cannot be read; `name` is for the message.
    """
    if isinstance(mask, str | os.PathLike):
        return check_mask(read_labels(mask), name), None
    if not isinstance(mask, np.ndarray) and isinstance(mask, Scored):
        return check_mask(mask.labels, name), mask
    return check_mask(mask, name), None


def probabilities(scored: Scored, labels: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Return the probability of each of some labels, NaN for labels without one."""
    known = dict(zip(np.asarray(scored.label).tolist(), np.asarray(scored.prob, float).tolist(), strict=True))
    return np.array([known.get(label, np.nan) for label in labels.tolist()], float)


def check_mask(mask: Any, name: str) -> NDArray[Any]:
    """Return a label image as an integer array, or say what is wrong with it (:class:`InputError`)."""
    array = np.asarray(mask)
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    if array.dtype.kind not in "iu":
        raise InputError(
            f"{name} has dtype {array.dtype}, but a label image holds integers: convert it, "
            "for example with mask.astype('int32')"
        )
    if array.ndim not in (2, 3) or array.size == 0:
        raise InputError(f"{name} has shape {array.shape}; give label images with axes (Y, X) or (Z, Y, X)")
    if array.dtype.kind == "i" and (lowest := array.min()) < 0:
        raise InputError(f"{name} holds the negative label {lowest}; use 0 for background and positive labels")
    return array
