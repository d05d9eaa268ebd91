"""Stacks of images become batches (B, C, ...) on a device, taken lazily."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from divseg.errors import InputError
from divseg.segment.stream import ImageForm, image_name


def in_batches(
    stacks: Iterator[tuple[int, Any]], form: ImageForm, size: int | None, device: torch.device, max_pixels: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield batches (B, C, ...), each with the number of its first image.

    Parameters
    ----------
    stacks : iterator of (int, array or tensor)
        See :func:`divseg.segment.stream.read_images`.
    form : ImageForm
        Axes of an image.
    size : int, optional
        Images in a batch; by default as many as `max_pixels` allow.
    device : torch.device
        Device of the batches; a tensor that is there already is not copied.
    max_pixels : int
        Most pixels of a batch, unless it is one image.

    Raises
    ------
    InputError
        Pixels that are not real numbers.
    """
    for first, stack in stacks:
        step = size or max(max_pixels // int(np.prod(stack.shape[1:])), 1)
        for start in range(0, len(stack), step):
            yield first + start, _batch(stack[start : start + step], form, device, first + start)


def _batch(stack: Any, form: ImageForm, device: torch.device, first: int) -> Tensor:
    tensor = stack.detach() if isinstance(stack, Tensor) else _from_numpy(np.asarray(stack), first)
    if tensor.dtype.is_complex:
        raise InputError(f"{image_name(first)} has dtype {tensor.dtype}; pixels must be real numbers")
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    tensor = tensor.to(device)
    return tensor.movedim(-1, 1) if form.channels > 1 else tensor[:, None]


def check_finite(first: int, batch: Tensor, finite: NDArray[np.bool_]) -> None:
    """Raise an error that names the first image that is not finite.

    Parameters
    ----------
    first : int
        Number of the batch's first image.
    batch : tensor, shape (B, ...)
    finite : bool array, shape (B,)
        Whether all pixels of an image are finite.

    Raises
    ------
    InputError
        With the number of pixels that are not.
    """
    for i in np.flatnonzero(~finite):
        bad = int((~torch.isfinite(batch[i])).sum())
        raise InputError(
            f"{image_name(first + int(i))} has {bad} pixels that are NaN or infinite; replace them before segmenting"
        )


def _from_numpy(array: np.ndarray[Any, Any], first: int) -> Tensor:
    if array.dtype.kind not in "buif":
        raise InputError(f"{image_name(first)} has dtype {array.dtype}; pixels must be real numbers")
    if array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    return torch.from_numpy(native if native.flags.writeable else native.copy())
