"""One image, a stack, or a stream of batches: all become batches (B, C, ...) on a device, taken lazily."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from divseg.errors import InputError


@dataclass(frozen=True)
class Form:
    """What an image of a model looks like.

    Attributes
    ----------
    ndim : int
        Spatial dimensions.
    channels : int
        Above 1 the image has a last axis of this length.
    """

    ndim: int
    channels: int

    @property
    def axes(self) -> str:
        """For messages: ``(Y, X)`` or ``(Y, X, 3)``."""
        names = ["Z", "Y", "X"][-self.ndim :]
        return f"({', '.join([*names, str(self.channels)] if self.channels > 1 else names)})"

    @property
    def length(self) -> int:
        """Dimensions of an array that holds one image."""
        return self.ndim + (self.channels > 1)

    def is_one(self, array: Any, what: str) -> bool:
        """Tell one image from a stack of them.

        Raises
        ------
        InputError
            If the array is neither, or has no pixels.
        """
        shape = tuple(array.shape)
        many = f"a {self.ndim}D StarDist model of {self.channels} channel{'s' if self.channels > 1 else ''}"
        if self.channels > 1 and (len(shape) == self.ndim or (len(shape) > 1 and shape[-1] != self.channels)):
            raise InputError(
                f"{what} has shape {shape}, but {many} takes {self.axes}, the channels last; "
                "give all channels, or use a model of one channel"
            )
        if len(shape) not in (self.length, self.length + 1):
            raise InputError(f"{what}: shape {shape} is neither one image {self.axes} of {many} nor a stack of them")
        if 0 in shape:
            raise InputError(f"{what} has shape {shape} and so no pixels; leave it out")
        return len(shape) == self.length


def read_images(images: Any, form: Form) -> tuple[bool, Any]:
    """Tell one image from many.

    Returns
    -------
    one : bool
        Whether `images` is one image.
    held : array, tensor or iterator
        The pixels of a single image or a stack, otherwise an iterator of elements.

    Raises
    ------
    InputError
        If this holds no images of that form.
    """
    held = _unwrapped(images, form)
    if _is_array(held):
        return form.is_one(held, "images"), held
    if isinstance(held, str | bytes | Mapping) or not isinstance(held, Iterable):
        raise InputError(
            f"cannot segment {type(images).__name__} {str(images)[:40]!r}; give an array {form.axes}, a stack of such "
            "arrays or an iterable of them (divseg.read reads files)"
        )
    return False, iter(held)


def in_batches(held: Any, form: Form, size: int | None, device: torch.device, pixels: int) -> Iterator[Tensor]:
    """Yield batches (B, C, ...) of an image, a stack or an iterator of images and stacks.

    Parameters
    ----------
    held : array, tensor or iterator
        See :func:`read_images`.
    form : Form
    size : int, optional
        Images in a batch; by default as many as `pixels` allow.
    device : torch.device
        Where the batches are.
    pixels : int
        Most pixels of a batch, unless it is one image.

    Raises
    ------
    InputError
        Wrong shape, or pixels that are no finite real numbers.
    """
    done = 0
    for element in [held] if _is_array(held) else held:
        what = "images" if _is_array(held) else f"image {done} (counted from 0)"
        array = _unwrapped(element, form)
        if not _is_array(array):
            raise InputError(f"{what} is a {type(element).__name__}; give arrays {form.axes} or stacks of them")
        stack = array[None] if form.is_one(array, what) else array
        step = size or max(pixels // int(np.prod(stack.shape[1:])), 1)
        for start in range(0, len(stack), step):
            yield _batch(stack[start : start + step], form, device, done + start)
        done += len(stack)


def _batch(stack: Any, form: Form, device: torch.device, first: int) -> Tensor:
    tensor = stack.detach() if isinstance(stack, Tensor) else _from_numpy(np.asarray(stack), first)
    if tensor.dtype.is_complex:
        raise InputError(f"image {first} (counted from 0) has dtype {tensor.dtype}; pixels must be real numbers")
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    tensor = tensor.to(device)
    if tensor.is_floating_point():
        bad = (~torch.isfinite(tensor)).flatten(1).sum(1)
        if bool(bad.any()):
            worst = int(bad.argmax())
            raise InputError(
                f"image {first + worst} (counted from 0) has {int(bad[worst])} pixels that are NaN or infinite; "
                "replace them before segmenting"
            )
    return tensor.movedim(-1, 1) if form.channels > 1 else tensor[:, None]


def _from_numpy(array: np.ndarray[Any, Any], first: int) -> Tensor:
    if array.dtype.kind not in "buif":
        raise InputError(f"image {first} (counted from 0) has dtype {array.dtype}; pixels must be real numbers")
    if array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    return torch.from_numpy(native if native.flags.writeable else native.copy())


def _unwrapped(image: Any, form: Form) -> Any:
    """Take the pixels out of an Image, channels last; everything else passes."""
    if _is_array(image) or isinstance(image, str | bytes | list | tuple):
        return image
    from divseg.io import Image

    if not isinstance(image, Image):
        return image
    spatial = {2: "YX", 3: "ZYX"}[form.ndim]
    wanted = spatial if form.channels == 1 else "C" + spatial
    if image.axes != wanted:
        raise InputError(
            f"{image.name}: axes {image.axes}; this {form.ndim}D StarDist model of {form.channels} channel(s) takes "
            f"{wanted}: choose a channel, or another model"
        )
    return image.data if form.channels == 1 else np.moveaxis(image.data, 0, -1)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (hasattr(value, "ndim") and hasattr(value, "shape"))
