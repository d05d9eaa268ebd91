"""From what a user hands in to checked pixels in the order the network wants: (C, *sides) or (*sides)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divseg.denoise.networks.base import NetworkShape
from divseg.denoise.networks.registry import default_network
from divseg.errors import InputError
from divseg.io import Image, as_images, check_pixels, check_plane


def plane(image: Image | NDArray[np.generic], smallest: int = 1) -> NDArray[np.generic]:
    """Return an image's checked 2-D array.

    Raises
    ------
    InputError
        If the image is not 2-D with one channel, has pixels that are no numbers, or a side of fewer than
        `smallest` pixels.
    """
    pixels = check_plane(image, "this version works on")
    if min(pixels.shape) < smallest:
        name = image.name if isinstance(image, Image) else "image"
        raise InputError(
            f"{name}: {pixels.shape[0]}x{pixels.shape[1]} pixels are smaller than the network's tile of "
            f"{smallest}x{smallest}; leave it out or crop less"
        )
    return pixels


def axes_of(config: NetworkShape, ndim: int) -> str:
    """Axes that an array with `ndim` dimensions has for a network: with or without channels."""
    spatial = "ZYX"[-config.dims :]
    return "C" + spatial if ndim == config.dims + 1 else spatial


def pixels_for(config: NetworkShape, image: Image | NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the checked pixels of an image, in the shape it came in.

    Parameters
    ----------
    config : NetworkShape
        Says how many spatial axes and channels are needed.
    image : Image or array
        An array has axes (Y, X) or (Z, Y, X), after (C) where the network has several channels.

    Raises
    ------
    InputError
        If axes or channels are not the network's, or pixels are no numbers.
    """
    if not isinstance(image, Image):
        array = np.asarray(image)
        several = config.channels > 1
        if array.ndim != config.dims + several and array.ndim != config.dims + 1:
            needed = ("C" if several else "") + "ZYX"[-config.dims :]
            raise InputError(
                f"an array of shape {array.shape} does not fit this model, which works on axes {needed}; "
                "give the image as an Image with its axes, or one of its planes"
            )
        image = Image.from_array(array, axes=axes_of(config, array.ndim))
    _check_fit(config, image)
    check_pixels(image)
    return image.data


def _check_fit(config: NetworkShape, image: Image) -> None:
    spatial = "ZYX"[-config.dims :]
    channels = image.shape[0] if image.axes[0] == "C" else 1
    if image.axes.removeprefix("C") != spatial or channels != config.channels:
        raise InputError(
            f"{image.name}: axes {image.axes} of shape {image.shape}; this model works on axes {spatial} with "
            f"{config.channels} channel(s)"
        )


class TrainingImages(Sequence[NDArray[np.generic]]):
    """Images as checked arrays, loaded one at a time, all with the axes and channels of the first.

    Parameters
    ----------
    images : as for :func:`divseg.io.as_images`
    network : NetworkShape, optional
        :func:`divseg.denoise.networks.registry.default_network` where it is not given. Its spatial axes and channels
        are set to those of the images.

    Attributes
    ----------
    config : NetworkShape
        Fits the images.
    """

    def __init__(self, images: Any, network: NetworkShape | None = None) -> None:
        self.images = as_images(images)
        first = self.images[0]
        axes = first.axes
        dims = len(axes.removeprefix("C"))
        shape = network or default_network(dims)
        self.config = shape.fitted(first.shape[0] if axes[0] == "C" else 1, dims)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> Any:
        return pixels_for(self.config, self.images[index])
