"""Tables made of other tables: the objects to review first, and positions by frame for tracking."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from divseg.results.reader import column, text

REVIEWED = 200
"""Objects in review.csv."""

_FIRST = ("image", "label", "p_true", "existence", "mean_iou", "p_split", "p_merge", "area")


def least_certain(objects: pd.DataFrame, n: int = 20) -> pd.DataFrame:
    """Return the objects that are the least certain to be right.

    Parameters
    ----------
    objects : pandas.DataFrame
        ``objects.csv`` of the run.
    n : int
        Largest number of rows.

    Returns
    -------
    pandas.DataFrame
        Rows of `objects` with the lowest ``p_true``, if the run is calibrated, and then the lowest ``existence`` and
        ``mean_iou``; those with none of them are left out.
    """
    names = ["p_true", "existence", "mean_iou"]
    keys = pd.DataFrame({name: column(objects, name) for name in names})
    keys = keys[keys.notna().any(axis=1)].sort_values(names, kind="stable", na_position="last")
    return objects.iloc[keys.index[:n]].reset_index(drop=True)


def review_queue(objects: pd.DataFrame) -> pd.DataFrame:
    """Return ``review.csv``: the least certain objects, the first to look at on top.

    Returns
    -------
    pandas.DataFrame
        At most :data:`REVIEWED` rows: ``rank`` (the number of the object among the pictures of the report), what says
        how certain it is, and where it is (centroid and bounding box).
    """
    table = least_certain(objects, REVIEWED)
    places = [str(name) for name in table if str(name).startswith(("centroid_", "bbox_"))]
    chosen = table[[name for name in (*_FIRST, *places) if name in table]]
    chosen.insert(0, "rank", np.arange(1, len(chosen) + 1))
    return chosen


def track_points(objects: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """Return ``tracks.csv``: the objects of all frames as points, for programs that link them.

    The columns are those that TrackMate's CSV importer asks for; ``series``, ``frame`` and ``label`` name the object in
    the label images that ultrack and others read.

    Parameters
    ----------
    objects, images : pandas.DataFrame
        ``objects.csv`` and ``images.csv`` of the run.

    Returns
    -------
    pandas.DataFrame
        A row for each object: ``series`` (what the frames belong to), ``frame`` (place along the axis T of the file; of
        files without one the number at the end of the name; 0 if there is none), ``label``, ``x`` and ``y`` (centroid
        in `unit`; the centre of the first pixel is 0), ``radius`` (of the circle of the same area, in `unit`),
        ``quality`` (p_true, or existence if the run is not calibrated), ``unit`` (``"pixel"`` if the pixel size is not
        known), ``image``.
    """
    where = {
        name: (*_frame(name, plane), y, x, unit)
        for name, plane, y, x, unit in zip(
            text(images, "image"),
            text(images, "plane"),
            column(images, "pixel_size_y").tolist(),
            column(images, "pixel_size_x").tolist(),
            text(images, "pixel_unit"),
            strict=True,
        )
    }
    names = text(objects, "image")
    rows = pd.DataFrame(
        [where[name] for name in names], columns=["series", "frame", "size_y", "size_x", "unit"], index=objects.index
    )
    known = rows["size_y"].notna() & rows["size_x"].notna()
    size_y, size_x = rows["size_y"].where(known, 1.0), rows["size_x"].where(known, 1.0)
    certain = "p_true" if "p_true" in objects else "existence"
    return pd.DataFrame(
        {
            "series": rows["series"],
            "frame": rows["frame"].astype(int),
            "label": objects["label"],
            "x": column(objects, "centroid_x") * size_x,
            "y": column(objects, "centroid_y") * size_y,
            "radius": np.sqrt(column(objects, "area") * size_x * size_y / np.pi),
            "quality": column(objects, certain),
            "unit": rows["unit"].where(known, "pixel"),
            "image": names,
        }
    ).sort_values(["series", "frame", "label"], kind="stable", ignore_index=True)


def _frame(name: str, plane: str) -> tuple[str, int]:
    """Return the series that an image belongs to, and its place in it."""
    places = dict(part.split("=") for part in plane.split())
    if "T" in places:
        frame = int(places["T"])
        return re.sub(rf"_t0*{frame}(?=_|$)", "", name, count=1), frame
    number = re.search(r"[-_ ]?[tT]?(?<!\d)(\d{1,9})$", name)
    return (name[: number.start()] or "series", int(number[1])) if number and not places else (name, 0)
