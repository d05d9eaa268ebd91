"""A folder of images, segmented as they are: no samples, no consensus, no confidence."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from divseg.errors import ConfigError
from divseg.io import Image, InputReport, check_inputs, check_plane
from divseg.results import RunStore
from divseg.segment import Segmenter, segmenter
from divseg.workflow.choose_segmenter import asked_candidates
from divseg.workflow.folder_job import FolderJob, FolderResult
from divseg.workflow.progress import LogReporter, Reporter

if TYPE_CHECKING:
    from divseg.results import UnitWriter


def segment_folder(
    source: Any,
    out: str | os.PathLike[str],
    spec: str,
    *,
    axes: str | None = None,
    channel: int | None = None,
    reporter: Reporter | None = None,
) -> FolderResult:
    """Segment images as they are: denoised ones, or noisy ones as a baseline of ``divseg run``.

    An image that cannot be segmented is a row of ``failures.csv`` and stops nothing. Images that are finished with the
    same segmenter are skipped.

    Parameters
    ----------
    source, axes, channel
        As for :func:`divseg.read`.
    out : path
        Where results go: ``labels/<name>.tif``, ``objects.csv`` (label, centroid, area), ``images.csv``,
        ``failures.csv``, ``run.json``.
    spec : str
        As for :func:`divseg.segmenter`.
    reporter : Reporter, optional
        Told what is done; by default everything goes to the ``divseg`` logger.

    Returns
    -------
    FolderResult

    Raises
    ------
    DivsegError
        For an unknown segmenter, where there is no image, or where results cannot be written.
    """
    if asked_candidates(spec) is not None:
        raise ConfigError("segmenter auto needs posterior samples: use divseg run, or name a segmenter")
    tell, chosen = reporter or LogReporter(), segmenter(spec)
    found = check_inputs(source, axes=axes, channel=channel, out=Path(out))
    for line in found.lines():
        tell.say(line)
    return _Job(found, RunStore(out, "segment"), chosen, tell).go(source)


class _Job(FolderJob):
    """The images of one folder."""

    stage = "segment"

    def __init__(self, found: InputReport, store: RunStore, segment: Segmenter, tell: Reporter) -> None:
        super().__init__(found, store, {"segmenter": segment.name}, tell)
        self.segment = segment

    def work(self, image: Image, writer: UnitWriter) -> dict[str, Any]:
        """Segment one image, write labels and objects."""
        pixels = check_plane(image, "divseg segment works on")
        labels = np.asarray(self.segment.fit(pixels)(pixels))
        objects = _objects(labels)
        writer.objects(objects)
        writer.labels(labels, image.pixel_size)
        return {"n_objects": len(objects), "area_mean": float(objects["area"].mean()) if len(objects) else None}

    def facts(self) -> dict[str, Any]:
        """Return the settings."""
        return {"config": {"segmenter": self.segment.name}}

    def words(self, tables: dict[str, pd.DataFrame]) -> str:
        """Return one line on what was done."""
        count = int(tables["images"]["n_objects"].sum()) if len(tables["images"]) else 0
        return f"{len(self.done)} of {self.total} images segmented by {self.segment.name}, {count} objects"


def _objects(labels: np.ndarray) -> pd.DataFrame:
    """Label, centroid and area of every object."""
    y, x = np.nonzero(labels)
    ids = labels[y, x]
    area = np.bincount(ids)
    names = np.flatnonzero(area)
    count = np.maximum(area, 1)
    centre = [np.bincount(ids, weights=axis, minlength=len(area))[names] / count[names] for axis in (y, x)]
    return pd.DataFrame({"label": names, "centroid_y": centre[0], "centroid_x": centre[1], "area": area[names]})
