"""Objects out: outlines with measurements, as ROIs of ImageJ and as GeoJSON of QuPath."""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from divseg.errors import ExtraRequired
from divseg.io.atomic import replacing, write_text
from divseg.io.label_colours import label_colour
from divseg.io.outlines import Polygon, trace

if TYPE_CHECKING:
    from roifile import ImagejRoi

MEASURED = ("existence", "p_true", "mean_iou", "area")
"""Columns of an object table that go along with an outline, if they are there."""

_MOVE_TO, _LINE_TO, _CLOSE = 0.0, 1.0, 4.0
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same bytes whenever they are written


def require_roifile() -> None:
    """Raise ExtraRequired if ROIs of ImageJ cannot be written here."""
    try:
        import roifile  # noqa: F401
    except ImportError as error:
        raise ExtraRequired(f'ROIs of ImageJ need roifile ({error}): pip install "divseg[rois]"') from error


def write_rois(path: str | os.PathLike[str], labels: NDArray[np.integer], objects: pd.DataFrame) -> None:
    """Write a zip of ROIs that ImageJ's ROI Manager opens, one for each object.

    An object in one piece without holes is a traced ROI, another a composite one. Filled by ImageJ they give the
    label image again, pixel by pixel. What is measured is among the properties of the ROI.

    Parameters
    ----------
    path : path
        The file.
    labels : integer array, shape (Y, X)
        0 = background.
    objects : DataFrame
        With the column `label`; of the others :data:`MEASURED` and ``class`` are taken.

    Raises
    ------
    ExtraRequired
        If roifile is not installed.
    OutputError
        If the file cannot be written.
    """
    require_roifile()
    width = len(str(int(labels.max(initial=0))))
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for label, polygons, measured, kind in _objects(labels, objects):
            roi = _roi(polygons)
            roi.name = f"{label:0{width}d}"
            roi.stroke_color = bytes([255, *label_colour(label)])
            properties = {**measured, **({} if kind is None else {"class": kind})}
            roi.props = "".join(f"{name}: {value}\n" for name, value in properties.items())
            archive.writestr(zipfile.ZipInfo(f"{roi.name}.roi", _EPOCH), roi.tobytes(), zipfile.ZIP_DEFLATED)


def write_geojson(path: str | os.PathLike[str], labels: NDArray[np.integer], objects: pd.DataFrame) -> None:
    """Write the objects as GeoJSON that QuPath imports as detections, with their measurements.

    Coordinates are pixels of the image, (0, 0) being the corner of the first one. An object in several pieces is a
    MultiPolygon; pieces that only share a corner count as several.

    Parameters
    ----------
    path : path
        The file.
    labels, objects
        As for :func:`write_rois`; ``class`` becomes the classification.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    features = []
    for label, polygons, measured, kind in _objects(labels, objects):
        coordinates = [[[*ring.tolist(), ring[0].tolist()] for ring in polygon.rings] for polygon in polygons]
        single = len(polygons) == 1
        properties: dict[str, Any] = {
            "objectType": "detection",
            "name": str(label),
            "color": label_colour(label),
            "measurements": {"label": label, **measured},
        }
        if kind is not None:
            properties["classification"] = {"name": kind}
        geometry = {
            "type": "Polygon" if single else "MultiPolygon",
            "coordinates": coordinates[0] if single else coordinates,
        }
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    lines = ",\n".join(json.dumps(feature, ensure_ascii=False, allow_nan=False) for feature in features)
    write_text(path, f'{{"type": "FeatureCollection", "features": [\n{lines}\n]}}\n')


def _objects(
    labels: NDArray[np.integer], objects: pd.DataFrame
) -> Iterator[tuple[int, list[Polygon], dict[str, float], str | None]]:
    """Yield label, outlines, measurements and class of each object; what is not a finite number is left out."""
    names = [name for name in MEASURED if name in objects]
    rows: dict[int, dict[Any, Any]] = {int(row["label"]): row for row in objects.to_dict("records")}
    for label, polygons in trace(labels).items():
        row = rows.get(label, {})
        measured = {name: float(row[name]) for name in names if math.isfinite(row.get(name, math.nan))}
        measured |= {"parts": float(len(polygons)), "holes": float(sum(len(part.holes) for part in polygons))}
        kind = row.get("class")
        yield label, polygons, measured, kind if isinstance(kind, str) and kind else None


def _roi(polygons: list[Polygon]) -> ImagejRoi:
    from roifile import ROI_TYPE, ImagejRoi

    rings = [ring for polygon in polygons for ring in polygon.rings]
    if len(rings) == 1:
        roi = ImagejRoi.frompoints(rings[0].astype(np.int32))
        roi.roitype = ROI_TYPE.TRACED
        return roi
    path: list[float] = []
    for ring in rings:
        for k, (x, y) in enumerate(ring.tolist()):
            path += [_LINE_TO if k else _MOVE_TO, x, y]
        path.append(_CLOSE)
    corners = np.concatenate(rings)
    roi = ImagejRoi()
    roi.roitype = ROI_TYPE.RECT
    (roi.left, roi.top), (roi.right, roi.bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    roi.shape_roi_size = len(path)
    roi.multi_coordinates = np.array(path, np.float32)
    return roi
