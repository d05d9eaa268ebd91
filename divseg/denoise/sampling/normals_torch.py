"""Latent noise in plain torch: on any device, in as many operations for a whole batch as for one number."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from divseg.denoise.sampling.box_muller import normals
from divseg.denoise.sampling.philox import GROUP, GROUP_SHIFT, LEVEL_SHIFT, Window, philox

MAX_COUNTERS = 2**24
"""Counters that are worked on at once, unless a single sample has more; each takes about 100 bytes on the way."""


def torch_normals(
    key: tuple[int, int], samples: Sequence[int], windows: Sequence[Window], device: torch.device
) -> list[Tensor]:
    """Draw the noise of some samples in a window of each latent grid; see :class:`LatentNoise`.

    Returns
    -------
    list of Tensor, each (len(samples), *sides, channels), float32
        Views; not contiguous if the number of channels is not a multiple of four.
    """
    words = [_place(window, device) for window in windows]
    place = words[0] if len(words) == 1 else [torch.cat(word) for word in zip(*words, strict=True)]
    at_once = max(1, MAX_COUNTERS // max(1, len(place[0])))
    numbers = torch.tensor(samples, device=device)
    parts = []
    for some in numbers.split(at_once):
        w0, w1, w2, w3 = philox((place[0], place[1], place[2], some[:, None]), key)
        parts.append(normals(torch.stack([w0, w2], -1), torch.stack([w1, w3], -1)))
    drawn = parts[0] if len(parts) == 1 else torch.cat(parts)
    by_window = drawn.split([window.counters for window in windows], 1)
    return [
        part.reshape(len(samples), *window.sides, GROUP * window.groups)[..., : window.channels]
        for part, window in zip(by_window, windows, strict=True)
    ]


def _place(window: Window, device: torch.device) -> list[Tensor]:
    """Return words 0 to 2 of the counters of a window, by Z, Y, X and group."""
    z, y, x = (torch.arange(a, b, device=device) for a, b in window.box)
    group = torch.arange(window.groups, device=device)
    third = z[:, None, None, None] + ((group << GROUP_SHIFT) + (window.level << LEVEL_SHIFT))
    words = torch.broadcast_tensors(x[:, None], y[:, None, None], third)
    return [word.reshape(-1) for word in words]
