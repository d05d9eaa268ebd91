"""Crops cut on the training device, where the pixels of all images lie in one tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from divseg.denoise import dihedral

# where each of the eight turned and flipped versions of a 2x2 square has the pixels of the original: its first pixel,
# and the steps along its rows and columns; (8, 2) each, Y and X
_CORNERS = np.stack([dihedral.transform(np.indices((2, 2)), k) for k in range(dihedral.COUNT)])
_FIRST = _CORNERS[:, :, 0, 0]
_DOWN = _CORNERS[:, :, 1, 0] - _FIRST
_RIGHT = _CORNERS[:, :, 0, 1] - _FIRST


class CropSource:
    """All images in one flat tensor on a device, and crops of them gathered by index.

    Parameters
    ----------
    images : list of array, each (C, *sides)
        uint8 and uint16 keep their dtype, others become float32. The list is used up: it holds views of the
        one array in the end, so that the pixels are in memory once.
    crop : tuple of int
        Sides of the crops; those along Y and X are equal.
    """

    def __init__(self, images: list[NDArray[np.generic]], crop: Sequence[int]) -> None:
        common = np.result_type(*{im.dtype for im in images})
        self._wide = common == np.uint16
        dtype = common if common in (np.uint8, np.uint16) else np.dtype(np.float32)
        sizes = [im.size for im in images]
        self._offset = np.cumsum([0, *sizes[:-1]])
        self._strides = np.array([[math.prod(im.shape[a + 1 :]) for a in range(im.ndim)] for im in images], np.int64)
        self.crop, self.channels = tuple(crop), images[0].shape[0]
        flat = np.empty(sum(sizes), dtype)
        for i, (first, size) in enumerate(zip(self._offset, sizes, strict=True)):
            held = flat[first : first + size].reshape(images[i].shape)
            held[:] = images[i]
            images[i] = held
        # torch cannot index uint16 everywhere: the same bits as int16
        self._flat = torch.from_numpy(flat.view(np.int16) if self._wide else flat)
        self._ramps = [torch.arange(side) for side in (self.channels, *self.crop)]

    @property
    def nbytes(self) -> int:
        """Bytes on the device."""
        return self._flat.nelement() * self._flat.element_size()

    def to(self, device: torch.device) -> None:
        """Move the pixels to a device; on the CPU they are those of the images."""
        self._flat = self._flat.to(device)
        self._ramps = [ramp.to(device) for ramp in self._ramps]

    def rows(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where the pixels of crops lie.

        Parameters
        ----------
        positions : array, shape (..., 2 + spatial axes)
            Image, first pixel along each axis, and one of eight quarter turns and flips
            (:func:`divseg.denoise.dihedral.transform`).

        Returns
        -------
        array, shape (..., 2 + spatial axes), int64
            Index of the crop's first pixel, and the steps to the next one along the channels and each axis.
        """
        which, first, turn = positions[..., 0], positions[..., 1:-1], positions[..., -1]
        strides, side = self._strides[which], self.crop[-1]
        flat, out = strides[..., -2:], strides.copy()
        start = self._offset[which] + (first * strides[..., 1:]).sum(-1)
        start += (_FIRST[turn] * flat).sum(-1) * (side - 1)
        out[..., -2], out[..., -1] = (_DOWN[turn] * flat).sum(-1), (_RIGHT[turn] * flat).sum(-1)
        return np.concatenate([start[..., None], out], -1)

    def cut(self, rows: Tensor) -> Tensor:
        """Return crops.

        Parameters
        ----------
        rows : Tensor, shape (B, 2 + spatial axes), int64, on the device
            From :meth:`rows`.

        Returns
        -------
        Tensor, shape (B, C, *crop), float32, intensities
        """
        index = rows[:, 0]
        for axis, ramp in enumerate(self._ramps):
            index = index.unsqueeze(-1)
            if len(ramp) > 1:
                steps = rows[:, 1 + axis, None] * ramp
                index = index + steps.view(len(rows), *(1,) * axis, len(ramp))
        values = self._flat.index_select(0, index.reshape(-1)).view(index.shape)
        return (values.int() & 0xFFFF).float() if self._wide else values.float()
