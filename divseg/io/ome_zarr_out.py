"""Label images as OME-Zarr: an image with a group of labels beside it, and what is known of each label.

OME-NGFF 0.4 on Zarr 2, the version that most programs read, written as plain files: chunks are deflated by zlib, which
every reader of Zarr knows.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from divseg.io.image import PixelSize
from divseg.io.label_colours import label_colour
from divseg.io.objects_out import MEASURED
from divseg.io.pixel_size import MICRO

_VERSION, _CHUNK, _LABELS = "0.4", 1024, "consensus"


def ome_zarr_files(
    image: NDArray[np.float32],
    labels: NDArray[np.integer],
    objects: pd.DataFrame,
    pixel_size: PixelSize | None = None,
    name: str = "image",
) -> Iterator[tuple[str, bytes]]:
    """Yield the files of an OME-Zarr of an image and its labels.

    Both have levels of half the size along Y and X, every second pixel of the one before, as long as a side is longer
    than a chunk.

    Parameters
    ----------
    image : float32 array, shape (Y, X) or (Z, Y, X)
        Intensities.
    labels : integer array, shape of the image
        0 = background.
    objects : DataFrame
        With the column `label`; its numbers of :data:`divseg.io.objects_out.MEASURED` and ``class`` become properties
        of the label.
    pixel_size : PixelSize, optional
        Becomes the scale; its unit is written if it is µm.
    name : str
        Name of the image.

    Yields
    ------
    (str, bytes)
        Path inside of the folder, and content.
    """
    yield from _group({"multiscales": _multiscales(image.shape, pixel_size, name)})
    yield from _arrays("", image)
    yield from _group({"labels": [_LABELS]}, "labels/")
    place = f"labels/{_LABELS}/"
    colours = [
        {"label-value": int(label), "rgba": [*label_colour(int(label)), 255]} for label in np.unique(labels[labels > 0])
    ]
    described = {
        "version": _VERSION,
        "colors": colours,
        "properties": _properties(objects),
        "source": {"image": "../../"},
    }
    metadata = {"multiscales": _multiscales(labels.shape, pixel_size, _LABELS), "image-label": described}
    yield from _group(metadata, place)
    kind = np.uint16 if int(labels.max(initial=0)) <= np.iinfo(np.uint16).max else np.uint32
    yield from _arrays(place, labels.astype(kind))


def _levels(shape: tuple[int, ...]) -> int:
    return 1 + max(0, math.ceil(math.log2(max(*shape[-2:], 1) / _CHUNK)))


def _multiscales(shape: tuple[int, ...], size: PixelSize | None, name: str) -> list[dict[str, Any]]:
    scale = (1.0, 1.0) if size is None else (size.y, size.x)
    depth = [1.0 if size is None or size.z is None else size.z] if len(shape) == 3 else []
    unit = {"unit": "micrometer"} if size is not None and size.unit == MICRO else {}
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [{"type": "scale", "scale": [*depth, *(step * 2**level for step in scale)]}],
        }
        for level in range(_levels(shape))
    ]
    axes = [{"name": axis, "type": "space", **unit} for axis in "zyx"[-len(shape) :]]
    return [{"version": _VERSION, "name": name, "axes": axes, "datasets": datasets}]


def _properties(objects: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for row in objects.to_dict("records"):
        known = {key: row[key] for key in MEASURED if math.isfinite(row.get(key, math.nan))}
        kind = row.get("class")
        rows.append(
            {"label-value": int(row["label"]), **known, **({"class": kind} if isinstance(kind, str) and kind else {})}
        )
    return rows


def _group(attributes: dict[str, Any], place: str = "") -> Iterator[tuple[str, bytes]]:
    yield f"{place}.zgroup", _json({"zarr_format": 2})
    yield f"{place}.zattrs", _json(attributes)


def _arrays(folder: str, image: NDArray[Any]) -> Iterator[tuple[str, bytes]]:
    """Yield all levels of an image as arrays of Zarr 2."""
    for level in range(_levels(image.shape)):
        data = image[..., :: 2**level, :: 2**level]
        chunk = (1,) * (data.ndim - 2) + tuple(min(_CHUNK, side) for side in data.shape[-2:])
        kind = data.dtype.newbyteorder("<")
        yield (
            f"{folder}{level}/.zarray",
            _json(
                {
                    "zarr_format": 2,
                    "shape": data.shape,
                    "chunks": chunk,
                    "dtype": kind.str,
                    "compressor": {"id": "zlib", "level": 6},
                    "fill_value": 0,
                    "order": "C",
                    "filters": None,
                    "dimension_separator": "/",
                }
            ),
        )
        for place in np.ndindex(*(math.ceil(n / side) for n, side in zip(data.shape, chunk, strict=True))):
            part = data[tuple(slice(k * side, (k + 1) * side) for k, side in zip(place, chunk, strict=True))]
            whole = np.zeros(chunk, kind)
            whole[tuple(slice(n) for n in part.shape)] = part
            yield f"{folder}{level}/{'/'.join(map(str, place))}", zlib.compress(whole.tobytes(), 6)


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, allow_nan=False, default=float).encode()
