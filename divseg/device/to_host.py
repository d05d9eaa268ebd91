"""Samples from a GPU to arrays, by way of memory that the GPU reads and writes itself, while it draws the next ones.

A copy into ordinary memory goes through a small buffer of the driver's, a piece at a time, and waits for the device:
at 1.8 GB/s on an H100, more than the samples themselves take. Into page-locked memory it takes a thirtieth of that
("CUDA C++ Best Practices Guide", section on pinned memory). Page-locked memory is scarce, though, and is therefore used
for two pieces only, out of which the host's threads copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PIECE = 2**24
"""Bytes of a piece of page-locked memory."""
AT_ONCE = 16
"""Samples that a GPU draws while those before them are copied."""


def to_host(samples: Tensor, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Return samples as an array.

    Parameters
    ----------
    samples : Tensor, float32
        On any device; on a CPU nothing is copied unless `out` is given.
    out : array of the same shape, float32, C-contiguous, optional
        Written and returned.

    Returns
    -------
    array, the shape of `samples`, float32
    """
    return next(iter(batches_to_host([samples], None if out is None else [out])))


def batches_to_host(
    batches: Iterable[Tensor], out: Iterable[NDArray[np.float32]] | None = None
) -> Iterator[NDArray[np.float32]]:
    """Yield batches of samples as arrays; on a GPU the next batch is drawn while one is copied.

    Parameters
    ----------
    batches : iterable of Tensor, float32
        A GPU is asked for one batch more than was yielded, so that it has work.
    out : iterable of array, optional
        Where each is written, as for :func:`to_host`.
    """
    places = iter(out) if out is not None else None
    begun: _Begun | None = None
    for batch in batches:
        if batch.device.type != "cuda":
            yield _plain(batch, None if places is None else next(places))
            continue
        following = _Begun.of(batch)
        if begun is not None:
            yield begun.copied(None if places is None else next(places))
        begun = following
    if begun is not None:
        yield begun.copied(None if places is None else next(places))


def drawn_to_host(
    draw: Callable[[Sequence[int]], Tensor], numbers: Sequence[int], shape: tuple[int, ...], device: torch.device
) -> NDArray[np.float32]:
    """Draw samples by number and return them as one array, (len(numbers), *shape); a GPU draws some at a time."""
    if device.type != "cuda":
        return to_host(draw(numbers))
    samples = np.empty((len(numbers), *shape), np.float32)
    starts = range(0, len(numbers), AT_ONCE)
    batches = (draw(numbers[first : first + AT_ONCE]) for first in starts)
    for _ in batches_to_host(batches, (samples[first : first + AT_ONCE] for first in starts)):
        pass
    return samples


def _plain(batch: Tensor, out: NDArray[np.float32] | None) -> NDArray[np.float32]:
    array: NDArray[np.float32] = batch.detach().cpu().numpy()
    if out is None:
        return array
    out[...] = array
    return out


@dataclass(frozen=True)
class _Begun:
    """A batch that a GPU was told to draw, and when it will be ready."""

    batch: Tensor
    ready: torch.cuda.Event

    @classmethod
    def of(cls, batch: Tensor) -> _Begun:
        batch, ready = batch.detach().contiguous(), torch.cuda.Event()
        ready.record(torch.cuda.current_stream(batch.device))
        return cls(batch, ready)

    def copied(self, out: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Copy on a stream beside that of the work, as soon as the batch is ready."""
        device = self.batch.device
        array = np.empty(tuple(self.batch.shape), np.float32) if out is None else out
        source, target = self.batch.view(-1), torch.from_numpy(array).view(-1)
        size = PIECE // 4
        stream = torch.cuda.Stream(device)
        stream.wait_event(self.ready)
        stages = [torch.empty(size, pin_memory=True) for _ in range(2)]
        full = [torch.cuda.Event() for _ in stages]
        starts = range(0, len(source), size)

        def fill(k: int) -> None:
            part = source[starts[k] : starts[k] + size]
            with torch.cuda.stream(stream):
                stages[k % 2][: len(part)].copy_(part, non_blocking=True)
                full[k % 2].record(stream)

        for k in range(min(2, len(starts))):
            fill(k)
        for k, start in enumerate(starts):
            full[k % 2].synchronize()
            part = target[start : start + size]
            part.copy_(stages[k % 2][: len(part)])
            if k + 2 < len(starts):
                fill(k + 2)
        return array
