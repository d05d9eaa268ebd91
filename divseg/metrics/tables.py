"""Tables of scores over images: means, scores of all images pooled, bootstrap intervals, paired comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from divseg.errors import InputError, did_you_mean
from divseg.metrics.scores import DET_WEIGHTS, percent

SCORES = ("map", "ap50", "ap75", "seg", "det", "f1", "pq", "aji", "aji_plus")
"""Scores of :meth:`divseg.metrics.Scores.as_row` that are averaged over images."""

WITH_INTERVAL = ("map", "ap50", "seg")
"""Scores that get a bootstrap interval in :func:`summarize`."""

MIN_IMAGES = 5
"""Fewest scored images for a bootstrap interval."""


@dataclass(frozen=True)
class Comparison:
    """Paired difference of one score between two methods, over the images that both have.

    Attributes
    ----------
    a, b, score : str
        The methods and the score.
    n_images : int
        Images with a score of both.
    mean_a, mean_b : float
        Means over these images.
    difference : float
        ``mean_a - mean_b``.
    low, high : float
        95 % bootstrap interval of the difference, images resampled; NaN with fewer than five images.
    improved, worsened : float
        Fraction of images on which `a` scores above, or below, `b`; the rest are equal.
    """

    a: str
    b: str
    score: str
    n_images: int
    mean_a: float
    mean_b: float
    difference: float
    low: float
    high: float
    improved: float
    worsened: float

    def as_row(self) -> dict[str, Any]:
        """Return the attributes as a flat row for a table."""
        return asdict(self)


def summarize(
    rows: pd.DataFrame,
    by: str | Sequence[str] = "input",
    *,
    image: str = "image",
    rounds: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Summarise score rows of many images, one row for each method.

    Parameters
    ----------
    rows : pandas.DataFrame
        Rows as from :meth:`divseg.metrics.Scores.as_row` with the columns `by` and, if a method has
        several rows for an image (single samples), `image`.
    by : str or sequence of str
        Column or columns that name the method.
    image : str
        Column that names the image. Rows of one image are averaged first, so that every image counts once.
        Without this column every row is an image.
    rounds : int
        Bootstrap rounds.
    seed : int
        Seed of the bootstrap; the same images are drawn for every method.

    Returns
    -------
    pandas.DataFrame
        Methods in order of first appearance, with the columns: `by`; ``n_images``; ``n_scored`` (images with
        any score: an image without objects in truth and prediction has none and does not count);
        ``n_true n_pred`` (sums over images, of the mean if an image has several rows); for each score its
        mean over images, under its own name; ``map_lo map_hi ap50_lo ...`` (95 % percentile bootstrap over
        images, Efron and Tibshirani 1993, ch. 13; NaN with fewer than five scored images); and
        ``map_pooled seg_pooled ...`` (one score of all images together, from summed counts; SEG over all
        reference objects, as the Cell Tracking Challenge does).

    Raises
    ------
    InputError
        No rows, a missing column, or rows with different IoU thresholds.
    """
    keys = [by] if isinstance(by, str) else list(by)
    if not keys:
        raise InputError("summarize needs the name of at least one column that tells the methods apart")
    _need(rows, keys)
    if rounds < 1:
        raise InputError(f"rounds={rounds} is impossible: a bootstrap needs at least one round")
    out = []
    for name, part in rows.groupby(keys, sort=False, dropna=False):
        means = _per_image(part, image, [*SCORES, "n_true", "n_pred"])
        row: dict[str, Any] = dict(zip(keys, name, strict=True))
        row["n_images"] = len(means)
        row["n_scored"] = int(means[list(SCORES)].notna().any(axis=1).sum())
        row |= {"n_true": means["n_true"].sum(min_count=1), "n_pred": means["n_pred"].sum(min_count=1)}
        for score in SCORES:
            row[score] = means[score].mean()
            if score in WITH_INTERVAL:
                row[f"{score}_lo"], row[f"{score}_hi"] = bootstrap_interval(
                    means[score].to_numpy(), rounds=rounds, seed=seed
                )
        out.append(row | pooled_scores(part))
    return pd.DataFrame(out)


def compare(
    rows: pd.DataFrame,
    a: str,
    b: str,
    score: str = "map",
    *,
    by: str = "input",
    image: str = "image",
    rounds: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare two methods on the images that both have.

    Parameters
    ----------
    rows : pandas.DataFrame
        Rows as from :meth:`divseg.metrics.Scores.as_row` with the columns `by` and `image`.
    a, b : str
        Methods, as named in the column `by`; a positive difference means that `a` scores higher.
    score : str
        Column to compare.
    by, image : str
        Columns that name the method and the image. Several rows of one image are averaged.
    rounds, seed : int
        Rounds and seed of the bootstrap.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        A missing column, an unknown method, or no image with a score of both.
    """
    _need(rows, [by, image, score])
    names = list(dict.fromkeys(rows[by].astype(str)))
    values = {}
    for method in (a, b):
        if method not in names:
            raise InputError(f"no rows for {method!r} in column {by!r}{_nearest(method, names)}")
        part = rows[rows[by].astype(str) == method]
        values[method] = _per_image(part, image, [score])[score]
    both = pd.concat([values[a].rename("a"), values[b].rename("b")], axis=1, join="inner").dropna()
    if both.empty:
        raise InputError(f"{a!r} and {b!r} share no image that has a {score}: nothing can be compared")
    first, second = both["a"].to_numpy(), both["b"].to_numpy()
    low, high = bootstrap_interval(first - second, rounds=rounds, seed=seed)
    return Comparison(
        a=a,
        b=b,
        score=score,
        n_images=len(both),
        mean_a=float(first.mean()),
        mean_b=float(second.mean()),
        difference=float((first - second).mean()),
        low=low,
        high=high,
        improved=float(np.mean(first > second)),
        worsened=float(np.mean(first < second)),
    )


def bootstrap_interval(
    values: NDArray[np.float64], *, least: int = MIN_IMAGES, rounds: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a mean over images (Efron and Tibshirani 1993, ch. 13).

    Parameters
    ----------
    values : float64 array, shape (n,)
        One value for each image; NaN entries are left out.
    least : int
        Fewest values that an interval is made of.
    rounds : int
        Bootstrap rounds.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    low, high : float
        NaN with fewer than `least` values.
    """
    values = values[np.isfinite(values)]
    if len(values) < least:
        return np.nan, np.nan
    generator = np.random.default_rng(seed)
    means = [values[generator.integers(0, len(values), len(values))].mean() for _ in range(rounds)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def pooled_scores(rows: pd.DataFrame) -> dict[str, float]:
    """Pool the images of one method.

    Counts are summed over the rows before the ratio is taken, so that images weigh by their objects, and an
    image without any does not count. SEG is the mean over the reference objects of all images, DET caps the
    summed AOGM-D by the summed AOGM-D0: both as the Cell Tracking Challenge scores a sequence.

    Parameters
    ----------
    rows : pandas.DataFrame
        Rows as from :meth:`divseg.metrics.Scores.as_row`, perhaps read back from CSV.

    Returns
    -------
    dict
        ``map_pooled ap50_pooled ap75_pooled seg_pooled det_pooled f1_pooled pq_pooled aji_pooled
        aji_plus_pooled``; NaN if the sums are absent, undefined or zero.

    Raises
    ------
    InputError
        Rows with different IoU thresholds.
    """
    return {
        "map_pooled": float(np.mean([_ap(rows, t) for t in _thresholds(rows)])),
        "ap50_pooled": _ap(rows, "50"),
        "ap75_pooled": _ap(rows, "75"),
        "seg_pooled": _over(rows, "seg_sum", "n_true"),
        "det_pooled": _det(rows),
        "f1_pooled": _f1(rows),
        "pq_pooled": _pq(rows),
        "aji_pooled": _over(rows, "aji_shared", "aji_union"),
        "aji_plus_pooled": _over(rows, "aji_plus_shared", "aji_plus_union"),
    }


def to_markdown(table: pd.DataFrame, digits: int = 3) -> str:
    """Write a table as GitHub-flavoured Markdown.

    Parameters
    ----------
    table : pandas.DataFrame
        Its index is left out.
    digits : int
        Decimals of numbers with a fraction. A column of whole numbers beyond 0 and 1 is written without, NaN
        as "n/a".

    Returns
    -------
    str
        Numbers aligned right; ends with a newline.
    """
    columns = [table.iloc[:, k] for k in range(table.shape[1])]
    numeric = [pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values) for values in columns]
    texts = [
        [_cell(value, 0 if number and _are_counts(values) else digits) for value in values]
        for values, number in zip(columns, numeric, strict=True)
    ]
    cells = [[_cell(name, digits) for name in table.columns], *map(list, zip(*texts, strict=True))]
    widths = [max(3, *(len(row[k]) for row in cells)) for k in range(len(numeric))]
    lines = [
        "| " + " | ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in zip(r, widths, numeric, strict=True)) + " |"
        for r in cells
    ]
    rule = ["-" * (w - 1) + ":" if n else "-" * w for w, n in zip(widths, numeric, strict=True)]
    return "\n".join([lines[0], "| " + " | ".join(rule) + " |", *lines[1:]]) + "\n"


def _are_counts(values: pd.Series) -> bool:
    numbers = values.dropna().to_numpy(dtype=float)
    return bool(len(numbers) and np.all(numbers == np.round(numbers)) and np.any(np.abs(numbers) > 1))


def _cell(value: Any, digits: int) -> str:
    if value is None or value is pd.NA or value != value:  # NaN alone differs from itself
        return "n/a"
    if isinstance(value, float | np.floating):
        return f"{value:.{digits}f}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def _need(rows: pd.DataFrame, columns: Sequence[str]) -> None:
    if not len(rows):
        raise InputError("the score table holds no rows")
    for column in columns:
        if column not in rows:
            names = list(map(str, rows.columns))
            raise InputError(f"the score table has no column {column!r}{_nearest(column, names)}")


def _nearest(word: str, names: Sequence[str]) -> str:
    return f"{did_you_mean(str(word), names)} (known: {', '.join(names)})"


def _per_image(part: pd.DataFrame, image: str, columns: Sequence[str]) -> pd.DataFrame:
    """Mean of the rows of each image; columns that are absent are NaN."""
    numbers = part.reindex(columns=list(columns)).apply(pd.to_numeric, errors="coerce")
    if image not in part:
        return numbers.reset_index(drop=True)
    return numbers.groupby(part[image].to_numpy(), sort=True).mean()


def _thresholds(rows: pd.DataFrame) -> list[str]:
    """Column endings of the thresholds that mAP is the mean over."""
    if "thresholds" not in rows:
        return ["50"]  # no counts either: the mean of one NaN
    texts = list(dict.fromkeys(rows["thresholds"].astype(str)))
    if len(texts) > 1:
        raise InputError(
            f"rows with IoU thresholds {texts[0]!r} and {texts[1]!r} cannot be pooled: "
            "evaluate all images with the same ones"
        )
    return [percent(float(word)) for word in texts[0].split()]


def _sums(rows: pd.DataFrame, *names: str) -> NDArray[np.float64]:
    """Sum columns over the rows that have all of them; NaN if there is no such row."""
    numbers = rows.reindex(columns=list(names)).apply(pd.to_numeric, errors="coerce").dropna()
    if numbers.empty:
        return np.full(len(names), np.nan)
    return numbers.sum().to_numpy(dtype=float)


def _quotient(top: float, low: float) -> float:
    return float(top / low) if low > 0 else np.nan


def _over(rows: pd.DataFrame, top: str, low: str) -> float:
    return _quotient(*_sums(rows, top, low))


def _ap(rows: pd.DataFrame, name: str) -> float:
    tp, fp, fn = _sums(rows, f"tp{name}", f"fp{name}", f"fn{name}")
    return _quotient(tp, tp + fp + fn)


def _f1(rows: pd.DataFrame) -> float:
    tp, fp, fn = _sums(rows, "tp50", "fp50", "fn50")
    return _quotient(2 * tp, 2 * tp + fp + fn)


def _pq(rows: pd.DataFrame) -> float:
    iou, tp, fp, fn = _sums(rows, "matched_iou", "tp50", "fp50", "fn50")
    return _quotient(iou, tp + (fp + fn) / 2)


def _det(rows: pd.DataFrame) -> float:
    cost, n_true = _sums(rows, "det_cost", "n_true")
    worst = DET_WEIGHTS[1] * n_true
    return 1 - _quotient(min(cost, worst), worst)
