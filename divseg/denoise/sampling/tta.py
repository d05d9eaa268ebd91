"""The eight turned and flipped views of an image, for test-time augmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from divseg.denoise.sampling.sampler import Sampler
from divseg.denoise.sampling.tiles import Posterior

VIEWS = 8
HELD_BYTES = 2**30
"""Posteriors of all views are held up to this size; of larger images each is computed when it is its turn."""


def view_of(pixels: NDArray[np.generic], view: int) -> NDArray[np.generic]:
    """Turn the last two axes by `view` quarter turns, and flip them for views 4 to 7."""
    turned = np.rot90(pixels, view % 4, axes=(-2, -1))
    return np.ascontiguousarray(turned[..., ::-1, :] if view >= 4 else turned)


def undo_view(batch: Tensor, view: int) -> Tensor:
    """Turn and flip back what was computed from a view."""
    if view >= 4:
        batch = batch.flip(-2)
    return torch.rot90(batch, -(view % 4), dims=(-2, -1))


class AugmentedSampler:
    """Draws sample k from the posterior of view ``k % 8``, turned back: test-time augmentation.

    The mean over samples is then a mean over views too, which lowers the error of a network that does not
    treat all directions alike. A sample stays a function of (model, image, seed, k).

    Parameters
    ----------
    sampler_of : callable
        Makes the sampler of a view, by number; it encodes the view.
    """

    def __init__(self, sampler_of: Callable[[int], Sampler]) -> None:
        self._make, self._held = sampler_of, dict[int, Sampler]()

    def _sampler(self, view: int) -> Sampler:
        found = self._held.get(view)
        if found is None:
            found = self._make(view)
            bytes_held = VIEWS * found.posterior.nbytes
            if bytes_held > HELD_BYTES:
                self._held.clear()
            self._held[view] = found
        return found

    @property
    def posterior(self) -> Posterior:
        """Posterior of the image as it is, view 0."""
        return self._sampler(0).posterior

    @property
    def upright(self) -> Sampler:
        """The sampler of the image as it is, view 0."""
        return self._sampler(0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the image."""
        return self.posterior.shape

    def draw(self, samples: Sequence[int]) -> Tensor:
        """Draw the samples of these numbers: (len(samples), C, *sides), normalised."""
        parts: dict[int, Tensor] = {}
        for view in sorted({k % VIEWS for k in samples}):
            chosen = [k for k in samples if k % VIEWS == view]
            drawn = undo_view(self._sampler(view).draw(chosen), view)
            parts.update(zip(chosen, drawn, strict=True))
        return torch.stack([parts[k] for k in samples])

    def batches(self, start: int, stop: int) -> Iterator[Tensor]:
        """Yield samples `start` to `stop - 1` in batches of shape (B, C, *sides), normalised."""
        size = max(1, self._sampler(0).batch or 1)
        while start < stop:
            chosen = range(start, min(stop, start + size))
            yield self.draw(chosen)
            start += len(chosen)
