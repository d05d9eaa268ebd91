"""Tables of scores over images: per-image means, pooled scores, bootstrap intervals, paired comparisons."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from divseg.errors import InputError
from divseg.metrics.pooling import pooled_scores

SCORES = ("map", "ap50", "ap75", "seg", "det", "f1", "pq", "aji", "aji_plus")
"""Scores of :meth:`divseg.metrics.Scores.as_row` that are averaged over images."""

WITH_INTERVAL = ("map", "ap50", "seg")
"""Scores that get a bootstrap interval in :func:`summarize`."""

MIN_IMAGES = 5
"""With fewer scored images no bootstrap interval is given."""


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
        Share of images on which `a` scores above, or below, `b`; the rest are equal.
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
        Rows as from :meth:`divseg.metrics.Scores.as_row` with the columns `by` and, where a method has
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
        any score: an image without objects in truth and prediction has none and weighs nothing);
        ``n_true n_pred`` (sums over images, of the mean where an image has several rows); for each score its
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
                row[f"{score}_lo"], row[f"{score}_hi"] = _bootstrap(means[score].to_numpy(), rounds, seed)
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
    known = list(dict.fromkeys(rows[by].astype(str)))
    values = {}
    for method in (a, b):
        if method not in known:
            raise InputError(f"no rows for {method!r} in column {by!r}{_nearest(method, known)}")
        part = rows[rows[by].astype(str) == method]
        values[method] = _per_image(part, image, [score])[score]
    both = pd.concat([values[a].rename("a"), values[b].rename("b")], axis=1, join="inner").dropna()
    if both.empty:
        raise InputError(f"{a!r} and {b!r} share no image that has a {score}: nothing can be compared")
    first, second = both["a"].to_numpy(), both["b"].to_numpy()
    low, high = _bootstrap(first - second, rounds, seed)
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
    known = values.dropna().to_numpy(dtype=float)
    return bool(len(known) and np.all(known == np.round(known)) and np.any(np.abs(known) > 1))


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
            known = list(map(str, rows.columns))
            raise InputError(f"the score table has no column {column!r}{_nearest(column, known)}")


def _nearest(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(word), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{hint} (known: {', '.join(known)})"


def _per_image(part: pd.DataFrame, image: str, columns: Sequence[str]) -> pd.DataFrame:
    """Mean of the rows of each image; columns that are absent are NaN."""
    numbers = part.reindex(columns=list(columns)).apply(pd.to_numeric, errors="coerce")
    if image not in part:
        return numbers.reset_index(drop=True)
    return numbers.groupby(part[image].to_numpy(), sort=True).mean()


def _bootstrap(values: NDArray[np.float64], rounds: int, seed: int) -> tuple[float, float]:
    """Percentile bootstrap of the mean; images without a score (NaN) are left out."""
    values = values[np.isfinite(values)]
    if len(values) < MIN_IMAGES:
        return np.nan, np.nan
    generator = np.random.default_rng(seed)
    means = [values[generator.integers(0, len(values), len(values))].mean() for _ in range(rounds)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
