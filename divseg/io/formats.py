"""Which format a file has, and the images in it."""

from __future__ import annotations

from pathlib import Path

from divseg.errors import FileProblem
from divseg.io.image_source import ImageSource
from divseg.io.png import png_source
from divseg.io.sources import SUFFIXES
from divseg.io.tiff import tiff_sources


def open_images(path: Path) -> list[ImageSource]:
    """Read the headers of the images in a file: one for each series of a TIFF.

    Raises
    ------
    FileProblem
        If it cannot be read.
    """
    _check_suffix(path)
    if path.suffix.lower() == ".png":
        return [png_source(path)]
    return list(tiff_sources(path))


def open_mask(path: Path) -> ImageSource:
    """Read the header of a file of label images.

    Raises
    ------
    FileProblem
        If it cannot be read, or holds several series.
    """
    _check_suffix(path)
    if path.suffix.lower() == ".png":
        return png_source(path, labels=True)
    sources = open_images(path)
    if len(sources) > 1:
        raise FileProblem(path, f"it holds {len(sources)} series of label images", "save each as a file of its own")
    return sources[0]


def _check_suffix(path: Path) -> None:
    if (suffix := path.suffix.lower()) not in SUFFIXES:
        raise FileProblem(path, f"files of type {suffix or 'unknown'} are not read", "convert it to TIFF")
