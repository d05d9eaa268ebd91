"""What a run folder holds of one image, each piece of which may be missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from divseg.errors import one_line
from divseg.report.volumes import Volume, plane_to_show
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
    detail : numpy.ndarray or None
        The same part of the noisy image, shape (Y, X).
    missing : tuple of str
        A line for every piece that could not be read.
    volume : Volume, optional
        The volume that all these are one plane of.
    """

    name: str
    labels: np.ndarray | None
    noisy: np.ndarray | None
    mmse: np.ndarray | None
    std: np.ndarray | None
    crop: Crop | None
    detail: np.ndarray | None
    missing: tuple[str, ...]
    volume: Volume | None = None

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
        Of a volume the plane in the middle of its objects. Pieces that are absent, unreadable or of another size than
        the first one read are None, with a line in ``missing``.
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
        if image.ndim not in (2, 3) or not image.size:
            missing.append(f"{piece} (expected a plane or a volume, got shape {image.shape})")
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
    if crop is not None and shape and not crop.lies_in(shape[0]):
        missing.append(f"samples (a part of an image of another size than {shape[0]})")
        crop = None
    detail = None if crop is None or noisy is None else crop.part_of(noisy)
    if not shape or len(shape[0]) == 2:
        return ImageData(name, labels, noisy, mmse, std, crop, detail, tuple(missing))
    z = plane_to_show(labels, shape[0][0])
    volume = Volume(labels, mmse if mmse is not None else noisy, z)
    labels, noisy, mmse, std = (None if image is None else image[z] for image in (labels, noisy, mmse, std))
    return ImageData(name, labels, noisy, mmse, std, crop, detail, tuple(missing), volume)
