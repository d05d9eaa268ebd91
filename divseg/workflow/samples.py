"""The posterior samples of one image, drawn once and held if they fit, drawn again if not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from divseg.config import Sampling
from divseg.io import Image

if TYPE_CHECKING:
    import torch

    from divseg.denoise import DivNoising
    from divseg.denoise.sampling.estimates import RunningMoments

SAMPLE_MEMORY = 2**28
"""Bytes of samples that are held; more than that are drawn a second time."""


class Samples:
    """Samples of one image, passed over as often as needed.

    Parameters
    ----------
    model : DivNoising
        Model that draws them.
    image : Image
        Noisy image; if it has several channels, the first is the one that is segmented.
    settings : Sampling
        Number of samples, seed, tile, precision.
    """

    def __init__(self, model: DivNoising, image: Image, settings: Sampling) -> None:
        self.model, self.settings, self._several = model, settings, image.axes[0] == "C"
        self.posterior = model.posterior(image, tile=settings.tile, precision=settings.precision)
        self._hold = 4 * image.data.size * settings.samples <= SAMPLE_MEMORY
        self._held: list[torch.Tensor] | None = None

    def batches(self) -> Iterator[torch.Tensor]:
        """Yield the samples of the channel that is segmented as batches (B, Y, X) on the device of the model."""
        return map(self.own, self.joint())

    def own(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the channel that is segmented of a batch of all channels."""
        return batch[:, 0] if self._several else batch

    def joint(self) -> Iterator[torch.Tensor]:
        """Yield the samples of all channels as batches (B, C, Y, X); without the channels if there is one alone."""
        if self._held is not None:
            yield from self._held
            return
        held = []
        s = self.settings
        for batch in self.model.sample(self.posterior, n=s.samples, seed=s.seed, tile=s.tile, precision=s.precision):
            if self._hold:
                held.append(batch)
            yield batch
        if self._hold:
            self._held = held

    def means(self, size: int) -> Iterator[torch.Tensor]:
        """Yield means of groups of `size` samples, as batches (1, Y, X)."""
        import torch

        singles = (sample for batch in self.batches() for sample in batch)
        while group := list(islice(singles, size)):
            yield torch.stack(group).mean(0, keepdim=True)

    def moments(
        self, watch: Callable[[torch.Tensor], object] = lambda batch: None, keep: int = 0
    ) -> tuple[RunningMoments, NDArray[np.float32]]:
        """Return mean and standard deviation of all samples, and the first `keep` samples, of all channels.

        `watch` sees every batch of the channel that is segmented.
        """
        from divseg.denoise.sampling.estimates import RunningMoments
        from divseg.device.to_host import to_host

        running = RunningMoments()
        first: list[NDArray[np.float32]] = []
        for batch in self.joint():
            running.add(batch)
            watch(self.own(batch))
            room = keep - len(first)
            first.extend(to_host(batch[: max(0, room)]))
        return running, np.stack(first) if first else np.empty((0, *self.posterior.shape), np.float32)
