"""StarDist's distances to the boundary, for a batch of label images at once, on a GPU."""

from __future__ import annotations

import math

import numpy as np
import torch
from stardist.geometry import star_dist
from torch import Tensor

TOGETHER = 8
"""Steps after which the rays that have ended are left out."""


def star_distances(labels: Tensor, rays: int, grid: int) -> Tensor:
    """Return the distances from positions to the end of their object, by StarDist's own code where there is no GPU.

    Parameters
    ----------
    labels : Tensor, shape (B, Y, X), integers
    rays : int
        Directions, the first along X, then towards Y.
    grid : int
        Pixels between positions along each axis.

    Returns
    -------
    Tensor, shape (B, Y / grid, X / grid, rays), float32
        0 in the background.
    """
    if labels.device.type != "cpu":
        return walk(labels, rays, grid)
    images = [star_dist(image.numpy().astype(np.int32), rays, mode="cpp", grid=(grid, grid)) for image in labels]
    return torch.from_numpy(np.stack(images))


def walk(labels: Tensor, rays: int, grid: int) -> Tensor:
    """Measure the distances of :func:`star_distances` as ``stardist.geometry.star_dist`` does, all rays at once.

    Rays go in steps of one pixel to the first pixel, rounded to, of another label; half a step is taken off.
    """
    device, (height, width) = labels.device, labels.shape[1:]
    angles = torch.arange(rays, device=device) * (2 * math.pi / rays)
    dy, dx = torch.sin(angles), torch.cos(angles)
    b, i, j = labels[:, ::grid, ::grid].nonzero(as_tuple=True)
    y, x = i * grid, j * grid
    own, flat = labels[b, y, x], labels.reshape(-1)
    inside = torch.zeros(len(b) * rays, device=device)
    active = torch.arange(len(inside), device=device)
    step = 0
    while len(active):
        position, ray = active // rays, active % rays
        y0, x0, label, first = y[position], x[position], own[position], b[position] * height * width
        sy, sx = dy[ray], dx[ray]
        going = torch.ones(len(active), dtype=torch.bool, device=device)
        steps = torch.zeros(len(active), device=device)
        for _ in range(TOGETHER):
            step += 1
            to_y, to_x = torch.floor(y0 + step * sy + 0.5).long(), torch.floor(x0 + step * sx + 0.5).long()
            going &= (to_y >= 0) & (to_y < height) & (to_x >= 0) & (to_x < width)
            going &= flat[first + to_y.clamp(0, height - 1) * width + to_x.clamp(0, width - 1)] == label
            steps += going
        inside[active] += steps
        active = active[going]
    correction = 1 - 0.5 / torch.maximum(dy.abs(), dx.abs())
    out = torch.zeros((*labels[:, ::grid, ::grid].shape, rays), device=device)
    out[b, i, j] = inside.view(-1, rays) + 1 - correction
    return out
