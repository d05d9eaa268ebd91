"""What a run folder holds of one image, each piece of which may be missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from divseg.errors import one_line
from divseg.results.crops import Crop
from divseg.results.files import NotKept
from divseg.results.open_run import Run


@dataclass(frozen=True)
class ImageData:
    """What a run folder holds of one image.

    Attributes
    ----------
    name : str
        Image name as in ``images.csv``.
    labels : numpy.ndarray or None
        Label image, shape (Y, X), 0 = background.
    noisy, mmse, std : numpy.ndarray or None
        Noisy image, mean and standard deviation of the posterior samples, shape (Y, X), in the intensity unit of the
        input.
    crop : Crop or None
        A part of a few posterior samples.
    missing : tuple of str
        A line for every piece that could not be read.
    """

    name: str
    labels: np.ndarray | None
    noisy: np.ndarray | None
    mmse: np.ndarray | None
    std: np.ndarray | None
    crop: Crop | None
    missing: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width in pixels, None if nothing could be read."""
        for image in (self.labels, self.mmse, self.noisy, self.std):
            if image is not None:
                return image.shape[0], image.shape[1]
        return None


def read_image_data(run: Run, name: str) -> ImageData:
    """Read everything that a run folder holds of one image.

    Parameters
    ----------
    run : Run
        The run.
    name : str
        Image name as in ``images.csv``.

    Returns
    -------
    ImageData
        Pieces that are absent, unreadable or of another size than the first one read are None, with a line in
        ``missing``.
    """
    missing: list[str] = []
    shape: list[tuple[int, ...]] = []

    def attempt(piece: str, reader: Callable[[], Any]) -> Any:
        try:
            return reader()
        except NotKept:
            return None
        except Exception as error:  # a damaged image must not cost the whole report
            missing.append(f"{piece} ({one_line(error)})")
            return None

    def fitting(piece: str, image: np.ndarray | None) -> np.ndarray | None:
        if image is None:
            return None
        if image.ndim != 2 or not image.size:
            missing.append(f"{piece} (expected a 2-D image, got shape {image.shape})")
            return None
        if shape and image.shape != shape[0]:
            missing.append(f"{piece} (shape {image.shape} differs from {shape[0]})")
            return None
        shape.append(image.shape)
        return image

    sources = (
        ("labels", lambda: run.labels[name]),
        ("MMSE", lambda: run.denoised[name]),
        ("standard deviation", lambda: run.std[name]),
        ("noisy image", lambda: run.images[name]),
    )
    labels, mmse, std, noisy = (fitting(piece, attempt(piece, reader)) for piece, reader in sources)
    crop: Crop | None = attempt("samples", lambda: run.crops[name])
    if crop is not None and shape and not _inside(crop, shape[0]):
        missing.append(f"samples (a part of an image of another size than {shape[0]})")
        crop = None
    return ImageData(name, labels, noisy, mmse, std, crop, tuple(missing))


def _inside(crop: Crop, shape: tuple[int, ...]) -> bool:
    """Tell whether a part lies in an image of a shape."""
    height, width = crop.samples.shape[1:]
    return crop.y >= 0 and crop.x >= 0 and crop.y + height <= shape[0] and crop.x + width <= shape[1]
