"""What decides whether an object is there: the posterior samples, not whatever else is fused beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divseg.consensus.contrast import Contrast, measure_contrast
from divseg.consensus.stack import LabelStack

LEAST_EXISTENCE = 0.3
"""Fraction of the posterior samples that hold an object which is kept. One set with few photons chose it (lab book):
elsewhere .1 to .5 gave the same."""

LEAST_SNR = 5.0
"""Signal-to-noise ratio of an object which is kept: Rose's criterion of what can be told from noise."""

LEAST_CONTRAST = 1.0
"""Contrast of an object which is kept: it differs from its background by more than the background's own spread."""


class Images(NamedTuple):
    """The images behind the posterior samples, arrays of the shape of a label image."""

    noisy: ArrayLike
    """The noisy image."""
    mean: ArrayLike
    """Mean of the samples."""
    std: ArrayLike
    """Standard deviation of the samples."""


@dataclass(frozen=True, eq=False)
class Witnesses:
    """Label images without which no object is kept, whatever the others of a stack hold.

    Attributes
    ----------
    stack : LabelStack
        The posterior samples.
    existence : float
        Fraction of their weight that must hold an object.
    images : Images, optional
        The images behind them, in which an object must be seen.
    snr : float
        Signal-to-noise ratio that an object must have if there are images; 0 to keep it whatever they show.
    """

    stack: LabelStack
    existence: float = 0.0
    images: Images | None = None
    snr: float = LEAST_SNR

    def too_rare(self, existence: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which objects of these existences among the samples are not kept, shape (n,)."""
        return existence < self.existence - 1e-9

    def contrast(self, labels: NDArray[np.int32]) -> Contrast | None:
        """Return how objects 1..n of a label image (Z, Y, X) differ from their background; None without images."""
        return None if self.images is None else measure_contrast(labels.reshape(self.stack.shape), *self.images)

    def too_faint(self, contrast: Contrast) -> NDArray[np.bool_]:
        """Tell which objects are not kept because the images do not show them, shape (n,)."""
        return (contrast.snr < self.snr) | (contrast.contrast < LEAST_CONTRAST * (self.snr > 0))
