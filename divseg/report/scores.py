"""Scores against the ground truth: the table, the chart, and what they say in one plain sentence."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from divseg.errors import InputError, counted
from divseg.metrics import Comparison, compare
from divseg.report.style import BLUE, GREY, INK, name_ticks, new_chart, style_axes
from divseg.results.open_run import Run
from divseg.results.reader import column, text
from divseg.results.rows import BEST_GAUSSIAN, GAUSSIAN

TITLES = {
    "map": "mAP",
    "ap50": "AP at IoU 0.5",
    "ap75": "AP at IoU 0.75",
    "seg": "SEG",
    "det": "DET",
    "f1": "F1",
    "pq": "PQ",
}
_BEST = re.compile(re.escape(BEST_GAUSSIAN).replace(r"\{\}", "(.+)"))


def is_consensus(name: str) -> bool:
    """Whether an input of the score tables is a consensus rather than a baseline."""
    return name.lower().startswith("consensus")


def winners(table: pd.DataFrame, metric: str) -> np.ndarray:
    """Mark the best inputs by one metric; those that show the same three decimals share the mark."""
    values = np.round(column(table, metric), 3)
    if not np.isfinite(values).any():
        return np.zeros(len(table), bool)
    return values == np.nanmax(values)


def rivals(run: Run) -> tuple[str, str] | None:
    """Return the consensus that made the labels and the best baseline by mAP, as named in ``summary.csv``.

    Parameters
    ----------
    run : Run
        The run; its setting ``fusion.method`` names the consensus.

    Returns
    -------
    tuple of str or None
        None if the summary lacks the mAP of that consensus or of every baseline.
    """
    scored = {
        name: value
        for name, value in zip(text(run.summary, "input"), column(run.summary, "map"), strict=True)
        if np.isfinite(value)
    }
    consensus = f"consensus {run.setting('fusion', 'method')}"
    baselines = [name for name in scored if not is_consensus(name)]
    if consensus not in scored or not baselines:
        return None
    return consensus, max(baselines, key=lambda name: scored[name])  # the first of equals


def paired(run: Run, consensus: str, baseline: str) -> Comparison | None:
    """Compare the mAP of two inputs on the images that both have; None if there is no such image."""
    try:
        return compare(run.scores, consensus, score_rows_of(baseline))
    except InputError:
        return None


def verdict(run: Run, consensus: str, baseline: str) -> str:
    """Say in one plain sentence how the consensus did against the best baseline."""
    score = dict(zip(text(run.summary, "input"), column(run.summary, "map"), strict=True))
    ours, best = score[consensus], score[baseline]
    same = f"{ours:.3f}" == f"{best:.3f}"
    place = "level with" if same else ("above" if ours > best else "below")
    words = f"The {consensus} is {place} the best baseline ({baseline}) in mAP: {ours:.3f} against {best:.3f}"
    if not same:
        words += f", a difference of {abs(ours - best):.3f}"
    pairs = paired(run, consensus, baseline)
    if pairs is None:
        return words + "; scores.csv holds no image with both scores, so this may be chance."
    n = pairs.n_images
    wins, losses = round(n * pairs.improved), round(n * pairs.worsened)
    words += f"; it is better on {wins} and worse on {losses} of {counted(n, 'image')}"
    if math.isnan(pairs.low):
        few = f"{counted(n, 'image')} with both scores {'are' if n > 1 else 'is'} too few"
        return words + f"; {few} to say whether that is chance."
    words += f", and the mean difference over images lies between {_signed(pairs.low)} and {_signed(pairs.high)} (95 %)"
    if pairs.low <= 0 <= pairs.high:
        return words + ", so this run does not show that one is better than the other."
    return words + f", so on images like these the {'consensus' if pairs.low > 0 else 'baseline'} is better."


def score_rows_of(name: str) -> str:
    """Return how an input of ``summary.csv`` is named in ``scores.csv``."""
    match = _BEST.fullmatch(name)
    return GAUSSIAN + match.group(1) if match else name


def score_figure(run: Run) -> Figure | None:
    """Draw mAP, AP at 0.5 and SEG of all inputs in the order of ``summary.csv``, single images as small dots.

    Parameters
    ----------
    run : Run
        The run; ``scores.csv`` gives the dots.

    Returns
    -------
    matplotlib.figure.Figure or None
        None if no metric holds a number. The best input by each metric is marked, whichever it is.
    """
    table = run.summary
    metrics = [metric for metric in ("map", "ap50", "seg") if np.isfinite(column(table, metric)).any()]
    if not metrics:
        return None
    names = text(table, "input")
    figure, axes = new_chart(1, len(metrics), 3.4 + 3.0 * len(metrics), 1.3 + 0.36 * len(names), share_y=True)
    colours = [BLUE if is_consensus(name) else "#5F676D" for name in names]
    for place, metric in zip(axes, metrics, strict=True):
        values, best = column(table, metric), winners(table, metric)
        low, high = column(table, f"{metric}_lo"), column(table, f"{metric}_hi")
        drawn: list[float] = []
        for row, name in enumerate(names):
            dots = _per_image(run.scores, name, metric)[:1000]
            drawn += dots.tolist()
            # a fixed pattern instead of random jitter: the same folder gives the same picture
            lift = ((np.arange(len(dots)) * 0.618) % 1 - 0.5) * 0.5
            place.plot(
                dots,
                row + lift,
                ".",
                color=GREY,
                alpha=max(0.15, min(0.5, 15 / (len(dots) + 1))),
                markersize=4,
            )
            if np.isfinite(low[row]) and np.isfinite(high[row]):
                place.hlines(row, low[row], high[row], color=colours[row], linewidth=2.4)
            if not np.isfinite(values[row]):
                continue
            marker, size = ("*", 13.0) if best[row] else ("o", 7.0)
            place.plot(
                values[row],
                row,
                marker,
                color=colours[row],
                markersize=size,
                markeredgecolor="white",
                zorder=5,
            )
            place.annotate(
                f"{values[row]:.3f}" + (" best" if best[row] else ""),
                (1.02, row),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=9.5,
                color=INK,
                fontweight="bold" if best[row] else "normal",
            )
        shown = [np.nanmax(values), *([np.nanmax(high)] if np.isfinite(high).any() else []), *drawn]
        top = next((end for end in (0.25, 0.5, 0.75) if max(shown) <= end), 1.0)  # from 0, but no empty half
        place.set_xlim(-0.02 * top, 1.02 * top)
        place.set_xticks(np.linspace(0, top, 6 if top in (0.25, 0.5, 1) else 4))
        place.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}".replace("0.", ".")))
        style_axes(place, title=TITLES[metric], grid="x")
    name_ticks(axes[0], names)
    for label, name in zip(axes[0].get_yticklabels(), names, strict=True):
        label.set(color=BLUE if is_consensus(name) else INK, fontweight="bold" if is_consensus(name) else "normal")
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    return figure


def _per_image(scores: pd.DataFrame, name: str, metric: str) -> np.ndarray:
    """Score of every image for one input; an image with several rows (single samples) gives their mean."""
    rows = np.array(text(scores, "input"), object) == score_rows_of(name)
    values = pd.Series(column(scores, metric)[rows], np.array(text(scores, "image"), object)[rows], dtype=float)
    return values.dropna().groupby(level=0).mean().to_numpy()


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\u2212")
