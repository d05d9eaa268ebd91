"""From what a user passes in to checked images with the axes that the network works on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from divseg.denoise.networks.base import VAEConfig
from divseg.denoise.networks.registry import default_network
from divseg.errors import InputError
from divseg.io import Image, as_images, check_pixels

STEPS = 50
"""Values that a 32-bit float must have between the 1st and the 99th percentile of an image."""

_SAMPLE = 2**16

ImageLike: TypeAlias = Image | NDArray[np.generic]
"""A noisy image; an array has axes (Y, X) or (Z, Y, X), after (C) if the model has several channels."""
ImagesLike: TypeAlias = ImageLike | Iterable[ImageLike]
"""Images to train on: anything that :func:`divseg.io.as_images` takes."""


def pixels(image: ImageLike, smallest: int = 1) -> NDArray[np.generic]:
    """Return the checked array of an image with one channel, (Y, X) or (Z, Y, X).

    Raises
    ------
    InputError
        If the image has several channels, pixels that are not numbers or too far from 0 for their differences, or a
        side along Y or X of fewer than `smallest` pixels.
    """
    if not isinstance(image, Image):
        image = Image.from_array(np.asarray(image))
    if image.axes[0] == "C":
        raise InputError(f"{image.name}: {image.shape[0]} channels where one is worked on; choose it with --channel")
    check_pixels(image)
    _check_precision(image)
    if min(image.shape[-2:]) < smallest:
        raise InputError(
            f"{image.name}: {image.shape[-2]}x{image.shape[-1]} pixels are smaller than the network's tile of "
            f"{smallest}x{smallest}; leave it out or crop less"
        )
    return image.data


def checked_image(config: VAEConfig, image: ImageLike) -> Image:
    """Return an image whose axes and pixels a network can work on.

    Parameters
    ----------
    config : VAEConfig
        Sets the spatial axes and channels that are needed.
    image : Image or array
        An array has axes (Y, X) or (Z, Y, X), after (C) if the network has several channels.

    Raises
    ------
    InputError
        If axes or channels are not the network's, or pixels are not numbers or too far from 0 for their differences.
    """
    spatial = "ZYX"[-config.dims :]
    if not isinstance(image, Image):
        array = np.asarray(image)
        several = config.channels > 1
        if array.ndim != config.dims + several and array.ndim != config.dims + 1:
            raise InputError(
                f"an array of shape {array.shape} does not fit this model, which works on axes "
                f"{'C' if several else ''}{spatial}; give the image as an Image with its axes, or one of its planes"
            )
        image = Image.from_array(array, axes="C" + spatial if array.ndim == config.dims + 1 else spatial)
    channels = image.shape[0] if image.axes[0] == "C" else 1
    if image.axes.removeprefix("C") != spatial or channels != config.channels:
        raise InputError(
            f"{image.name}: axes {image.axes} of shape {image.shape}; this model works on axes {spatial} with "
            f"{config.channels} channel(s)"
        )
    check_pixels(image)
    _check_precision(image)
    return image


def _check_precision(image: Image) -> None:
    """Raise InputError if 32-bit floats, in which all is computed, cannot tell the pixels of an image apart."""
    data = image.data
    if data.dtype.itemsize <= 2 or data.dtype == np.float32:
        return
    some = data.ravel()[:: max(1, data.size // _SAMPLE)].astype(np.float64)
    low, high = np.quantile(some, (0.01, 0.99)).tolist()
    far = max(abs(low), abs(high))
    if high > low and float(np.spacing(np.float32(far))) * STEPS > high - low:
        raise InputError(
            f"{image.name}: its pixels are so far from 0 (about {far:.4g}) that their differences (about "
            f"{high - low:.3g}) are lost in 32-bit floats; subtract {low:.6g} from all pixels"
        )


class TrainingImages(Sequence[Image]):
    """Checked images, loaded one at a time, all with the axes and channels of the first.

    Parameters
    ----------
    images : as for :func:`divseg.io.as_images`
        Noisy images of one kind.
    network : VAEConfig, optional
        By default that of :func:`divseg.denoise.networks.registry.default_network`.

    Attributes
    ----------
    config : VAEConfig
        The network's settings, with the spatial axes and channels of the images.
    """

    def __init__(self, images: ImagesLike, network: VAEConfig | None = None) -> None:
        self.images = as_images(images)
        first = self.images[0]
        dims = len(first.axes.removeprefix("C"))
        self.config = (network or default_network(dims)).fitted(first.shape[0] if first.axes[0] == "C" else 1, dims)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Image:  # type: ignore[override]
        return checked_image(self.config, self.images[index])
