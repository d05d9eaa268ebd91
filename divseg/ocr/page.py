"""From an image of intensities to a page that an engine reads: grey values, size, and which way is up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from divseg.ocr.engines import Engine
from divseg.ocr.reading import Reading

SCALES = (1, 2, 3, 4)
"""Enlargements that are tried; engines are trained on letters of some 30 pixels."""
PERCENTILES = (0.5, 99.5)
"""Of the mean image, shown as black and white."""
MARGIN = 0.25
"""Part of that range by which samples may go beyond it on both sides."""
TURNED = 1.5
"""A page is taken as upside down if its certainty is so many times greater after half a turn."""


@dataclass(frozen=True)
class Page:
    """How the images of one page are shown to an engine: the mean and all samples alike.

    Attributes
    ----------
    low, high : float
        Intensities that become black and white.
    scale : int
        Enlargement.
    upside_down : bool
        Whether the page is given half a turn.
    """

    low: float
    high: float
    scale: int = 1
    upside_down: bool = False

    def show(self, image: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Return the page of an image (Y, X)."""
        span = max(self.high - self.low, 1e-12)
        grey = np.rint(np.clip((image - self.low) * (255 / span), 0, 255)).astype(np.uint8)
        height, width = grey.shape
        size = (width * self.scale, height * self.scale)
        page = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC))
        return np.ascontiguousarray(page[::-1, ::-1]) if self.upside_down else page

    def read(self, image: NDArray[np.floating], engine: Engine) -> Reading:
        """Return what an engine reads on an image (Y, X), with boxes on the image as it is."""
        reading = engine(self.show(image)).scaled(1 / self.scale)
        return reading.upside_down(*image.shape) if self.upside_down else reading


def as_page(mean: NDArray[np.floating], engine: Engine, scales: Sequence[int] = SCALES, turn: bool = True) -> Page:
    """Choose how a page is shown: such that the engine reads most with most confidence on the mean image.

    Parameters
    ----------
    mean : (Y, X) array
        The denoised image.
    engine : Engine
        The engine.
    scales : sequence of int
        Enlargements to try.
    turn : bool
        Whether the page may be upside down.
    """
    low, high = np.percentile(mean, PERCENTILES)
    margin = MARGIN * float(high - low)
    pages = [Page(float(low) - margin, float(high) + margin, scale) for scale in scales]
    if len(pages) == 1 and not turn:
        return pages[0]
    certainty = [page.read(mean, engine).certainty for page in pages]
    best = int(np.argmax(certainty))
    page = pages[best]
    if turn:
        turned = Page(page.low, page.high, page.scale, upside_down=True)
        if turned.read(mean, engine).certainty > TURNED * certainty[best]:
            return turned
    return page
