"""Label images as values: an integer array, perhaps with a probability of each object, and the one check of them."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divseg.errors import InputError


class LabelImage(np.ndarray):
    """Label image that may carry the probability of each of its objects.

    An ordinary integer array in every other way: what is computed from it, or cut out of it, is without `prob`.

    Parameters
    ----------
    labels : integer array, shape (Y, X) or (Z, Y, X)
        0 is background, objects have the labels 1..n.
    prob : float array, shape (n,), optional
        Probability of the object with label i + 1, such as StarDist's.

    Attributes
    ----------
    prob : float32 array, shape (n,), or None

    Examples
    --------
    >>> labels = LabelImage([[0, 1], [2, 2]], prob=[0.9, 0.6])
    >>> int(labels.max()), labels.prob.tolist()[1] > 0.5
    (2, True)
    >>> labels[:1].prob is None
    True
    """

    prob: NDArray[np.float32] | None

    def __new__(cls, labels: ArrayLike, prob: ArrayLike | None = None) -> Self:
        """Make a label image of an array, without a copy where it is one already."""
        image = np.asarray(labels).view(cls)
        image.prob = None if prob is None else np.asarray(prob, np.float32)
        return image

    def __array_finalize__(self, source: Any) -> None:
        """Drop the probabilities: what is derived from a label image may hold other objects."""
        self.prob = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle labels and probabilities."""
        return LabelImage, (np.asarray(self), self.prob)


def check_labels(labels: ArrayLike, name: str = "labels", ndim: tuple[int, ...] = (2, 3)) -> NDArray[Any]:
    """Return a label image as a plain array of integers.

    Parameters
    ----------
    labels : array_like
        Integers or booleans, 0 = background; floats that are all whole numbers are refused, because they are
        usually images.
    name : str
        What the messages call it.
    ndim : tuple of int
        Numbers of dimensions that are accepted.

    Raises
    ------
    InputError
        Not an array of integers, a negative label, another number of dimensions, or no pixels.
    """
    array = np.asarray(labels)
    if array.dtype.kind not in "biu":
        raise InputError(f"{name}: a label image holds integers, not {array.dtype}; convert it, 0 = background")
    if array.ndim not in ndim:
        axes = " or ".join({1: "(X)", 2: "(Y, X)", 3: "(Z, Y, X)"}.get(n, f"{n} axes") for n in ndim)
        raise InputError(f"{name}: shape {array.shape}; a label image has the axes {axes}")
    if array.size == 0:
        raise InputError(f"{name}: shape {array.shape} has no pixels")
    if array.dtype.kind == "i" and int(array.min()) < 0:
        raise InputError(f"{name}: label {int(array.min())} is negative; labels are 0 (background) or above")
    return array.astype(np.uint8) if array.dtype.kind == "b" else array
