"""The one-file HTML report of a run folder."""

from __future__ import annotations

import base64
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from divseg.errors import FileProblem, InputError, one_line, printable, some
from divseg.io import write_bytes, write_text
from divseg.report import facts, findings
from divseg.report.figures import confidence_figure, count_figure, reliability_figure, size_figure, training_figure
from divseg.report.image_data import read_image_data
from divseg.report.mistakes import mistakes_figure
from divseg.report.panels import Panel, image_panels, region_to_show, sample_panels, whole_image, write_overlay
from divseg.report.review import SIZE, review_tiles
from divseg.report.scores import TITLES, is_consensus, rivals, score_figure, score_rows_of, verdict, winners
from divseg.report.style import encode, smaller, to_rgb
from divseg.report.volumes import projections_figure
from divseg.results.layout import check_name
from divseg.results.open_run import Run, open_run
from divseg.results.queues import least_certain
from divseg.results.reader import column, text
from divseg.results.rows import SHOWN

MAX_ROWS = 200  # of a table of failures or warnings shown on the page


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it: address, alternative text, size in CSS pixels, caption and title."""

    encoded: Future[str]
    alt: str
    width: int
    height: int
    caption: str = ""
    title: str = ""

    @property
    def address(self) -> str:
        """The picture itself, as a ``data:`` address."""
        return self.encoded.result()


class _Page:
    """What all parts of the page share: the run, its images, and threads that compress pictures while others are drawn.

    Attributes
    ----------
    run : Run
        The run folder.
    read : callable
        Returns an image of the run. The review list often points at images already read; a few stay in memory, not
        all of a large folder.
    threads : ThreadPoolExecutor
        Compressing frees the interpreter, drawing does not.
    """

    def __init__(self, run: Run, threads: ThreadPoolExecutor) -> None:
        self.run, self.threads = run, threads
        self.read = lru_cache(maxsize=4)(partial(read_image_data, run))

    def picture(self, figure: Figure | None, name: str, alt: str, caption: str = "", title: str = "") -> Picture | None:
        """Draw a figure, and have it written to ``plots/`` and compressed for the page."""
        if figure is None:
            return None
        inches = figure.get_size_inches()
        size = round(100 * inches[0]), round(100 * inches[1])
        return self.pixels(to_rgb(figure), size, name, alt, caption, title)

    def pixels(
        self, rgb: np.ndarray, size: tuple[int, int], name: str, alt: str, caption: str = "", title: str = ""
    ) -> Picture:
        """Have an image (Y, X, 3) written to ``plots/`` and compressed for the page; `size` is (width, height)."""
        path = self.run.layout.plots / f"{check_name(name)}.png"
        return Picture(self.threads.submit(_write_picture, path, rgb), alt, *size, caption, title)

    def panels(self, panels: list[Panel], name: str) -> list[Picture]:
        """Have the pictures of an image written and compressed."""
        drawn = [self.picture(p.figure, f"{name}_{p.key}", f"{p.title} of {name}", title=p.title) for p in panels]
        return [picture for picture in drawn if picture is not None]


def _write_picture(path: Path, rgb: np.ndarray) -> str:
    png = encode(rgb)
    write_bytes(path, png)
    kind, data = smaller(rgb, png)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def write_report(folder: str | Path, *, max_images: int = 6) -> Path:
    """Write ``report.html`` and the figures in ``plots/`` from what a run folder holds.

    Parameters
    ----------
    folder : path
        Run folder of ``divseg run``. Noisy images are read from the files that the run read. For a missing table or
        image, or a damaged image, the page says "not available".
    max_images : int
        Largest number of images shown; all are in the tables and charts. Half of those shown are the ones of lowest
        mean existence.

    Returns
    -------
    pathlib.Path
        ``report.html``, one file that needs nothing else: no script, no font and no picture from elsewhere.

    Raises
    ------
    InputError
        If `folder` is not the folder of a ``divseg run``, a table is damaged or `max_images` is negative.
    OutputError
        If the page or a figure cannot be written.
    """
    if max_images < 0:
        raise InputError(f"max_images={max_images}: must be 0 or more; give the number of images to show")
    run = open_run(folder)
    if run.command != "run":
        raise InputError(f"{folder} holds the results of divseg {run.command}, which has no report")
    shown = facts.images_to_show(run, max_images)
    template = _environment().get_template("template.html.j2")
    with ThreadPoolExecutor(2) as threads:
        html = template.render(_parts(_Page(run, threads), shown))
    path = run.layout.report
    write_text(path, printable(html, lines=True))  # names of files may hold bytes that are not UTF-8, or controls
    return path


def _parts(page: _Page, shown: list[str]) -> dict[str, Any]:
    """Return what the template shows, by name."""
    run = page.run
    return {
        "title": run.folder.resolve().name,
        "record": run.record,
        "missing": _missing(run),
        "cards": facts.overview(run),
        "calibration": facts.calibration_words(run),
        "mistakes": _mistakes(page, shown),
        "scores": _scores(page),
        "sections": [_image_section(page, name) for name in shown],
        "selection": _selection(len(shown), len(run.names)),
        "charts": _charts(page),
        "review": _review(page),
        "training": facts.training_facts(run),
        "training_picture": page.picture(
            training_figure(run.training_log),
            "training",
            "Loss, KL and latents in use over the training",
        ),
        "failures": _failures(run),
        "left_out": {"rows": run.record.get("left_out", [])[:MAX_ROWS], "total": len(run.record.get("left_out", []))},
        "findings": _findings(run),
        "anchors": {name: f"image-{k}" for k, name in enumerate(shown, 1)},
        "warnings": _warnings(run)[:MAX_ROWS],
        "ranking": facts.segmenter_ranking(run),
        "segmenter": run.segmenter,
        "segmenters": run.segmenters,
        "settings": facts.flatten(run.config),
        "versions": _versions(run),
        "citations": facts.citations(run),
    }


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


def _missing(run: Run) -> dict[str, str]:
    tables = ("images", "objects", "scores", "failures")
    missing = {name: f"no {name}.csv in the run folder" for name in tables if not run.layout.table(name).is_file()}
    return missing | ({} if len(run.training_log) else {"training": "no training log in the model folder"})


def _image_section(page: _Page, name: str) -> dict[str, Any]:
    run = page.run
    objects = run.objects
    if len(objects):
        objects = objects[objects["image"] == name]
    data = page.read(name)
    pictures: list[dict[str, Any]] = []
    section = {
        "name": name,
        "facts": facts.image_facts(run, name),
        "missing": data.missing,
        "pictures": pictures,
        "warnings": run.warnings.get(name, []),
    }
    if data.shape is None:
        return section
    size = run.pixel_sizes[name]
    region = region_to_show(data.shape, data.labels)
    panels, limits = image_panels(data, objects, region, size)
    whole = (region.height, region.width) == data.shape
    part = "Whole image"
    if not whole:
        part = f"The {region.height} \u00d7 {region.width} pixels with most objects"
        part += f" (rows from {region.y}, columns from {region.x})"
    scale = f"from {limits[0]:.4g} to {limits[1]:.4g}".replace("-", "\u2212")
    if data.volume is not None:
        part = f"Plane {data.volume.plane} of the volume, in the middle of its objects: {part[0].lower()}{part[1:]}"
    pictures.append({"row": page.panels(panels, name), "caption": f"{part}. Common grey scale {scale}."})
    if data.crop is not None and (drawn := sample_panels(data, size)):
        height, width = data.crop.samples.shape[1:]
        words = f"Clean images that fit the noisy one, on {height} \u00d7 {width} pixels (rows from {data.crop.y}, "
        words += f"columns from {data.crop.x}): where they differ, the noise leaves it open. Common grey scale."
        pictures.append({"row": page.panels(drawn, name), "caption": words})
    if data.labels is not None:
        back = next((image for image in (data.mmse, data.noisy) if image is not None), np.zeros(data.shape))
        write_overlay(run.layout.plots / f"{check_name(name)}_overlay.png", back, data.labels)
        if not whole:
            figure = whole_image(data, objects, region, size)
            whole_picture = page.picture(figure, f"{name}_whole", f"Consensus on the whole of {name}")
            pictures.append(
                {
                    "row": [whole_picture],
                    "caption": "Whole image, in the same colours; the dashed frame is the part above.",
                }
            )
    if data.volume is not None and (projected := projections_figure(data.volume, objects, size)) is not None:
        picture = page.picture(projected, f"{name}_projections", f"Projections of {name}")
        words = "Largest intensity along each axis, and the objects that are met first."
        pictures.append({"row": [picture], "caption": words})
    return section


def _mistakes(page: _Page, shown: list[str]) -> tuple[Picture | None, list[str]]:
    """Where noisy image, smoothing, MMSE and consensus go wrong, on the first image with truth, and what is damaged."""
    damaged: list[str] = []
    for name in shown:
        data = page.read(name)
        if data.shape is None:
            continue
        try:
            drawn = mistakes_figure(page.run, name, data, region_to_show(data.shape, data.labels))
        except FileProblem as error:
            damaged.append(f"picture of the mistakes on {name} ({one_line(error)})")
            continue
        if drawn:
            return page.picture(drawn[0], f"{name}_mistakes", f"Mistakes on {name}", drawn[1]), damaged
    return None, damaged


def _charts(page: _Page) -> list[Picture | str]:
    """Pictures in order; a string says why one is not there."""
    run, charts = page.run, list[Picture | str]()
    confidence = page.picture(confidence_figure(run.objects), "confidence", "Histograms of existence and mean IoU")
    charts.append(confidence or "confidence of the objects (no existence and no mean IoU in objects.csv)")
    caption = "Points on the dashed line mean what they say; their size is the number of objects."
    if reliable := page.picture(reliability_figure(run), "reliability", "How often objects are right", caption):
        charts.append(reliable)
    counts = page.picture(count_figure(run), "counts", "Number of objects in each image")
    charts.append(counts or "counts (no counts in images.csv)")
    sizes = size_figure(run)
    picture = page.picture(sizes[0], "sizes", "Areas of the objects", sizes[1]) if sizes else None
    charts.append(picture or "object sizes (no areas in objects.csv)")
    return charts


def _scores(page: _Page) -> dict[str, Any] | None:
    run = page.run
    table = run.summary
    columns = {metric: column(table, metric) for metric in SHOWN}
    columns = {metric: values for metric, values in columns.items() if np.isfinite(values).any()}
    if not columns:
        return None
    best = {metric: winners(table, metric) for metric in columns}
    names = text(table, "input")
    low, high = column(table, "map_lo"), column(table, "map_hi")
    images, predicted = column(table, "n_images"), column(table, "n_pred")
    rows = [
        {
            "name": name,
            "consensus": is_consensus(name),
            "images": facts.number(images[k], 0),
            "cells": [(facts.number(values[k]), bool(best[metric][k])) for metric, values in columns.items()],
            "interval": f"{low[k]:.3f}\u2013{high[k]:.3f}" if np.isfinite(low[k]) and np.isfinite(high[k]) else "",
            "predicted": facts.number(predicted[k], 0),
        }
        for k, name in enumerate(names)
    ]
    pair = rivals(run)
    return {
        "verdict": verdict(run, *pair)
        if pair
        else "The consensus cannot be compared with a baseline: the summary lacks the mAP of one of them.",
        "elsewhere": _elsewhere(names, list(columns), best),
        "gaussian": any(score_rows_of(name) != name for name in names),
        "metrics": [TITLES[metric] for metric in columns],
        "has_interval": any(row["interval"] for row in rows),
        "rows": rows,
        "picture": page.picture(score_figure(run), "scores", "Scores of all inputs with intervals"),
    }


def _elsewhere(names: list[str], metrics: list[str], best: dict[str, np.ndarray]) -> str:
    """Name the scores by which a baseline is better than every consensus, so that nobody has to search the table."""
    lost = [
        TITLES[metric]
        for metric in metrics
        if best[metric].any()
        and not any(is_consensus(name) for name, won in zip(names, best[metric], strict=True) if won)
    ]
    return f"A baseline has the best score by: {', '.join(lost)}." if lost else ""


def _review(page: _Page) -> dict[str, Any] | None:
    run = page.run
    objects = least_certain(run.objects)
    if not len(objects):
        return None
    numbers = {name: column(objects, name) for name in ("label", "centroid_y", "centroid_x", "existence", "mean_iou")}
    numbers["p_true"] = column(objects, "p_true")
    numbers |= {name: column(objects, name) for name in ("p_split", "p_merge")}
    names = text(objects, "image")
    pixel, unit = facts.area_of_pixel(run, names)
    numbers["area"] = column(objects, "area") * pixel
    tiles = [
        None
        if rgb is None
        else page.pixels(rgb, (SIZE, round(SIZE * rgb.shape[0] / rgb.shape[1])), f"review_{k:02d}", f"Object {k}")
        for k, rgb in enumerate(review_tiles(objects, page.read), 1)
    ]
    rows = [
        {"rank": k + 1, "image": name, "tile": tile, **{key: values[k] for key, values in numbers.items()}}
        for k, (name, tile) in enumerate(zip(names, tiles, strict=True))
    ]
    calibrated = bool(np.isfinite(numbers["p_true"]).any())
    return {"rows": rows, "pictured": any(tiles), "unit": unit, "calibrated": calibrated}


def _findings(run: Run) -> list[tuple[str, list[findings.Line]]]:
    """Return the first lines of the page: title and lines of each part; a part without lines is left out."""
    groups = findings.grouped_warnings(run)
    parts = [
        ("What was found", findings.found(run, groups)),
        ("What to trust", findings.to_trust(run, groups)),
        ("What to look at", findings.to_look_at(run, groups)),
    ]
    return [(title, lines) for title, lines in parts if lines]


def _warnings(run: Run) -> list[tuple[str, int, str]]:
    """Return each kind of warning, with figures of one image, the number of images it concerns and the first few."""
    return [
        (next(iter(images.values())), len(images), some(list(images)))
        for images in findings.grouped_warnings(run).values()
    ]


def _failures(run: Run) -> dict[str, Any]:
    table = run.failures
    columns = [name for name in ("image", "file", "stage", "error") if name in table]
    rows = [[text(table, name)[k] for name in columns] for k in range(min(len(table), MAX_ROWS))]
    return {"columns": columns, "rows": rows, "total": len(table)}


def _selection(shown: int, total: int) -> str:
    if not total:
        return ""
    if shown == total:
        return f"All {total} images." if total > 1 else "The only image."
    half = shown // 2
    return (
        f"{shown} of {total} images: {half} with warnings or of lowest mean existence, the others spread over the "
        "folder (images with stored samples first)."
    )


def _versions(run: Run) -> list[tuple[str, str]]:
    record = run.record
    rows = [(name, str(record[name])) for name in ("input", "created", "device") if record.get(name) is not None]
    for key, seconds in (record.get("timings") or {}).items():
        rows.append((f"time: {key.removesuffix('_s').replace('_', ' ')}", facts.duration(seconds)))
    return rows + [(str(name), str(version)) for name, version in (record.get("versions") or {}).items()]
