"""The stages of one image after fusion: measure its objects, and write their outlines for other programs."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from divseg.io import read_labels
from divseg.metrics.measurements import measure_objects
from divseg.results.reader import read_table
from divseg.workflow.moments import mmse, other_means
from divseg.workflow.stage import UnitContext


def measure(context: UnitContext) -> None:
    """Measure size, shape and intensity of every object, in the denoised image and over the samples too."""
    context.step("measure")
    image, stack, unit = context.load(), context.memory["stack"], context.unit
    intensities = context.memory["intensities"]
    raw = [image.data, *(unit.channel(name).data for name in unit.measured)]
    table = measure_objects(
        consensus_labels(context),
        np.stack(raw),
        channels=("", *unit.measured),
        denoised=np.stack([mmse(context), *other_means(context)]),
        samples=((stack.labels(k), moments) for k, moments in enumerate(intensities)),
        valid=image.valid,
        pixel_size=image.pixel_size,
    )
    context.write.measurements(table)


def export(context: UnitContext) -> None:
    """Write the objects, with what is known of them, for other programs: outlines, OME-Zarr."""
    from divseg.io.objects_out import write_geojson, write_rois

    context.step("export")
    labels, objects = consensus_labels(context), read_table(context.store.objects(context.unit.name))
    for kind, write in (("rois", write_rois), ("geojson", write_geojson)):
        if kind in context.tools.kept and labels.ndim == 2:
            context.write.outlines(kind, partial(write, labels=labels, objects=objects))
    if "zarr" in context.tools.kept:
        from divseg.io.ome_zarr_out import ome_zarr_files

        image, name = mmse(context), context.unit.name.rsplit("/", 1)[-1]
        context.write.zarr(ome_zarr_files(image, labels, objects, context.unit.pixel_size, name))


def consensus_labels(context: UnitContext) -> NDArray[np.integer]:
    """Return the fused label image, from memory or from its file."""
    if "consensus" in context.memory:
        labels: NDArray[np.integer] = context.memory["consensus"].labels
        return labels
    return read_labels(context.store.labels(context.unit.name))
