"""What a run folder holds of an image, as layers of napari: tuples of data, keywords and kind."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from divseg.errors import DivsegError, DivsegWarning, InputError
from divseg.io import PixelSize
from divseg.results.files import NotInRun
from divseg.results.open_run import Run
from divseg.results.overlay import existence_colours, grey_limits
from divseg.results.reader import column, text

LayerData = tuple[Any, dict[str, Any], str]
"""Data, keywords of the layer, and kind of layer (``"image"`` or ``"labels"``), as npe2 readers return them."""

METADATA = "divseg"
"""Key of a layer's metadata with ``folder`` and ``image``: the run that it comes from."""

OPACITY = 0.4
"""Of labels: what lies below stays visible."""

_FRACTIONS = (("p_true", "p_true"), ("existence", "existence"), ("mean IoU", "mean_iou"), ("snr", "snr"))


def image_layers(run: Run, name: str) -> list[LayerData]:
    """Return the layers of one image.

    Parameters
    ----------
    run : Run
        The run.
    name : str
        Image.

    Returns
    -------
    list of tuple
        Noisy image, denoised image (MMSE), its standard deviation (hidden), samples (hidden; a slider goes through
        them), labels. What the run did not keep is left out.

    Raises
    ------
    InputError
        There is no such image, or it has no labels.

    Warns
    -----
    DivsegWarning
        A piece that is there and cannot be read, such as a noisy image that was moved.
    """
    labels = run.labels[name]
    scaling = scale(run.pixel_sizes[name], labels.ndim)
    pieces: list[tuple[str, Callable[[], NDArray[Any]], dict[str, Any]]] = [
        *([("noisy", lambda: run.images[name], {})] if run.command == "run" else []),
        ("MMSE", lambda: run.denoised[name], {}),
        ("standard deviation", lambda: run.std[name], {"colormap": "magma", "visible": False}),
        ("samples", lambda: run.samples[name], {"visible": False}),
    ]
    layers = []
    for kind, load, look in pieces:
        image = _attempt(load, warn=kind == "noisy")
        if image is None or image.shape[image.ndim - labels.ndim :] != labels.shape:
            continue
        keywords = {"name": f"{kind} [{name}]", "contrast_limits": grey_limits(image), **scaling, **look}
        if image.ndim > labels.ndim:
            keywords |= scale(run.pixel_sizes[name], labels.ndim, leading=image.ndim - labels.ndim)
        layers.append((image, _with_origin(keywords, run, name), "image"))
    keywords = {"name": f"labels [{name}]", **look_of_labels(labels, objects_of(run, name), run.pixel_sizes[name])}
    return [*layers, (np.array(labels, np.int32), _with_origin({**keywords, **scaling}, run, name), "labels")]


def stack_layers(run: Run, names: list[str]) -> list[LayerData]:
    """Return the layers of images that are the planes of one stack.

    Parameters
    ----------
    run : Run
        The run.
    names : list of str
        Planes, in order.

    Returns
    -------
    list of tuple
        Denoised images, shape (T, Y, X), if they were kept, and labels: those of a plane go on from the largest of the
        plane before it, since a layer has one colour for a label.
    """
    planes, tables, largest = [], [], 0
    for name in names:
        labels, objects = np.array(run.labels[name], np.int32), objects_of(run, name)
        planes.append(np.where(labels > 0, labels + largest, 0))
        tables.append(objects.assign(label=column(objects, "label") + largest))
        largest = max(largest, int(planes[-1].max()))
    size = run.pixel_sizes[names[0]]
    labels = np.stack(planes).astype(np.int32)
    keywords = {"name": f"labels [{run.folder.name}]", **look_of_labels(labels, pd.concat(tables), size, ndim=2)}
    layers: list[LayerData] = [(labels, {**keywords, **scale(size, 2, leading=1)}, "labels")]
    if all(name in run.denoised for name in names):
        denoised = np.stack([run.denoised[name] for name in names])
        keywords = {"name": f"MMSE [{run.folder.name}]", "contrast_limits": grey_limits(denoised)}
        layers.insert(0, (denoised, {**keywords, **scale(size, 2, leading=1)}, "image"))
    return layers


def look_of_labels(
    labels: NDArray[Any], objects: pd.DataFrame, size: PixelSize | None, ndim: int = 3
) -> dict[str, Any]:
    """Return keywords of a layer of labels: colours by confidence, and what the status bar says.

    Parameters
    ----------
    labels : int array
        Label image.
    objects : DataFrame
        Rows of ``objects.csv`` of this image.
    size : PixelSize or None
        Pixel size; without one areas are in pixels.
    ndim : int
        Most dimensions that an object has: 2 for a stack of planes.
    """
    return {
        "features": features(objects, size, min(labels.ndim, ndim)),
        "colormap": colours(labels, objects),
        "opacity": OPACITY,
    }


def colours(labels: NDArray[Any], objects: pd.DataFrame) -> dict[int | None, Any]:
    """Return the colour (R, G, B, A from 0 to 1) of each label by its confidence; white for one without.

    The confidence is ``p_true``, or existence if the run is not calibrated. Label 0 is transparent, and None stands for
    labels that are painted later.
    """
    if len(objects) and np.isfinite(column(objects, "p_true")).any():
        objects = objects.assign(existence=column(objects, "p_true"))
    present, rgb = existence_colours(labels, objects)
    table: dict[int | None, Any] = {None: (1.0, 1.0, 1.0, 1.0), 0: (0.0, 0.0, 0.0, 0.0)}
    for label, colour in zip(present.tolist(), rgb / 255, strict=True):
        table[int(label)] = (*colour.tolist(), 1.0)
    return table


def features(objects: pd.DataFrame, size: PixelSize | None, ndim: int = 2) -> pd.DataFrame:
    """Return what napari shows of the object below the cursor, a row each.

    Parameters
    ----------
    objects : DataFrame
        Rows of ``objects.csv`` of one image.
    size : PixelSize or None
        Pixel size; without one areas are in pixels.
    ndim : int
        Dimensions of an object; in 3-D the area is a volume.

    Returns
    -------
    DataFrame
        ``index`` (the label), ``p_true`` if the run is calibrated, ``existence``, ``mean IoU``, ``snr``, and ``area``
        and ``diameter`` with their 5 to 95 % interval as text, such as ``"103 (97 to 110) µm²"``. The first row is the
        background.
    """
    table = pd.DataFrame({"index": [0, *column(objects, "label").astype(int).tolist()]})
    for title, key in _FRACTIONS:
        values = column(objects, key)
        if np.isfinite(values).any():
            table[title] = [np.nan, *np.round(values, 2).tolist()]
    steps = [] if size is None else [size.z, size.y, size.x][-ndim:]
    known = [step for step in steps if step is not None]
    pixel = math.prod(known) ** (1 / ndim) if len(known) == ndim else 1.0
    for key, power, ending in (("area", ndim, "\u00b2" if ndim == 2 else "\u00b3"), ("diameter", 1, "")):
        unit = "px" if size is None or len(known) < ndim else f"{size.unit}{ending}"
        values, low, high = (column(objects, key + part) * pixel**power for part in ("", "_q05", "_q95"))
        if np.isfinite(values).any():
            texts = [
                interval_text(*row, unit) for row in zip(values.tolist(), low.tolist(), high.tolist(), strict=True)
            ]
            table[key] = [np.nan, *texts]
    return table


def interval_text(value: float, low: float, high: float, unit: str) -> str:
    """Return a value with its interval in words: ``"103 (97 to 110) µm²"``; the value alone without one."""
    if not np.isfinite(value):
        return ""
    interval = f" ({low:.4g} to {high:.4g})" if np.isfinite(low) and np.isfinite(high) else ""
    return f"{value:.4g}{interval} {unit}"


def objects_of(run: Run, name: str) -> pd.DataFrame:
    """Return the rows of ``objects.csv`` of one image."""
    return run.objects[np.array(text(run.objects, "image"), object) == name].reset_index(drop=True)


def scale(size: PixelSize | None, ndim: int, leading: int = 0) -> dict[str, Any]:
    """Return the keywords ``scale`` and ``units`` of a layer; none if the pixel size is not known.

    Parameters
    ----------
    size : PixelSize or None
        Pixel size.
    ndim : int
        Dimensions in space, 2 or 3.
    leading : int
        Axes before those of space, such as that of the samples.
    """
    if size is None:
        return {}
    steps = [size.y if size.z is None else size.z, size.y, size.x][-ndim:]
    return {"scale": [1.0] * leading + steps, "units": ["pixel"] * leading + [size.unit] * ndim}


def first_image(run: Run) -> str:
    """Return the image to look at first: that of the least certain object.

    Raises
    ------
    InputError
        The run has no finished image.
    """
    from divseg.results.queues import least_certain

    if not run.names:
        raise InputError(f"{run.folder}: no image of this run is finished; run it first")
    doubtful = text(least_certain(run.objects, 1), "image") if len(run.objects) else []
    return doubtful[0] if doubtful and doubtful[0] in run.labels else run.names[0]


def _with_origin(keywords: dict[str, Any], run: Run, name: str) -> dict[str, Any]:
    return {**keywords, "metadata": {METADATA: {"folder": str(run.folder), "image": name}}}


def _attempt(load: Callable[[], NDArray[Any]], warn: bool) -> NDArray[Any] | None:
    """Return a piece of a run; None if it is not there, with a warning if it should be or is damaged."""
    try:
        return load()
    except DivsegError as error:
        if warn or not isinstance(error, NotInRun):
            warnings.warn(str(error), DivsegWarning, stacklevel=3)
        return None
