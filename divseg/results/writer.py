"""Results of one stage of one image, on their way to the run folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from divseg.io import PixelSize, write_bytes, write_csv, write_image, write_labels, write_text
from divseg.io.atomic import output_error
from divseg.io.write import write_fractions
from divseg.results.crops import Crop, save_crop
from divseg.results.layout import RunLayout
from divseg.results.marker import Marker, StageRecord
from divseg.results.rivals import save_rivals


class StageWriter:
    """Writes the results of one stage beside the earlier ones, and puts them in their place when all are there.

    Until :meth:`commit` the earlier results of the image stay as they are.

    Parameters
    ----------
    layout : RunLayout
        Names of the files.
    marker : Marker
        What is done of the image; changed and written by :meth:`commit`.
    stage : str
        Name of the stage.
    """

    def __init__(self, layout: RunLayout, marker: Marker, stage: str) -> None:
        self.layout, self.marker, self.stage, self.name = layout, marker, stage, marker.name
        self.row: dict[str, Any] = {}
        self.scores: list[dict[str, Any]] = []
        self.info: dict[str, Any] = {}
        self._files: dict[str, Path] = {}
        marked = layout.marker(marker.name)
        self._pending = marked.with_name(f".{marked.stem}.{stage}")
        if self._pending.exists():  # left by a run that was killed
            shutil.rmtree(self._pending, ignore_errors=True)

    def labels(self, labels: ArrayLike, pixel_size: PixelSize | None = None) -> None:
        """Write the label image; errors as :func:`divseg.io.write_labels`."""
        self._write(self.layout.labels(self.name), lambda path: write_labels(path, labels, pixel_size))

    def denoised(self, image: ArrayLike, pixel_size: PixelSize | None = None, compress: bool = False) -> None:
        """Write the denoised image, (Y, X) or (Z, Y, X)."""
        self._image(self.layout.denoised(self.name), image, pixel_size, compress)

    def channels(self, images: ArrayLike, pixel_size: PixelSize | None = None) -> None:
        """Write the other denoised channels, (C, Y, X) or (C, Z, Y, X)."""
        axes = "C" + "ZYX"[-np.ndim(images) + 1 :]
        target = self.layout.channels(self.name)
        self._write(target, lambda path: write_image(path, images, pixel_size, axes, compress=True))

    def map(self, kind: str, image: ArrayLike, pixel_size: PixelSize | None = None, compress: bool = False) -> None:
        """Write a map of intensities, such as ``"std"``."""
        self._image(self.layout.map(self.name, kind), image, pixel_size, compress)

    def fractions(self, kind: str, image: ArrayLike, pixel_size: PixelSize | None = None) -> None:
        """Write a map of fractions from 0 to 1, such as ``"foreground"``, in 8 bits."""
        axes = "ZYX"[-np.ndim(image) :]
        self._write(self.layout.map(self.name, kind), lambda path: write_fractions(path, image, pixel_size, axes))

    def samples(self, samples: ArrayLike, pixel_size: PixelSize | None = None, *, several: bool = False) -> None:
        """Write a few samples, (S, Y, X) or (S, Z, Y, X); with `several` channels (S, C, Y, X) or (S, C, Z, Y, X)."""
        axes = ("SC" if several else "S") + "ZYX"[1 + several - np.ndim(samples) :]
        self._write(self.layout.samples(self.name), lambda path: write_image(path, samples, pixel_size, axes))

    def crop(self, crop: Crop) -> None:
        """Write a part of the first samples."""
        self._write(self.layout.crop(self.name), lambda path: save_crop(path, crop))

    def stack(self, save: Callable[[Path], Any]) -> None:
        """Write the label images of all samples; `save` writes them to the path that it is given."""
        self._write(self.layout.stack(self.name), save)
        self.info["stack_sha256"] = file_sha256(self._files[self._relative(self.layout.stack(self.name))])

    def intensities(self, save: Callable[[Path], Any]) -> None:
        """Write the intensities of all objects of all samples; `save` writes them to the path that it is given."""
        self._write(self.layout.intensities(self.name), save)

    def rivals(self, truth: NDArray[np.integer], labels: Mapping[str, NDArray[np.integer]]) -> None:
        """Write truth, and the label images that the consensus is compared with, by their names in scores.csv."""
        self._write(self.layout.rivals(self.name), lambda path: save_rivals(path, truth, labels))

    def outlines(self, kind: str, save: Callable[[Path], Any]) -> None:
        """Write the outlines of the objects, ``"rois"`` or ``"geojson"``."""
        self._write(self.layout.outlines(self.name, kind), save)

    def zarr(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Write the files of an OME-Zarr, each a path inside of its folder and what it holds."""
        for name, content in files:
            self._write(self.layout.zarr(self.name) / name, partial(write_bytes, data=content))

    def objects(self, table: pd.DataFrame, alternatives: pd.DataFrame | None = None) -> None:
        """Write the object table, a row per object, and a row for each hypothesis that was not taken."""
        if alternatives is not None:
            self._write(self.layout.alternatives(self.name), lambda path: write_csv(path, alternatives))
        self._write(self.layout.objects(self.name), lambda path: write_csv(path, table))

    def measurements(self, table: pd.DataFrame) -> None:
        """Write the measurements, a row per object."""
        self._write(self.layout.measurements(self.name), lambda path: write_csv(path, table))

    def words(self, text: str, table: pd.DataFrame) -> None:
        """Write the text that stands in the image, and the table of its words."""
        self._write(self.layout.text(self.name), lambda path: write_text(path, text))
        self._write(self.layout.words(self.name), lambda path: write_csv(path, table))

    def commit(self, key: str, warnings: Sequence[str] = (), seconds: float = 0.0, kept: Sequence[str] = ()) -> None:
        """Put the results in their place; from now on the stage is done.

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        path = self.layout.marker(self.name)
        earlier = self.marker.stages.pop(self.stage, None)
        gone = sorted(set(earlier.files) - self._files.keys()) if earlier is not None else []
        if earlier is not None:  # with its record, files of two settings could be taken for one
            self.marker.write(path)
        try:
            for file, new in self._files.items():
                target = self.layout.folder / file
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(new, target)
            for file in gone:
                (self.layout.folder / file).unlink(missing_ok=True)
            if self._files:
                self._pending.rmdir()
        except OSError as error:
            raise output_error(self.layout.folder, error) from error
        self.marker.stages[self.stage] = StageRecord(
            key, list(self._files), self.row, self.scores, self.info, list(warnings), round(seconds, 3), list(kept)
        )
        self.marker.failure = None
        self.marker.write(path)

    def discard(self) -> None:
        """Remove what was written and not committed."""
        with contextlib.suppress(OSError):
            shutil.rmtree(self._pending, ignore_errors=True)

    def _image(self, target: Path, image: ArrayLike, pixel_size: PixelSize | None, compress: bool) -> None:
        axes = "ZYX"[-np.ndim(image) :]
        self._write(target, lambda path: write_image(path, image, pixel_size, axes, compress))

    def _write(self, target: Path, write: Callable[[Path], Any]) -> None:
        file = self._relative(target)
        new = self._pending / file.replace("/", "_")
        write(new)
        self._files[file] = new

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.layout.folder).as_posix()


def forget(layout: RunLayout, marker: Marker, stages: Sequence[str], failure: Mapping[str, str] | None) -> None:
    """Remove the results of some stages of an image, and note why: they are of other settings.

    Raises
    ------
    OutputError
        If the marker cannot be written.
    """
    files = [file for stage in stages if stage in marker.stages for file in marker.stages.pop(stage).files]
    marker.failure = None if failure is None else dict(failure)
    marker.write(layout.marker(marker.name))
    for file in files:
        with contextlib.suppress(OSError):
            (layout.folder / file).unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
