"""One image, a stack, or an endless stream of batches: all become single images, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divseg.errors import InputError
from divseg.segment.ahead import map_ahead

Pixels = NDArray[np.floating]
Segment = Callable[[Pixels], NDArray[np.int32]]
AXES = {2: "(Y, X)", 3: "(Z, Y, X)"}


def label_images(images: Any, segment: Segment, ndim: int, threads: int = 1) -> Any:
    """Apply a function of one image to whatever holds images.

    Parameters
    ----------
    images : array, tensor, Image or iterable of them
        An array of `ndim` dimensions is one image, one of ``ndim + 1`` a stack. Elements of an iterable likewise.
    segment : callable
        Takes one checked image (float32 or float64, finite) and returns its label image.
    ndim : int
        Dimensions of one image: 2 or 3.
    threads : int
        How many images of a stack or batch are worked on at once; above 1, `segment` must bear that.

    Returns
    -------
    int32 array, or iterator of int32 arrays
        See :class:`divseg.segment.Segmenter`.

    Raises
    ------
    InputError
        Nothing that holds images, wrong dimensions, no pixels, or pixels that are no finite numbers.
    """
    images = _unwrapped(images, ndim)
    if _is_array(images):
        _check_shape(images, ndim, "images")
        if images.ndim == ndim:
            return segment(check_image(images, ndim))
        return _stacked(images, segment, ndim, 0, threads)
    if isinstance(images, str | bytes | Mapping) or not isinstance(images, Iterable):
        raise InputError(
            f"cannot segment {type(images).__name__} {str(images)[:40]!r}; give an array {AXES[ndim]}, a stack of such "
            "arrays or an iterable of them (divseg.read reads files)"
        )
    return _streamed(iter(images), segment, ndim, threads)


def check_image(image: Any, ndim: int, what: str = "image") -> Pixels:
    """Return one image as float32 (float64 where float32 cannot hold its values) after checking it.

    Raises
    ------
    InputError
        Wrong dimensions, no pixels, or pixels that are no finite real numbers.
    """
    array = _as_numpy(_unwrapped(image, ndim))
    if array.ndim != ndim:
        raise InputError(f"{what} has shape {array.shape}; one image {AXES[ndim]} is needed here")
    if array.size == 0:
        raise InputError(f"{what} has shape {array.shape} and so no pixels; leave it out")
    if array.dtype.kind not in "buif":
        raise InputError(f"{what} has dtype {array.dtype}; pixels must be real numbers")
    exact = array.dtype.kind == "b" or array.dtype.itemsize <= 2 or array.dtype == np.float32
    pixels: Pixels = array.astype(np.float32 if exact else np.float64, copy=False)
    if not np.isfinite(pixels).all():
        bad = int(pixels.size - np.isfinite(pixels).sum())
        raise InputError(f"{what} has {bad} pixels that are NaN or infinite; replace them before segmenting")
    return pixels


def _streamed(elements: Iterator[Any], segment: Segment, ndim: int, threads: int) -> Iterator[NDArray[np.int32]]:
    done = 0
    for element in elements:
        held = _unwrapped(element, ndim)
        if not _is_array(held):
            raise InputError(
                f"image {done} (counted from 0) is a {type(element).__name__}; "
                f"give arrays {AXES[ndim]} or batches of them"
            )
        _check_shape(held, ndim, f"image {done} (counted from 0)")
        if held.ndim == ndim:
            yield segment(check_image(held, ndim, f"image {done} (counted from 0)"))
            done += 1
        else:
            yield from _stacked(held, segment, ndim, done, threads)
            done += len(held)


def _stacked(stack: Any, segment: Segment, ndim: int, first: int, threads: int) -> Iterator[NDArray[np.int32]]:
    if hasattr(stack, "cpu"):
        stack = _as_numpy(stack)  # one transfer for the batch

    def one(i: int) -> NDArray[np.int32]:
        return segment(check_image(stack[i], ndim, f"image {first + i} (counted from 0)"))

    together = min(threads, len(stack))
    yield from map(one, range(len(stack))) if together < 2 else map_ahead(one, range(len(stack)), together)


def _unwrapped(image: Any, ndim: int) -> Any:
    """Take the pixels out of an Image; everything else passes."""
    if _is_array(image) or isinstance(image, str | bytes | list | tuple):
        return image
    from divseg.io import Image

    if not isinstance(image, Image):
        return image
    wanted = {2: "YX", 3: "ZYX"}[ndim]
    if image.axes != wanted:
        raise InputError(
            f"{image.name}: axes {image.axes}; this segmenter takes {wanted} (ndim={ndim}): choose a channel, or ndim"
        )
    return image.data


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (hasattr(value, "ndim") and hasattr(value, "shape"))


def _check_shape(array: Any, ndim: int, what: str) -> None:
    if array.ndim not in (ndim, ndim + 1):
        raise InputError(
            f"{what}: an array of shape {tuple(array.shape)} is neither one image {AXES[ndim]} nor a stack of them "
            f"(this segmenter has ndim={ndim})"
        )


def _as_numpy(array: Any) -> NDArray[Any]:
    if hasattr(array, "cpu"):
        tensor = array.detach().cpu()
        try:
            return np.asarray(tensor.numpy())
        except TypeError:  # bfloat16 has no NumPy counterpart
            return np.asarray(tensor.float().numpy())
    return np.asarray(array)
