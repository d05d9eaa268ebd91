"""Several channels of one image as one image: they are denoised together, and each keeps its own noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from divseg.io.image import Image
from divseg.io.refs import ImageList, ImageRef


def load_joint(ref: ImageRef, others: Sequence[int], *, check: bool = True) -> Image:
    """Read the channel of a reference, and other channels of the same image.

    Parameters
    ----------
    ref : ImageRef
        The image, in its own channel.
    others : sequence of int
        Numbers of the other channels.
    check : bool
        As for :meth:`divseg.io.refs.ImageRef.load`, for each channel.

    Returns
    -------
    Image
        Axes ``"CYX"`` or ``"CZYX"``, the own channel first; data is what is data in all channels. Without other
        channels it is the image itself.
    """
    own = ref.load(check=check)
    if not others:
        return own
    parts = [own, *(ref.of_channel(number).load(check=check) for number in others)]
    masks = [part.valid for part in parts if part.valid is not None]
    valid = np.logical_and.reduce(masks) if masks else None
    return replace(own, data=np.stack([part.data for part in parts]), axes="C" + own.axes, valid=valid)


def first_channel(image: Image) -> Image:
    """Return an image of one channel as it is, of several the first."""
    return replace(image, data=image.data[0], axes=image.axes[1:]) if image.axes[0] == "C" else image


class JointImages(ImageList):
    """Images of several channels, read when they are indexed.

    Parameters
    ----------
    refs : sequence of ImageRef
        The images, in their own channel.
    others : sequence of (sequence of int)
        Numbers of the other channels of each.
    """

    def __init__(self, refs: Sequence[ImageRef], others: Sequence[Sequence[int]]) -> None:
        super().__init__(refs)
        self.others = tuple(map(tuple, others))

    def __getitem__(self, index: int) -> Image:  # type: ignore[override]
        return load_joint(self.refs[index], self.others[index], check=False)
