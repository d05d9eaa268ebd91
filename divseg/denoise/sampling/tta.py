"""Test-time augmentation (TTA): samples from the eight turned and flipped versions of an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from divseg.denoise import dihedral
from divseg.denoise.sampling.sampler import Sampler
from divseg.denoise.sampling.tiles import Posterior

MAX_BYTES = 2**30
"""Posteriors of all versions are held up to this size; for a larger image each is computed when it is needed."""


class TTASampler:
    """Draws sample k from the posterior of version ``k % 8`` of the image, turned back.

    The mean over samples is then a mean over versions too, which lowers the error of a network that does not
    treat all directions alike. A sample stays a function of (model, image, seed, k).

    Parameters
    ----------
    make_sampler : callable
        Returns the sampler of a version, by number; it encodes the version.
    """

    def __init__(self, make_sampler: Callable[[int], Sampler]) -> None:
        self._make, self._samplers = make_sampler, dict[int, Sampler]()

    def _sampler(self, version: int) -> Sampler:
        sampler = self._samplers.get(version)
        if sampler is None:
            sampler = self._make(version)
            if dihedral.COUNT * sampler.posterior.nbytes > MAX_BYTES:
                self._samplers.clear()
            self._samplers[version] = sampler
        return sampler

    @property
    def posterior(self) -> Posterior:
        """Posterior of the image as it is, version 0."""
        return self._sampler(0).posterior

    @property
    def original(self) -> Sampler:
        """The sampler of the image as it is, version 0."""
        return self._sampler(0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the image."""
        return self.posterior.shape

    def draw(self, samples: Sequence[int]) -> Tensor:
        """Draw the samples of these numbers: (len(samples), C, *sides), normalized."""
        parts: dict[int, Tensor] = {}
        for version in sorted({k % dihedral.COUNT for k in samples}):
            numbers = [k for k in samples if k % dihedral.COUNT == version]
            drawn = dihedral.undo(self._sampler(version).draw(numbers), version)
            parts.update(zip(numbers, drawn, strict=True))
        return torch.stack([parts[k] for k in samples])

    def batches(self, start: int, stop: int) -> Iterator[Tensor]:
        """Yield samples `start` to `stop - 1` in batches of shape (B, C, *sides), normalized."""
        size = self._sampler(0).batch_size(stop - start)
        while start < stop:
            numbers = range(start, min(stop, start + size))
            yield self.draw(numbers)
            start += len(numbers)
