"""Estimates streamed over posterior samples: no stack of samples is held."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor


class RunningMoments:
    """Mean and standard deviation, pixel by pixel, of samples that arrive in batches.

    Welford's update for whole batches: Chan, Golub and LeVeque, "Updating formulae and a pairwise
    algorithm for computing sample variances" (1979), equation 2.1. The mean is the minimum-mean-square-
    error (MMSE) estimate of the clean image under the model.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: Tensor | None = None
        self._squares: Tensor | None = None

    def add(self, batch: Tensor) -> None:
        """Take in samples of shape (B, *sides)."""
        n = batch.shape[0]
        total = self.count + n
        if self._mean is None or self._squares is None:
            self._mean = batch.mean(0)
            self._squares = (batch - self._mean).square_().sum(0)
        elif n == 1:  # the same with fewer temporary images, which large images ask for
            delta = batch[0] - self._mean
            self._mean.add_(delta, alpha=1 / total)
            self._squares.addcmul_(delta, delta, value=self.count / total)
        else:
            mean = batch.mean(0)
            self._squares.add_((batch - mean).square_().sum(0))
            delta = mean.sub_(self._mean)
            self._mean.add_(delta, alpha=n / total)
            self._squares.addcmul_(delta, delta, value=self.count * n / total)
        self.count = total

    @property
    def mean(self) -> Tensor:
        """Mean of the samples, shape (*sides)."""
        if self._mean is None:
            raise ValueError("no samples were added")
        return self._mean

    @property
    def sd(self) -> Tensor:
        """Standard deviation of the samples (with n - 1), shape (*sides); 0 for a single sample."""
        if self._squares is None:
            raise ValueError("no samples were added")
        return (self._squares / max(1, self.count - 1)).sqrt_()


def moments(batches: Iterable[Tensor]) -> RunningMoments:
    """Mean and standard deviation over all batches of samples."""
    running = RunningMoments()
    for batch in batches:
        running.add(batch)
    return running
