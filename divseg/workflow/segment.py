"""``divseg segment``: images segmented as they are, without samples, consensus or confidence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from divseg.config import RunConfig
from divseg.errors import ConfigError
from divseg.io import check_inputs, check_pixels
from divseg.io.pixel_size import plane_distance
from divseg.io.sources import Source
from divseg.results import RunStore
from divseg.results.rows import defect_columns, failure_rows, left_out_rows
from divseg.segment import Segmenter, segmenter
from divseg.workflow.choose_segmenter import asked_candidates
from divseg.workflow.engine import Job, Result
from divseg.workflow.plan import carry_out
from divseg.workflow.progress import Reporter
from divseg.workflow.run import absolute
from divseg.workflow.series import series_stage
from divseg.workflow.sharing import Options
from divseg.workflow.stage import Stage, UnitContext
from divseg.workflow.units import ImageUnit
from divseg.workflow.volumes import check_dimensions, in_3d

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass
class SegmentTools:
    """The segmenter, shared by all images; made in each process when it is first needed."""

    name: str

    def __getstate__(self) -> dict[str, Any]:
        """Leave the segmenter out."""
        return {"name": self.name}

    @cached_property
    def segment(self) -> Segmenter:
        """The segmenter."""
        return segmenter(self.name)


def segment_folder(
    source: Source,
    out: str | os.PathLike[str],
    spec: str,
    *,
    options: Options | None = None,
    dry_run: bool = False,
    reporter: Reporter | None = None,
    **data: Any,
) -> Result:
    """Segment images as they are: denoised ones, or noisy ones as a baseline of ``divseg run``.

    An image that cannot be segmented is a row of ``failures.csv`` and stops nothing. Images that are finished with the
    same segmenter are skipped.

    Parameters
    ----------
    source : path, glob or list of those
        The images.
    out : path
        Where results go: ``labels/<name>.tif``, ``series/<name>.tif`` (the labels of all frames of a file),
        ``objects.csv`` (label, centroid, area), ``images.csv``, ``failures.csv``, ``run.json``.
    spec : str
        As for :func:`divseg.segmenter`.
    options, dry_run, reporter, **data
        As for :func:`divseg.workflow.denoise.denoise_folder`.

    Returns
    -------
    Result

    Raises
    ------
    DivsegError
        For an unknown segmenter, if there is no image, or if results cannot be written.
    """
    if asked_candidates(spec) is not None:
        raise ConfigError("segmenter auto needs posterior samples: use divseg run, or name a segmenter")
    chosen = RunConfig.make(data=data).data
    made = segmenter(in_3d(spec) if chosen.volume else spec)
    check_dimensions(made, chosen.volume)
    name = made.name
    found = check_inputs(source, **chosen.reading, out=Path(out))
    stage = Stage("segment", segment_image, {"segmenter": name, "data": chosen.pixels}, reads=("image",))
    n_files = len(found.images) + len(found.problems)

    def lines(store: RunStore, tables: Mapping[str, pd.DataFrame]) -> list[str]:
        images = tables["images"]
        count = int(images["n_objects"].sum()) if len(images) else 0
        return [f"{len(images)} of {n_files} images segmented by {name}, {count} objects"]

    units = [ImageUnit(ref) for ref in found.images.refs]
    series = series_stage(units, "segment")
    config = {"segmentation": {"segmenter": name}, "data": chosen.model_dump(mode="json")}
    job = Job(
        command="segment",
        units=units,
        after=[] if series is None else [series],
        stages=lambda _: [stage],
        tools=lambda *_: SegmentTools(name),
        failures=failure_rows(found.problems),
        left_out=left_out_rows(found.left_out),
        facts=lambda *_: {"config": config, "segmenter": name, "input": str(source)},
        lines=lines,
        invocation={"source": absolute(source), "spec": name, **data},
        device="auto" if name.startswith("stardist") else "cpu",
    )
    return carry_out(job, out, options, reporter, found.lines(), dry_run=dry_run, check=_pixels)


def segment_image(context: UnitContext) -> None:
    """Segment one image; write its labels, objects and row of images.csv."""
    context.step("segment")
    image, pixels = context.load(), _pixels(context)
    segment = context.tools.segment.within(image.valid).spaced(plane_distance(image.pixel_size))
    labels = np.asarray(segment.fit(pixels)(pixels))
    objects = object_table(labels)
    context.write.objects(objects)
    context.write.labels(labels, image.pixel_size)
    area = float(objects["area"].mean()) if len(objects) else None
    context.write.row |= {**context.unit.row(), **defect_columns(image), "n_objects": len(objects), "area_mean": area}


def _pixels(unit: ImageUnit | UnitContext) -> NDArray[np.generic]:
    """Return the pixels of an image, if it is one that can be segmented."""
    image = unit.load()
    check_pixels(image)
    return image.data


def object_table(labels: NDArray[np.integer]) -> pd.DataFrame:
    """Return label, centroid and area (in volumes the voxels) of every object of a label image."""
    places = np.nonzero(labels)
    ids = labels[places]
    area = np.bincount(ids)
    names = np.flatnonzero(area)
    count = np.maximum(area, 1)
    centre = {
        f"centroid_{axis}": np.bincount(ids, weights=place, minlength=len(area))[names] / count[names]
        for axis, place in zip("zyx"[-labels.ndim :], places, strict=True)
    }
    return pd.DataFrame({"label": names, **centre, "area": area[names]})
