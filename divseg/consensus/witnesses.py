"""What decides whether an object is there: the posterior samples, not whatever else is fused beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divseg.consensus.contrast import contrast
from divseg.consensus.stack import LabelStack

LEAST_EXISTENCE = 0.5
"""Fraction of the posterior samples that hold an object which is kept."""

LEAST_CONTRAST = 2.0
"""Contrast (:func:`divseg.consensus.contrast.contrast`) of an object which is kept."""


@dataclass(frozen=True, eq=False)
class Witnesses:
    """Label images without which no object is kept, whatever the others of a stack hold.

    Attributes
    ----------
    stack : LabelStack
        The posterior samples.
    least : float
        Fraction of their weight that must hold an object.
    mean, std : float arrays of the shape of a label image, optional
        Mean and standard deviation of the images that were segmented.
    least_contrast : float
        Contrast that an object must have, if there are `mean` and `std`.
    """

    stack: LabelStack
    least: float = 0.0
    mean: NDArray[np.floating] | None = None
    std: NDArray[np.floating] | None = None
    least_contrast: float = 0.0

    def too_rare(self, existence: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which objects of these existences among the witnesses are not kept, shape (n,)."""
        return existence < self.least - 1e-9

    def contrast(self, labels: NDArray[np.int32]) -> NDArray[np.float64] | None:
        """Return the contrast of objects 1..n of a label image (Z, Y, X), shape (n,); None without `mean` and `std`."""
        if self.mean is None or self.std is None:
            return None
        return contrast(labels.reshape(self.stack.shape), self.mean, self.std)
