"""The one-file HTML report of a result folder."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from divseg.errors import InputError
from divseg.io import write_bytes
from divseg.report import facts
from divseg.report.figures import confidence_figure, count_figure, size_figure, training_figure
from divseg.report.overlay import write_overlay
from divseg.report.panels import image_panel, region_to_show, whole_image
from divseg.report.review import least_certain, review_figure
from divseg.report.scalebar import pixel_size
from divseg.report.scores import (
    METRICS,
    TITLES,
    compare,
    is_consensus,
    score_figure,
    summary_table,
    verdict,
    winners,
)
from divseg.report.style import smaller, to_png
from divseg.results.reader import ImageData, Load, Results, column, read_results, text

MOST_ROWS = 200  # rows of a table of failures or warnings shown on the page


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it: type and base64 data, its words, and its size on the page in CSS pixels."""

    kind: str
    data: str
    alt: str
    width: int
    height: int
    caption: str = ""


def write_report(folder: str | Path, *, load: Load | None = None, max_images: int = 6) -> Path:
    """Write ``report.html`` and the figures in ``plots/`` from what a result folder holds.

    Parameters
    ----------
    folder : path
        Result folder of a run. Only files in it are read; pieces that are absent or damaged become a line
        "not available" on the page.
    load : callable, optional
        ``load(name)`` returns the noisy image of that name, shape (Y, X), in the intensity unit of the input.
        Without it, or where it fails, the noisy image is left out and the page says so.
    max_images : int
        At most so many images are shown; all are in the tables and charts. Half of those shown are the ones
        of lowest mean existence.

    Returns
    -------
    pathlib.Path
        ``report.html``, one file that needs nothing else: no script, no font and no picture from elsewhere.

    Raises
    ------
    InputError
        If `folder` is not a result folder or `max_images` is negative.
    OutputError
        If the page or a figure cannot be written.
    """
    if max_images < 0:
        raise InputError(f"max_images={max_images}: must be 0 or more; give the number of images to show")
    results = read_results(folder)
    reader = _reader(results, load)
    shown = facts.images_to_show(results, max_images)
    table, table_note = summary_table(results)
    page = _environment().get_template("template.html.j2")
    html = page.render(
        title=results.folder.resolve().name,
        run=results.run,
        missing=results.missing,
        cards=facts.overview(results),
        calibration=facts.calibration_words(results),
        scores=_scores(results, table, table_note),
        sections=[_image_section(results, name, reader) for name in shown],
        selection=_selection(len(shown), len(results.names)),
        charts=_charts(results),
        review=_review(results, reader),
        training=facts.training_facts(results),
        training_picture=_picture(
            results,
            training_figure(results.training),
            "training",
            "Loss, KL and latents in use over the training",
        ),
        failures=_failures(results),
        warnings=facts.warnings(results)[:MOST_ROWS],
        ranking=facts.segmenter_ranking(results),
        settings=facts.flatten(results.run.get("config") or {}) if results.run.get("config") else [],
        record=_record(results),
        citations=facts.citations(results),
    )
    path = results.folder / "report.html"
    # A lone surrogate (a file name that is not UTF-8) must not cost the report.
    write_bytes(path, html.encode("utf-8", errors="replace"))
    return path


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("divseg.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = facts.number
    environment.filters["duration"] = facts.duration
    return environment


def _reader(results: Results, load: Load | None) -> Callable[[str], ImageData]:
    # The review list often points at images already read; a few are kept, not all of a large folder.
    @lru_cache(maxsize=4)
    def read(name: str) -> ImageData:
        return results.read(name, load)

    return read


def _picture(results: Results, figure: Figure | None, name: str, alt: str, caption: str = "") -> Picture | None:
    if figure is None:
        return None
    png = to_png(figure)
    write_bytes(results.path("plots", name, ".png"), png)
    inches = figure.get_size_inches()
    kind, data = smaller(png)
    size = round(100 * inches[0]), round(100 * inches[1])
    return Picture(kind, base64.b64encode(data).decode("ascii"), alt, *size, caption)


def _image_section(results: Results, name: str, read: Callable[[str], ImageData]) -> dict[str, Any]:
    place = results.names.index(name)
    row = results.images.iloc[[place]]
    objects = results.objects
    if len(objects) and "image" in objects:
        objects = objects[objects["image"] == name]
    data = read(name)
    section: dict[str, Any] = {
        "name": name,
        "facts": facts.image_facts(row),
        "missing": data.missing,
        "pictures": [],
    }
    section["warnings"] = [line for line in text(row, "warnings")[0].splitlines() if line.strip()]
    if data.shape is None:
        return section
    size = pixel_size(
        float(column(row, "pixel_size_y")[0]),
        float(column(row, "pixel_size_x")[0]),
        text(row, "pixel_unit")[0],
    )
    region = region_to_show(data.shape, data.labels)
    figure, limits = image_panel(data, objects, region, size)
    whole = (region.height, region.width) == data.shape
    part = "Whole image"
    if not whole:
        part = f"The {region.height} \u00d7 {region.width} pixels with most objects"
        part += f" (rows from {region.y}, columns from {region.x})"
    scale = f"from {limits[0]:.4g} to {limits[1]:.4g}".replace("-", "\u2212")
    caption = f"{part}. Common grey scale {scale}."
    panel = _picture(results, figure, f"{name}_panel", f"Pictures of {name}", caption)
    section["pictures"].append(panel)
    if data.labels is not None:
        back = next((image for image in (data.mmse, data.noisy) if image is not None), np.zeros(data.shape))
        write_overlay(results.path("plots", name, "_overlay.png"), back, data.labels)
        if not whole:
            section["pictures"].append(
                _picture(
                    results,
                    whole_image(data, objects, region, size),
                    f"{name}_whole",
                    f"Consensus on the whole of {name}",
                    "Whole image; the dashed frame is the part above.",
                )
            )
    return section


def _charts(results: Results) -> list[Picture | str]:
    """Pictures in order; a string says why one is not there."""
    charts: list[Picture | str] = []
    confidence = _picture(
        results, confidence_figure(results.objects), "confidence", "Histograms of existence and mean IoU"
    )
    charts.append(confidence or "confidence of the objects (no existence and no mean IoU in objects.csv)")
    counts = _picture(results, count_figure(results), "counts", "Number of objects in each image")
    charts.append(counts or "counts (no counts in images.csv)")
    sizes = size_figure(results)
    picture = _picture(results, sizes[0], "sizes", "Areas of the objects", sizes[1]) if sizes else None
    charts.append(picture or "object sizes (no areas in objects.csv)")
    return charts


def _scores(results: Results, table: pd.DataFrame, note: str) -> dict[str, Any] | None:
    metrics = [metric for metric in METRICS if metric in table and np.isfinite(column(table, metric)).any()]
    if not metrics:
        return None
    best = {metric: winners(table, metric) for metric in metrics}
    names = text(table, "input")
    columns = {metric: column(table, metric) for metric in metrics}
    low, high = column(table, "map_lo"), column(table, "map_hi")
    images, predicted = column(table, "n_images"), column(table, "n_pred")
    rows = [
        {
            "name": name,
            "consensus": is_consensus(name),
            "images": facts.number(images[k], 0),
            "cells": [(facts.number(columns[metric][k]), bool(best[metric][k])) for metric in metrics],
            "interval": f"{low[k]:.3f}\u2013{high[k]:.3f}" if np.isfinite(low[k]) and np.isfinite(high[k]) else "",
            "predicted": facts.number(predicted[k], 0),
        }
        for k, name in enumerate(names)
    ]
    comparison = compare(results, table)
    return {
        "verdict": verdict(comparison, table)
        if comparison
        else "The consensus cannot be compared with a baseline: the table lacks the mAP of one of them.",
        "elsewhere": _elsewhere(names, metrics, best),
        "gaussian": any(name.lower().startswith("best gaussian") for name in names),
        "metrics": [TITLES[metric] for metric in metrics],
        "has_interval": any(row["interval"] for row in rows),
        "rows": rows,
        "note": note,
        "picture": _picture(results, score_figure(results, table), "scores", "Scores of all inputs with intervals"),
    }


def _elsewhere(names: list[str], metrics: list[str], best: dict[str, np.ndarray]) -> str:
    """Name the scores that a baseline alone is best by, so that no table has to be searched for them."""
    lost = [
        TITLES[metric]
        for metric in metrics
        if best[metric].any()
        and not any(is_consensus(name) for name, won in zip(names, best[metric], strict=True) if won)
    ]
    return f"A baseline has the best score by: {', '.join(lost)}." if lost else ""


def _review(results: Results, read: Callable[[str], ImageData]) -> dict[str, Any] | None:
    objects = least_certain(results.objects)
    if not len(objects):
        return None
    numbers = {name: column(objects, name) for name in ("label", "centroid_y", "centroid_x", "existence", "mean_iou")}
    numbers |= {name: column(objects, name) for name in ("area", "p_split", "p_merge")}
    rows = [
        {"image": name, **{key: values[k] for key, values in numbers.items()}}
        for k, name in enumerate(text(objects, "image"))
    ]
    picture = _picture(
        results,
        review_figure(objects, read),
        "review",
        "Small pictures of the least certain objects",
        "The objects of the list on the MMSE, each on its own grey scale; outline in the colour of its "
        "existence, neighbours in grey.",
    )
    return {"rows": rows, "picture": picture}


def _failures(results: Results) -> dict[str, Any]:
    table = results.failures
    columns = [name for name in ("image", "file", "stage", "error") if name in table]
    rows = [[text(table, name)[k] for name in columns] for k in range(min(len(table), MOST_ROWS))]
    return {"columns": columns, "rows": rows, "total": len(table)}


def _selection(shown: int, total: int) -> str:
    if not total:
        return ""
    if shown == total:
        return f"All {total} images." if total > 1 else "The only image."
    half = shown // 2
    return (
        f"{shown} of {total} images: the {half} of lowest mean existence, the others spread over the folder "
        "(images with stored samples first)."
    )


def _record(results: Results) -> list[tuple[str, str]]:
    run = results.run
    known = [name for name in ("input", "created", "device", "seed") if name in run]
    rows: list[tuple[str, str]] = [(name, facts.flatten(run[name])[0][1]) for name in known]
    timings = run.get("timings")
    if isinstance(timings, dict):
        rows += [
            (f"time: {key.removesuffix('_s').replace('_', ' ')}", facts.duration(value))
            for key, value in timings.items()
        ]
    if run.get("divseg"):
        rows.append(("divseg", str(run["divseg"])))
    versions = run.get("versions")
    if isinstance(versions, dict):
        rows += [(str(name), str(version)) for name, version in versions.items() if name != "divseg"]
    return rows
