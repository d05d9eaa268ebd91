"""A running average of the weights, which is the model that is kept."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class WeightAverage:
    """Exponential moving average of parameters (Polyak and Juditsky, 1992).

    Used as a context, the parameters hold their averages within it.
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        self.parameters, self.decay = parameters, decay
        self.average = [p.detach().clone() for p in parameters]

    def update(self, step: int) -> None:
        """Take in the parameters after a step; early steps count more, so that the start is forgotten."""
        decay = min(self.decay, step / (step + 10.0))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1.0 - decay)

    def keep(self) -> None:
        """Put the averages into the parameters for good."""
        with torch.no_grad():
            for p, a in zip(self.parameters, self.average, strict=True):
                p.copy_(a)

    def _exchange(self) -> None:
        with torch.no_grad():
            for p, a in zip(self.parameters, self.average, strict=True):
                held = p.detach().clone()
                p.copy_(a)
                a.copy_(held)

    def __enter__(self) -> None:
        self._exchange()

    def __exit__(self, *_: object) -> None:
        self._exchange()
