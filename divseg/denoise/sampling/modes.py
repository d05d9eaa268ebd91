"""The most likely image among samples, sought locally."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WINDOW = 7
"""Side in pixels of the windows in which samples are compared."""
STEPS = 8
"""Mean-shift steps; enough for the changes to fall below a hundredth of the samples' spread."""
BANDWIDTH = 0.6
"""Width of the kernel relative to the samples' spread: 64 samples' Scott factor in four dimensions."""


def mode_reach(window: int = WINDOW, steps: int = STEPS) -> int:
    """Pixels around a place that its mode depends on."""
    return (window // 2) * (steps + 1)


def seek_mode(samples: Tensor, *, bandwidth: float = BANDWIDTH, window: int = WINDOW, steps: int = STEPS) -> Tensor:
    """Climb from the samples' mean to a place where they are dense, by mean shift.

    Comaniciu and Meer, "Mean shift: a robust approach toward feature space analysis", IEEE Trans. PAMI 24
    (2002), equation 20, with a normal kernel, in the space of windows around every pixel: a sample counts
    at a pixel by its mean squared difference, over the window, from the present estimate, in units of the
    samples' own variance over the window. Where samples agree up to normal scatter this stays at their
    mean; where they fall into groups it goes to the largest, instead of an average that none of them shows.

    Parameters
    ----------
    samples : Tensor, shape (K, C, (Z), Y, X)
        Channels share their weights, after division by each channel's spread.
    bandwidth : float
        Width of the kernel in standard deviations of the samples (root mean square over the window).
    window : int
        Odd side of the windows in pixels.
    steps : int
        Mean-shift steps.

    Returns
    -------
    Tensor, shape (C, (Z), Y, X)
        Estimate of the posterior's mode (maximum a posteriori).
    """
    dims = samples.ndim - 2
    spread = samples.var(0, keepdim=True, unbiased=False)
    # everything is relative to the local variance; where all samples are equal there is nothing to weigh
    tiny = torch.finfo(samples.dtype).tiny
    local = _window_mean(spread, window, dims).clamp_min(tiny)
    estimate = samples.mean(0, keepdim=True)
    for _ in range(steps):
        distance = _window_mean((samples - estimate).square_(), window, dims).div_(local).mean(1, keepdim=True)
        weight = torch.softmax(distance.mul_(-0.5 / bandwidth**2), dim=0)
        estimate = (weight * samples).sum(0, keepdim=True)
    return estimate[0]


def _window_mean(x: Tensor, window: int, dims: int) -> Tensor:
    pool = nn.functional.avg_pool2d if dims == 2 else nn.functional.avg_pool3d
    sides = [min(window, side - 1 + side % 2) for side in x.shape[-dims:]]  # odd, and no wider than the image
    return pool(x, sides, stride=1, padding=[side // 2 for side in sides], count_include_pad=False)
