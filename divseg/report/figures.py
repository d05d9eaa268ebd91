"""Charts of a run: confidence and sizes of its objects, counts of its images, and the training."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from divseg.io import write_bytes
from divseg.metrics import reliability_curve
from divseg.report.facts import area_of_pixel
from divseg.report.style import BLUE, GREEN, GREY, INK, ORANGE, logarithmic, name_ticks, new_chart, style_axes, to_png
from divseg.results.open_run import Run
from divseg.results.reader import column, read_training_log, text

MAX_BARS = 300  # objects drawn one by one
MAX_NAMES = 30  # images named on the axis
MAX_LETTERS = 22  # of such a name
MAX_IMAGES = 150  # images drawn one by one


def confidence_figure(objects: pd.DataFrame) -> Figure | None:
    """Draw histograms of existence, mean IoU and, if it was calibrated, p_true over all objects.

    Parameters
    ----------
    objects : pandas.DataFrame
        ``objects.csv`` of the run.

    Returns
    -------
    matplotlib.figure.Figure or None
        None if none of the columns holds a number.
    """
    wanted = (
        ("existence", "Existence", "fraction of samples with the object"),
        ("mean_iou", "Mask agreement", "mean IoU of the object with its samples"),
        ("p_true", "p_true", "calibrated probability of being right"),
    )
    present = [(column(objects, name), title, unit) for name, title, unit in wanted]
    present = [entry for entry in present if np.isfinite(entry[0]).any()]
    if not present:
        return None
    figure, axes = new_chart(1, len(present), min(3.7 * len(present), 9.6), 3.1)
    for place, (values, title, unit) in zip(axes, present, strict=True):
        values = values[np.isfinite(values)]
        sns.histplot(x=values, bins=np.linspace(0, 1, 21), ax=place, color=BLUE, edgecolor="white", alpha=1)
        middle = float(np.median(values))
        place.axvline(middle, color=ORANGE, linewidth=1.6)
        place.set_xlim(0, 1)
        place.yaxis.set_major_locator(MaxNLocator(integer=True))
        style_axes(place, title=title, x=unit, y="objects" if place is axes[0] else "", aside=f"median {middle:.2f}")
    return figure


def reliability_figure(run: Run) -> Figure | None:
    """Draw how often objects of each existence and p_true are right: on left-out images of the calibration, and here.

    Parameters
    ----------
    run : Run
        The run; its record has the calibration, its score tables what the ground truth says.

    Returns
    -------
    matplotlib.figure.Figure or None
        None without a calibration; a second chart if there is ground truth.
    """
    made = run.record.get("calibration") or {}
    known = made.get("reliability")
    curves = {name: np.array(rows, float) for name, rows in (known or {}).items() if np.shape(rows)[1:] == (3,)}
    if not curves:
        return None
    simulated = made.get("source") == "simulated"
    charts = [("On left-out simulated images" if simulated else "On left-out labelled images", curves)]
    if (scored := np.isfinite(run.right)).any():
        here = {}
        for name in curves:
            values = column(run.objects, name)
            both = scored & np.isfinite(values)
            curve = reliability_curve(values[both], run.right[both])
            here[name] = curve[["confidence", "precision", "n"]].to_numpy(float)
        charts.append(("In this run, by its ground truth", here))
    figure, axes = new_chart(1, len(charts), 3.9 * len(charts), 3.6)
    for place, (title, lines) in zip(axes, charts, strict=True):
        place.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
        for name, colour in (("existence", ORANGE), ("p_true", BLUE)):
            x, y, n = lines.get(name, np.empty((0, 3))).T
            place.plot(x, y, color=colour, linewidth=1.2, label=name)
            place.scatter(x, y, s=10 + 90 * n / max(n.sum(), 1), color=colour, zorder=3)
        place.set_xlim(0, 1.02)
        place.set_ylim(0, 1.04)
        style_axes(place, title=title, x="what is said", y="fraction that is right" if place is axes[0] else "")
    axes[0].legend(frameon=False, fontsize=9.5, loc="upper left")
    return figure


def size_figure(run: Run) -> tuple[Figure, str] | None:
    """Draw the distribution of object areas and, object by object, the area with its posterior interval.

    Parameters
    ----------
    run : Run
        The run; areas are in physical units if every image has a pixel size in the same unit.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Two charts.
    note : str
        Tells which objects the second chart shows.
    """
    objects = run.objects
    scale, unit = area_of_pixel(run, text(objects, "image"))
    mean, low, high = (column(objects, name) * scale for name in ("area_mean", "area_q05", "area_q95"))
    if not np.isfinite(mean).any():
        mean = column(objects, "area") * scale
    positive = np.isfinite(mean) & (mean > 0)
    if not positive.any():
        return None
    figure, (left, right) = new_chart(1, 2, 7.4, 3.1)
    values = mean[positive]
    wide = float(values.max() / values.min()) > 30
    edges = np.geomspace(values.min(), values.max() * 1.001, 25) if wide else _even_edges(values)
    sns.histplot(x=values, bins=edges, ax=left, color=BLUE, edgecolor="white", alpha=1)
    left.yaxis.set_major_locator(MaxNLocator(integer=True))
    style_axes(left, title="Object size", x=f"mean area ({unit})", y="objects")

    order = np.flatnonzero(positive)[np.argsort(mean[positive], kind="stable")]
    note = f"All {len(order)} objects, by area."
    if len(order) < len(objects):
        note = (
            f"{len(order)} objects, by area; {len(objects) - len(order)} more are in no sample and have no mean area."
        )
    if len(order) > MAX_BARS:
        note = note.replace(", by area", f" (on the right {MAX_BARS} of them, at even steps), by area")
        order = order[np.linspace(0, len(order) - 1, MAX_BARS).round().astype(int)]
    rank = np.arange(len(order))
    right.vlines(
        rank,
        low[order],
        high[order],
        color="#59626A",
        linewidth=max(0.9, min(4, 200 / len(order))),
        alpha=0.7,
    )
    right.plot(rank, mean[order], "o", color=BLUE, markersize=max(1.6, min(5, 400 / len(order))))
    if wide:
        logarithmic(left, along="x")
        logarithmic(right, along="y")
    else:
        right.set_ylim(bottom=0)
    right.set_xticks([])
    style_axes(right, title="Area with 5\u201395 % interval", x="objects, by mean area", y=f"area ({unit})")
    return figure, note


def count_figure(run: Run) -> Figure | None:
    """Draw the number of objects in every image: consensus, mean of the samples with interval, and ground truth.

    Parameters
    ----------
    run : Run
        The run.

    Returns
    -------
    matplotlib.figure.Figure or None
        None without counts. Up to 30 images are named, up to 150 drawn one by one; more are sorted into a band.
    """
    images = run.images_table
    fused, mean = column(images, "n_objects"), column(images, "count_mean")
    low, high = column(images, "count_q05"), column(images, "count_q95")
    if not (np.isfinite(fused).any() or np.isfinite(mean).any()):
        return None
    names = text(images, "image")
    truth = _true_counts(run, names)
    order = np.arange(len(names))
    few = len(names) <= MAX_NAMES
    if not few:
        order = np.argsort(np.where(np.isfinite(mean), mean, fused), kind="stable")
    longest = min(MAX_LETTERS, max(map(len, names))) if few else 0
    slanted = longest > 3
    figure, (axes,) = new_chart(1, 1, 7.4, 3.1 + (0.05 * longest if slanted else 0))
    place = np.arange(len(names))
    size = 5.5 if few else 3.0
    if len(names) <= MAX_IMAGES:
        axes.vlines(place, low[order], high[order], color=GREY, linewidth=3 if few else 1.5, alpha=0.6)
    else:
        axes.fill_between(place, low[order], high[order], color=GREY, alpha=0.35, linewidth=0)
    interval = np.isfinite(low).any()
    if np.isfinite(mean).any():
        name = "mean of the samples, 5\u201395 % interval" if interval else "mean of the samples"
        axes.plot(place, mean[order], "o", color=GREY, markersize=size, label=name)
    if np.isfinite(fused).any():
        axes.plot(
            place,
            fused[order],
            "o",
            color=BLUE,
            markersize=size + 2,
            markerfacecolor="none",
            label="consensus",
        )
    if np.isfinite(truth).any():
        axes.plot(place, truth[order], "_", color=ORANGE, markersize=size + 6, markeredgewidth=2, label="ground truth")
    axes.margins(x=0.03)
    counts = np.concatenate([values[np.isfinite(values)] for values in (fused, mean, low, truth)])
    if counts.min() > 0 and counts.max() > 20 * counts.min():
        logarithmic(axes, along="y")
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    style_axes(axes, y="objects in the image", x="" if few else f"{len(names)} images, by mean count")
    axes.set_title("Objects per image", fontsize=11, loc="left", color=INK, fontweight="bold", pad=24)
    axes.legend(
        frameon=False,
        fontsize=9.5,
        ncols=3,
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        borderpad=0,
        handletextpad=0.3,
    )
    if few:
        name_ticks(axes, names, along="x", rotation=35 if slanted else 0, longest=MAX_LETTERS)
    else:
        axes.set_xticks([])
    return figure


def training_figure(training: pd.DataFrame) -> Figure | None:
    """Draw loss, KL and active latents over the training steps.

    Parameters
    ----------
    training : pandas.DataFrame
        Table as from :func:`divseg.results.reader.read_training_log`.

    Returns
    -------
    matplotlib.figure.Figure or None
        None if no curve holds a number.
    """
    steps = column(training, "step")
    curves = [
        ("Loss", [("loss", "training", BLUE), ("val_loss", "validation", ORANGE)], "loss"),
        ("KL divergence", [("kl", "KL", BLUE)], "KL"),
        ("Latents in use", [("active", "active", GREEN)], "active latents"),
    ]
    shown = []
    for title, lines, unit in curves:
        usable = [
            (steps[good], values[good], label, colour)
            for name, label, colour in lines
            if (good := np.isfinite(values := column(training, name)) & np.isfinite(steps)).any()
        ]
        if usable:
            shown.append((title, usable, unit))
    if not shown:
        return None
    figure, axes = new_chart(1, len(shown), 3.8 * len(shown), 3.1)
    for place, (title, usable, unit) in zip(axes, shown, strict=True):
        for x, y, label, colour in usable:
            window = max(1, len(y) // 60)
            if window > 1:
                place.plot(*_thinned(x, y), color=colour, linewidth=0.6, alpha=0.3)
                y = pd.Series(y).rolling(window, center=True, min_periods=1).median().to_numpy()
            marker = "o" if len(y) < 40 else ""
            place.plot(*_thinned(x, y), color=colour, linewidth=1.6, marker=marker, markersize=3, label=label)
        everything = np.concatenate([y for _, y, _, _ in usable])
        bottom, top = np.percentile(everything, [0, 98])
        if unit == "loss" and top > bottom:  # the first steps would squeeze everything else flat
            place.set_ylim(bottom - 0.05 * (top - bottom), top + 0.1 * (top - bottom))
        elif unit == "KL" and bottom > 0:  # it falls by orders of magnitude
            place.set_yscale("log")
        elif unit != "loss":
            place.set_ylim(bottom=min(0.0, float(bottom)))
        style_axes(place, title=title, x="training step", y=unit)
        if len(usable) > 1:
            place.legend(frameon=False, fontsize=9.5)
    return figure


def write_training_plot(folder: str | os.PathLike[str]) -> Path | None:
    """Write ``training.png`` to a model folder: loss, KL divergence and latents in use over the training steps.

    Returns
    -------
    Path or None
        None if the training log holds nothing to draw.

    Raises
    ------
    InputError
        If there is no training log, or it is damaged.
    OutputError
        If the plot cannot be written.
    """
    figure = training_figure(read_training_log(folder))
    if figure is None:
        return None
    path = Path(folder) / "training.png"
    write_bytes(path, to_png(figure))
    return path


def _thinned(x: np.ndarray, y: np.ndarray, max_points: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    step = max(1, len(x) // max_points)
    return x[::step], y[::step]


def _even_edges(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if high <= low:
        low, high = 0.9 * low, 1.1 * high
    return np.linspace(low, high, min(30, max(6, round(np.sqrt(len(values))) + 4)))


def _true_counts(run: Run, names: list[str]) -> np.ndarray:
    counts = pd.Series(column(run.scores, "n_true"), index=text(run.scores, "image"), dtype=float)
    counts = counts[~counts.index.duplicated() & counts.notna()]
    return counts.reindex(names).to_numpy()
