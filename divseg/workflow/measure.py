"""The stages of one image after fusion: measure its objects, and write their outlines for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from divseg.io import ImageRef, read_labels
from divseg.io.channels import find_channel, unique_names
from divseg.metrics.measurements import measure_objects
from divseg.results.reader import read_table
from divseg.workflow.moments import mmse
from divseg.workflow.stage import UnitContext


def measure(context: UnitContext) -> None:
    """Measure size, shape and intensity of every object, in the denoised image and over the samples too."""
    context.step("measure")
    image, stack = context.load(), context.memory["stack"]
    intensities = context.memory["intensities"]
    others = measured_channels(context.unit.ref, context.tools.config.data.measure)
    raw = [image.data, *(context.unit.ref.of_channel(number).load(check=False).data for number in others.values())]
    table = measure_objects(
        consensus_labels(context),
        np.stack(raw),
        channels=("", *others),
        denoised=mmse(context),
        samples=((stack.labels(k), moments) for k, moments in enumerate(intensities)),
        valid=image.valid,
        pixel_size=image.pixel_size,
    )
    context.write.measurements(table)


def measured_channels(ref: ImageRef, asked: Sequence[str]) -> dict[str, int]:
    """Return name and number of the channels that objects are measured in, beside the one that is segmented.

    Parameters
    ----------
    ref : ImageRef
        The image.
    asked : sequence of str
        Names or numbers, or ``("all",)`` for all others.

    Raises
    ------
    FileProblem
        If a channel does not exist or shares its name with another.
    """
    names = unique_names(ref.n_channels, ref.source.channels)
    if tuple(asked) == ("all",):
        return {name: k for k, name in enumerate(names) if k != ref.channel}
    numbers = [find_channel(ref.path, one, ref.n_channels, ref.source.channels, option="--measure") for one in asked]
    return {names[k]: k for k in numbers}


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
