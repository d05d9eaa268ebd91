"""Results of one image, on their way to the folder of the run."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from divseg.io.atomic import write_csv, write_json
from divseg.io.image import PixelSize
from divseg.io.labels import write_labels
from divseg.io.write import write_image
from divseg.results.layout import RunLayout


class UnitWriter:
    """Writes the results of one image, and its marker last; made by :meth:`divseg.io.RunStore.start`.

    Attributes
    ----------
    files : list of str
        Written so far, relative to the run's folder.
    """

    def __init__(self, layout: RunLayout, name: str, config_hash: str, fingerprint: str) -> None:
        self.layout, self.name = layout, name
        self.config_hash, self.fingerprint = config_hash, fingerprint
        self.files: list[str] = []

    def begin(self) -> None:
        """Write a marker that says which files may come, so that a later run can clear up after a crash."""
        coming = [self._relative(path) for path in self.layout.unit_files(self.name) if not path.exists()]
        self._mark({"status": "started", "files": coming})

    def labels(self, labels: ArrayLike, pixel_size: PixelSize | None = None) -> Path:
        """Write the label image and return its file; errors as :func:`divseg.io.write_labels`."""
        path = self.layout.labels(self.name)
        write_labels(path, labels, pixel_size)
        return self._written(path)

    def denoised(self, image: ArrayLike, pixel_size: PixelSize | None = None) -> Path:
        """Write the denoised image, (Y, X) or (Z, Y, X), and return its file."""
        path = self.layout.denoised(self.name)
        write_image(path, image, pixel_size, _axes(image))
        return self._written(path)

    def map(self, kind: str, image: ArrayLike, pixel_size: PixelSize | None = None) -> Path:
        """Write a map, such as ``"sd"`` or ``"foreground"``, and return its file."""
        path = self.layout.map(self.name, kind)
        write_image(path, image, pixel_size, _axes(image))
        return self._written(path)

    def samples(self, samples: ArrayLike, pixel_size: PixelSize | None = None) -> Path:
        """Write a few samples, (S, Y, X), and return their file."""
        path = self.layout.samples(self.name)
        write_image(path, samples, pixel_size, "SYX")
        return self._written(path)

    def objects(self, table: pd.DataFrame, alternatives: pd.DataFrame | None = None) -> Path:
        """Write the object table, a row per object, and return its file.

        Parameters
        ----------
        table : DataFrame
            A row per object.
        alternatives : DataFrame, optional
            A row per hypothesis that was not taken.
        """
        if alternatives is not None:
            beside = self.layout.alternatives(self.name)
            write_csv(beside, alternatives)
            self._written(beside)
        path = self.layout.objects(self.name)
        write_csv(path, table)
        return self._written(path)

    def finish(self, image: Mapping[str, Any], scores: Sequence[Mapping[str, Any]] = ()) -> None:
        """Write the marker: from now on the image is done.

        Parameters
        ----------
        image : mapping
            The image's row of images.csv, without its name.
        scores : sequence of mapping
            The image's rows of scores.csv, without its name.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        tables = {"objects": self.layout.objects(self.name), "alternatives": self.layout.alternatives(self.name)}
        places = {table: self._relative(path) for table, path in tables.items()}
        self._mark(
            {
                "status": "done",
                "files": self.files,
                "image": dict(image),
                **{table: place if place in self.files else None for table, place in places.items()},
                "scores": [dict(row) for row in scores],
            }
        )

    def fail(self, error: str | BaseException) -> None:
        """Remove what was written and mark the image as failed; the next run tries it again.

        Parameters
        ----------
        error : str or exception
            Why.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        for file in self.files:
            with contextlib.suppress(OSError):
                (self.layout.folder / file).unlink(missing_ok=True)
        text = error if isinstance(error, str) else str(error) or type(error).__name__
        self._mark({"status": "failed", "files": [], "error": " ".join(text.split())})

    def _mark(self, record: dict[str, Any]) -> None:
        known = {"name": self.name, "config_hash": self.config_hash, "fingerprint": self.fingerprint}
        write_json(self.layout.marker(self.name), {**known, **record}, nan=True)

    def _written(self, path: Path) -> Path:
        self.files.append(self._relative(path))
        return path

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.layout.folder).as_posix()


def _axes(image: ArrayLike) -> str:
    return "ZYX" if np.ndim(image) == 3 else "YX"
