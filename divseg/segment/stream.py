"""One image, a stack, or an endless stream of either: all become stacks, taken one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from divseg.errors import InputError
from divseg.labels import LabelImage
from divseg.segment.ahead import map_ahead

if TYPE_CHECKING:
    from torch import Tensor

Pixels: TypeAlias = "NDArray[Any] | Tensor"
"""Pixels of one image, or of a stack of images."""


@dataclass(frozen=True)
class ImageForm:
    """Axes of the images that a segmenter takes.

    Attributes
    ----------
    ndim : int
        Spatial dimensions: 2 or 3.
    owner : str
        What takes such images, for messages.
    channels : int
        Above 1, an image has a last axis of this length.
    """

    ndim: int
    owner: str
    channels: int = 1

    @property
    def axes(self) -> str:
        """Axes of an array for messages: ``(Y, X)`` or ``(Y, X, 3)``."""
        return f"({', '.join([*self._spatial, *([str(self.channels)] if self.channels > 1 else [])])})"

    def is_one(self, array: Any, what: str) -> bool:
        """Tell one image from a stack of them.

        Raises
        ------
        InputError
            If the array is neither, or its images have no pixels.
        """
        shape = tuple(array.shape)
        length = self.ndim + (self.channels > 1)
        fits = len(shape) in (length, length + 1)
        if self.channels > 1 and (len(shape) == self.ndim or (fits and shape[-1] != self.channels)):
            raise InputError(
                f"{what} has shape {shape}, but {self.owner} takes {self.axes}, the channels last; "
                "give all channels, or use a model of one channel"
            )
        if not fits:
            raise InputError(f"{what}: shape {shape}; {self.owner} takes one image {self.axes} or a stack of them")
        if 0 in shape[-length:]:
            raise InputError(f"{what} has shape {shape} and so no pixels; leave it out")
        return len(shape) == length

    def pixels(self, image: Any) -> Any:
        """Take the pixels out of a :class:`divseg.Image`, channels last; everything else passes.

        Raises
        ------
        InputError
            If the Image has other axes.
        """
        if _is_array(image) or isinstance(image, str | bytes | list | tuple):
            return image
        from divseg.io import Image

        if not isinstance(image, Image):
            return image
        wanted = ("C" if self.channels > 1 else "") + self._spatial
        if image.axes != wanted:
            raise InputError(
                f"{image.name}: axes {image.axes}; {self.owner} takes {wanted}: choose a channel or a plane, "
                "or another segmenter"
            )
        return np.moveaxis(image.data, 0, -1) if self.channels > 1 else image.data

    @property
    def _spatial(self) -> str:
        return "ZYX"[-self.ndim :]


class Source(NamedTuple):
    """Images as stacks.

    Attributes
    ----------
    stacks : iterator of (int, array or tensor)
        Number of the first image of a stack, counted from 0, and the stack, shape (N, ...).
    single : bool
        Whether there is one image, which came without an axis N.
    streamed : bool
        Whether the stacks are the elements of an iterable, which are taken one by one.
    """

    stacks: Iterator[tuple[int, Any]]
    single: bool
    streamed: bool


def read_images(images: Any, form: ImageForm) -> Source:
    """Read whatever holds images.

    Parameters
    ----------
    images : array, tensor, Image or iterable of them
        An array is one image or a stack, by its number of axes. Elements of an iterable likewise.
    form : ImageForm
        Axes of an image.

    Raises
    ------
    InputError
        Nothing that holds images of that form; while the stacks are taken, for elements of an iterable.
    """
    array = form.pixels(images)
    if _is_array(array):
        single = form.is_one(array, "images")
        return Source(iter([(0, _as_stack(array) if single else array)]), single, False)
    if isinstance(array, str | bytes | Mapping) or not isinstance(array, Iterable):
        raise InputError(
            f"cannot segment {type(images).__name__} {str(images)[:40]!r}; give an array {form.axes}, a stack of such "
            "arrays or an iterable of them (divseg.read reads files)"
        )
    return Source(_stacks(array, form), False, True)


def read_reference(image: Any, form: ImageForm) -> Any:
    """Return the pixels of the one image that parameters are taken from, as array or tensor.

    Raises
    ------
    InputError
        If this is not one image of that form.
    """
    array = form.pixels(image)
    if not _is_array(array) or not form.is_one(array, "the reference"):
        what = f"shape {tuple(array.shape)}" if _is_array(array) else f"a {type(image).__name__}"
        raise InputError(f"the reference is {what}; give one image {form.axes}, for example the MMSE")
    return array if hasattr(array, "cpu") else np.asarray(array)


def label_images(
    images: Any, segment: Callable[[NDArray[np.floating]], NDArray[np.int32]], form: ImageForm, threads: int = 1
) -> Any:
    """Apply a function of one image to whatever holds images.

    Parameters
    ----------
    images : array, tensor, Image or iterable of them
        See :func:`read_images`.
    segment : callable
        Takes one checked NumPy image (float32 or float64, finite) and returns its label image.
    form : ImageForm
        Axes of an image.
    threads : int
        Number of images of a stack that are worked on at once; above 1, `segment` must be thread-safe.

    Returns
    -------
    LabelImage, or iterator of LabelImage
        See :class:`divseg.segment.Segmenter`.

    Raises
    ------
    InputError
        Nothing that holds images, wrong dimensions, no pixels, or pixels that are not finite numbers.
    """
    source = read_images(images, form)
    results = _labelled(source.stacks, segment, threads)
    return next(results) if source.single else results


def check_valid(valid: NDArray[np.bool_], image: Any, name: str) -> None:
    """Raise InputError if what is data of an image is not said for each of its pixels."""
    if valid.shape != tuple(image.shape):
        raise InputError(
            f"image has shape {tuple(image.shape)}, but segmenter {name!r} was told which pixels are data for shape "
            f"{valid.shape}; use within() for each image"
        )


def check_pixels(image: Any, what: str) -> NDArray[np.floating]:
    """Return an array or tensor as a NumPy array, float32, or float64 if float32 cannot hold its values.

    Raises
    ------
    InputError
        Pixels that are not finite real numbers.
    """
    array = _as_numpy(image)
    if array.dtype.kind not in "buif":
        raise InputError(f"{what} has dtype {array.dtype}; pixels must be real numbers")
    exact = array.dtype.kind == "b" or array.dtype.itemsize <= 2 or array.dtype == np.float32
    pixels: NDArray[np.floating] = array.astype(np.float32 if exact else np.float64, copy=False)
    if not np.isfinite(pixels).all():
        bad = int(pixels.size - np.isfinite(pixels).sum())
        raise InputError(f"{what} has {bad} pixels that are NaN or infinite; replace them before segmenting")
    return pixels


def image_name(number: int) -> str:
    """Name an image of a stack or stream for messages."""
    return f"image {number} (counted from 0)"


def _stacks(elements: Iterable[Any], form: ImageForm) -> Iterator[tuple[int, Any]]:
    done = 0
    for element in elements:
        array = form.pixels(element)
        if not _is_array(array):
            raise InputError(
                f"{image_name(done)} is a {type(element).__name__}; give arrays {form.axes} or stacks of them"
            )
        stack = _as_stack(array) if form.is_one(array, image_name(done)) else array
        yield done, stack
        done += len(stack)


def _labelled(
    stacks: Iterator[tuple[int, Any]], segment: Callable[[NDArray[np.floating]], NDArray[np.int32]], threads: int
) -> Iterator[LabelImage]:
    for first, stack in stacks:
        if hasattr(stack, "cpu"):
            stack = _as_numpy(stack)  # one transfer for the stack

        def one(i: int, stack: Any = stack, first: int = first) -> LabelImage:
            return LabelImage(segment(check_pixels(stack[i], image_name(first + i))))

        together = min(threads, len(stack))
        yield from map(one, range(len(stack))) if together < 2 else map_ahead(one, range(len(stack)), together)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (hasattr(value, "ndim") and hasattr(value, "shape"))


def _as_stack(image: Any) -> Any:
    return image[None] if hasattr(image, "cpu") else np.asarray(image)[None]


def _as_numpy(array: Any) -> NDArray[Any]:
    if hasattr(array, "cpu"):
        tensor = array.detach().cpu()
        try:
            return np.asarray(tensor.numpy())
        except TypeError:  # bfloat16 has no NumPy counterpart
            return np.asarray(tensor.float().numpy())
    return np.asarray(array)
