"""Scores against the truth: the table, the chart, and what they say in one plain sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from divseg.report.style import BLUE, GREY, INK, dress, name_ticks, new_chart
from divseg.results.reader import Results, column, text

METRICS = ("map", "ap50", "ap75", "seg", "det", "f1", "pq")
TITLES = {
    "map": "mAP",
    "ap50": "AP at IoU 0.5",
    "ap75": "AP at IoU 0.75",
    "seg": "SEG",
    "det": "DET",
    "f1": "F1",
    "pq": "PQ",
}
_BEST_GAUSSIAN = re.compile(r"best gaussian \(\s*sd\s*=\s*(.+?)\s*\)", re.IGNORECASE)
_ROUNDS = 2000


@dataclass(frozen=True)
class Comparison:
    """The consensus of the run against the best baseline by mAP.

    Attributes
    ----------
    consensus, baseline : str
        Names of the two inputs, as in ``summary.csv``.
    difference : float
        mAP of the consensus minus that of the baseline.
    interval : tuple of float or None
        95 % bootstrap interval of the mean difference over images, None with fewer than five paired images.
    wins, losses, pairs : int
        Images on which the consensus is better or worse, of all that have both scores.
    """

    consensus: str
    baseline: str
    difference: float
    interval: tuple[float, float] | None
    wins: int
    losses: int
    pairs: int


def is_consensus(name: str) -> bool:
    """Whether an input of the score tables is a consensus rather than a baseline."""
    return name.lower().startswith("consensus")


def summary_table(results: Results) -> tuple[pd.DataFrame, str]:
    """Return one row per input, from ``summary.csv`` or else as means of ``scores.csv``.

    Returns
    -------
    table : pandas.DataFrame
        In the given order; empty without truth.
    note : str
        Says so when the table had to be computed here.
    """
    if len(results.summary) and "input" in results.summary:
        return results.summary.reset_index(drop=True), ""
    scores = results.scores
    if not len(scores) or "input" not in scores:
        return pd.DataFrame(), ""
    rows = []
    for name in dict.fromkeys(text(scores, "input")):
        part = scores[scores["input"] == name]
        row: dict[str, object] = {"input": name, "n_images": len(set(text(part, "image")))}
        for metric in METRICS:
            values = column(part, metric)
            row[metric] = float(np.nanmean(values)) if np.isfinite(values).any() else np.nan
        row["n_pred"] = float(np.nansum(column(part, "n_pred")))
        rows.append(row)
    return pd.DataFrame(rows), "No summary.csv: these are plain means over the rows of scores.csv."


def winners(table: pd.DataFrame, metric: str) -> np.ndarray:
    """Mark the best inputs by one metric; those that show the same three decimals share the mark."""
    values = np.round(column(table, metric), 3)
    if not np.isfinite(values).any():
        return np.zeros(len(table), bool)
    return values == np.nanmax(values)


def compare(results: Results, table: pd.DataFrame) -> Comparison | None:
    """Compare the consensus that made the labels with the best baseline by mAP.

    Parameters
    ----------
    results : Results
        The run; ``config`` may name the consensus method, otherwise the first consensus row is taken.
    table : pandas.DataFrame
        One row per input, as from `summary_table`.

    Returns
    -------
    Comparison or None
        None when there is no consensus or no baseline with a mAP.
    """
    names, values = text(table, "input"), column(table, "map")
    known = [(name, float(value)) for name, value in zip(names, values, strict=True) if np.isfinite(value)]
    fused = [entry for entry in known if is_consensus(entry[0])]
    others = [entry for entry in known if not is_consensus(entry[0])]
    if not fused or not others:
        return None
    method = _method(results.run.get("config"))
    ours = next((entry for entry in fused if method and method in entry[0].lower()), fused[0])
    best = max(others, key=lambda entry: entry[1])  # the first of equals
    differences = _paired(results.scores, ours[0], best[0])
    return Comparison(
        ours[0],
        best[0],
        ours[1] - best[1],
        _bootstrap(differences),
        int(np.count_nonzero(differences > 0)),
        int(np.count_nonzero(differences < 0)),
        len(differences),
    )


def verdict(comparison: Comparison, table: pd.DataFrame) -> str:
    """Say in one plain sentence how the consensus did against the best baseline."""
    score = dict(zip(text(table, "input"), column(table, "map"), strict=True))
    ours, best = score[comparison.consensus], score[comparison.baseline]
    gap = abs(comparison.difference)
    same = f"{ours:.3f}" == f"{best:.3f}"
    where = "level with" if same else ("above" if comparison.difference > 0 else "below")
    words = f"The {comparison.consensus} is {where} the best baseline ({comparison.baseline}) in mAP: "
    words += f"{ours:.3f} against {best:.3f}"
    if not same:
        words += f", a difference of {gap:.3f}"
    pairs = comparison.pairs
    if pairs:
        words += f"; it is better on {comparison.wins} and worse on {comparison.losses} of {pairs} images"
    if comparison.interval is None:
        return words + f"; {pairs} paired images are too few to say whether that is chance."
    low, high = comparison.interval
    words += f", and the mean difference over images lies between {_signed(low)} and {_signed(high)} (95 %)"
    if low <= 0 <= high:
        return words + ", so this run does not show that one is better than the other."
    better = "consensus" if low > 0 else "baseline"
    return words + f", so on images like these the {better} is better."


def score_figure(results: Results, table: pd.DataFrame) -> Figure | None:
    """Draw mAP, AP at 0.5 and SEG of all inputs in the given order, single images as small dots.

    Parameters
    ----------
    results : Results
        The run; ``scores.csv`` gives the dots.
    table : pandas.DataFrame
        One row per input, as from `summary_table`.

    Returns
    -------
    matplotlib.figure.Figure or None
        None when no metric holds a number. The best input by each metric is marked, whichever it is.
    """
    metrics = [metric for metric in ("map", "ap50", "seg") if np.isfinite(column(table, metric)).any()]
    if not metrics:
        return None
    names = text(table, "input")
    figure, axes = new_chart(1, len(metrics), 3.4 + 3.0 * len(metrics), 1.3 + 0.36 * len(names), share_y=True)
    colours = [BLUE if is_consensus(name) else "#5F676D" for name in names]
    for where, metric in zip(axes, metrics, strict=True):
        values, best = column(table, metric), winners(table, metric)
        low, high = column(table, f"{metric}_lo"), column(table, f"{metric}_hi")
        drawn: list[float] = []
        for row, name in enumerate(names):
            dots = _per_image(results.scores, name, metric).to_numpy()[:1000]
            drawn += dots.tolist()
            # a fixed pattern instead of random jitter: the same folder gives the same picture
            lift = ((np.arange(len(dots)) * 0.618) % 1 - 0.5) * 0.5
            where.plot(
                dots,
                row + lift,
                ".",
                color=GREY,
                alpha=max(0.15, min(0.5, 15 / (len(dots) + 1))),
                markersize=4,
            )
            if np.isfinite(low[row]) and np.isfinite(high[row]):
                where.hlines(row, low[row], high[row], color=colours[row], linewidth=2.4)
            if not np.isfinite(values[row]):
                continue
            marker, size = ("*", 13.0) if best[row] else ("o", 7.0)
            where.plot(
                values[row],
                row,
                marker,
                color=colours[row],
                markersize=size,
                markeredgecolor="white",
                zorder=5,
            )
            where.annotate(
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
        where.set_xlim(-0.02 * top, 1.02 * top)
        where.set_xticks(np.linspace(0, top, 6 if top in (0.25, 0.5, 1) else 4))
        where.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}".replace("0.", ".")))
        dress(where, title=TITLES[metric], grid="x")
    name_ticks(axes[0], names)
    for label, name in zip(axes[0].get_yticklabels(), names, strict=True):
        label.set(color=BLUE if is_consensus(name) else INK, fontweight="bold" if is_consensus(name) else "normal")
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    return figure


def _method(config: object) -> str:
    part = config.get("consensus") if isinstance(config, dict) else None
    method = part.get("method") if isinstance(part, dict) else part
    return method.lower() if isinstance(method, str) else ""


def _per_image(scores: pd.DataFrame, name: str, metric: str = "map") -> pd.Series:
    """Score of every image for one input; an image with several rows (single samples) gives their mean."""
    match = _BEST_GAUSSIAN.fullmatch(name.strip())
    if match:
        name = f"gaussian sd={match.group(1)}"
    rows = np.array([entry == name for entry in text(scores, "input")], bool)
    values = pd.Series(column(scores, metric)[rows], index=np.array(text(scores, "image"), object)[rows], dtype=float)
    return values.dropna().groupby(level=0, sort=True).mean()


def _paired(scores: pd.DataFrame, ours: str, best: str) -> np.ndarray:
    both = pd.concat([_per_image(scores, ours), _per_image(scores, best)], axis=1, join="inner")
    return (both.iloc[:, 0] - both.iloc[:, 1]).to_numpy(dtype=float)


def _bootstrap(differences: np.ndarray) -> tuple[float, float] | None:
    """Percentile bootstrap over images (Efron and Tibshirani 1993, ch. 13), seeded so as to repeat."""
    if len(differences) < 5:
        return None
    generator = np.random.default_rng(0)
    means = np.array(
        [differences[generator.integers(0, len(differences), len(differences))].mean() for _ in range(_ROUNDS)]
    )
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\u2212")
