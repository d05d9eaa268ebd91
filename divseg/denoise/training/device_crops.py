"""Crops cut on the training device, where the pixels lie in the dtype of the images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from divseg.denoise import dihedral


class DeviceImages:
    """All images in one flat tensor on a device, and crops of them gathered by index.

    Parameters
    ----------
    images : sequence of array, each (C, *sides)
        uint8 and uint16 keep their dtype if all images have the same; others become float32.
    device : torch.device
        Usually a GPU.
    """

    def __init__(self, images: Sequence[NDArray[np.generic]], device: torch.device) -> None:
        dtypes = {im.dtype for im in images}
        dtype = dtypes.pop() if len(dtypes) == 1 else np.dtype(np.float32)
        self._wide = dtype == np.uint16
        if self._wide:  # torch cannot index uint16 everywhere: the same bits as int16
            parts = [np.ascontiguousarray(im).view(np.int16) for im in images]
        else:
            dtype = dtype if dtype == np.uint8 else np.dtype(np.float32)
            parts = [np.ascontiguousarray(im, dtype=dtype) for im in images]
        self._flat = torch.from_numpy(np.concatenate([p.reshape(-1) for p in parts])).to(device)
        sizes = np.array([0] + [im.size for im in images], dtype=np.int64)
        self._offset = np.cumsum(sizes)[:-1]
        self._strides = np.array([[math.prod(im.shape[a + 1 :]) for a in range(im.ndim)] for im in images], np.int64)
        self._channels = images[0].shape[0]
        self._turns: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def nbytes(self) -> int:
        """Bytes on the device."""
        return self._flat.nelement() * self._flat.element_size()

    def crops(self, positions: NDArray[np.int64], crop: Sequence[int]) -> Tensor:
        """Cut crops.

        Parameters
        ----------
        positions : array, shape (B, 2 + spatial axes)
            Image, first pixel along each axis, and one of eight quarter turns and flips (turned, then flipped along
            Y for 4 to 7).
        crop : sequence of int
            Sides; those along Y and X are equal.

        Returns
        -------
        Tensor, shape (B, C, *crop), float32, intensities
        """
        device = self._flat.device
        which, first, turn = positions[:, 0], positions[:, 1:-1], positions[:, -1]
        strides = self._strides[which]
        start = self._offset[which] + (first * strides[:, 1:]).sum(1)
        rows, cols = self._pixels(crop[-1])
        ends = torch.from_numpy(np.column_stack([start, strides, turn])).to(device)
        along = ends[:, 1:-1].reshape(len(positions), -1, *([1] * (1 + len(crop))))
        index = ends[:, 0].reshape(-1, *([1] * (1 + len(crop))))
        index = index + along[:, 0] * _ramp(self._channels, len(crop), device)
        if len(crop) == 3:
            index = index + along[:, 1] * _ramp(crop[0], 2, device)
        picked = ends[:, -1]
        shape = (len(positions), *([1] * (len(crop) - 1)), crop[-1], crop[-1])
        index = index + along[:, -2] * rows[picked].reshape(shape) + along[:, -1] * cols[picked].reshape(shape)
        values = self._flat[index]
        return (values.int() & 0xFFFF).float() if self._wide else values.float()

    def _pixels(self, side: int) -> tuple[Tensor, Tensor]:
        """Rows and columns of the crop's pixels in its eight turned and flipped versions, each (8, side, side)."""
        if side not in self._turns:
            grid = np.indices((side, side))
            stack = np.stack([dihedral.transform(grid, k) for k in range(dihedral.COUNT)])
            device = self._flat.device
            rows, cols = torch.from_numpy(stack).to(device).unbind(1)
            self._turns[side] = rows.contiguous(), cols.contiguous()
        return self._turns[side]


def _ramp(size: int, trailing: int, device: torch.device) -> Tensor:
    return torch.arange(size, device=device).reshape(1, size, *([1] * trailing))
