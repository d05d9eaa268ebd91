"""Which format a file has, and the images in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from divseg.errors import FileProblem
from divseg.io.image_source import ImageSource
from divseg.io.jpeg import jpeg_source
from divseg.io.png import png_source
from divseg.io.sources import SUFFIXES, is_zarr
from divseg.io.tiff import tiff_sources
from divseg.io.vendor import VENDORS, vendor_sources
from divseg.io.zarr_in import zarr_sources


def open_images(path: Path) -> Sequence[ImageSource]:
    """Read the headers of the images in a file: of all series, positions, scenes, or wells and fields.

    Raises
    ------
    FileProblem
        If it cannot be read.
    """
    suffix = path.suffix.lower()
    if is_zarr(path):
        return zarr_sources(path)
    if suffix not in SUFFIXES:
        raise FileProblem(path, f"files of type {suffix or 'unknown'} are not read", "convert it to TIFF")
    if suffix == ".png":
        return [png_source(path)]
    if suffix in (".jpg", ".jpeg"):
        return [jpeg_source(path)]
    return vendor_sources(path) if suffix in VENDORS else tiff_sources(path)


def open_mask(path: Path) -> ImageSource:
    """Read the header of a file of label images.

    Raises
    ------
    FileProblem
        If it cannot be read, or holds several series.
    """
    suffix = path.suffix.lower()
    if suffix == ".png":
        return png_source(path, labels=True)
    if suffix in (".jpg", ".jpeg"):
        raise FileProblem(path, "JPEG changes the numbers of labels", "save the mask as TIFF or PNG")
    sources = open_images(path)
    if len(sources) > 1:
        raise FileProblem(path, f"it holds {len(sources)} series of label images", "save each as a file of its own")
    return sources[0]
