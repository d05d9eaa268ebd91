"""Tables of objects: size, position, and statistics over the samples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from divseg.consensus.evidence import ObjectEvidence
from divseg.consensus.overlaps import Overlaps, cross_overlaps
from divseg.consensus.run_lengths import RunLengths, run_boxes
from divseg.consensus.stack import LabelStack
from divseg.consensus.weights import effective_number, weighted_quantiles

QUANTILES = (0.05, 0.5, 0.95)

SPLIT_PART = 0.1
"""Objects that cover at least this fraction of an object count as pieces of it."""


def object_table(evidence: ObjectEvidence, contrast: Mapping[str, NDArray[np.float64]]) -> pd.DataFrame:
    """Return the table of :class:`divseg.consensus.Consensus` for the objects of one label image."""
    runs, stack = evidence.runs, evidence.stack
    members = evidence.overlaps.members
    ndim = len(stack.shape)
    areas = np.where(members >= 0, stack.areas[members] if stack.n_objects else 0, np.nan).astype(float)
    weights = None if stack.uniform else stack.weights
    p_split, p_merge = topology(evidence.overlaps)
    columns: dict[str, NDArray] = {
        "label": np.arange(1, runs.n_objects + 1),
        "existence": evidence.existence,
        "mean_iou": evidence.mean_iou,
        "n_members": evidence.holds.sum(axis=1),
        "area": runs.areas,
        **_spread("area", areas, weights),
        "diameter": diameter(runs.areas, ndim),
        **_spread("diameter", diameter(areas, ndim), weights),
        **_prob(members, stack),
        **contrast,
        "p_split": p_split,
        "p_merge": p_merge,
        **positions(runs, stack),
    }
    return pd.DataFrame(columns)


def alternatives_table(
    evidence: ObjectEvidence, rasterized: NDArray[np.int32], final: RunLengths, faint: NDArray[np.bool_]
) -> pd.DataFrame:
    """Return the hypotheses that were not rasterized, with the labels that took their place.

    Parameters
    ----------
    evidence : ObjectEvidence
        Statistics of the hypotheses.
    rasterized : int32 array, shape (Z, Y, X)
        Hypothesis + 1.
    final : RunLengths
        The same objects, numbered as the user sees them.
    faint : bool array, shape (n,)
        Hypotheses that were not kept for lack of contrast.
    """
    hypotheses = evidence.runs
    taken = np.bincount(rasterized.ravel(), minlength=evidence.n + 1)[1 : evidence.n + 1] > 0
    rejected = np.flatnonzero(~taken)
    shared = _shared_pixels(hypotheses, final)
    kinds, rivals = [], []
    for j in rejected:
        pixels = shared.get(int(j), {})
        area = hypotheses.areas[j]
        swallowed = [i for i, n in pixels.items() if 2 * n > final.areas[i]]
        touched = sorted(i for i, n in pixels.items() if 50 * n > min(area, final.areas[i]))
        if faint[j]:
            kind = "faint"
        elif len(swallowed) >= 2:
            kind = "merged"
        elif not touched:
            kind = "unlikely"
        elif any(2 * n > area and final.areas[i] > area and i not in swallowed for i, n in pixels.items()):
            kind = "part"
        else:
            kind = "other shape"
        kinds.append(kind)
        rivals.append(" ".join(str(i + 1) for i in touched))
    columns = {
        "kind": np.array(kinds, object),
        "rivals": np.array(rivals, object),
        "existence": evidence.existence,
        "mean_iou": evidence.mean_iou,
        "n_members": evidence.holds.sum(axis=1),
        "area": hypotheses.areas,
        **positions(hypotheses, evidence.stack),
    }
    table = pd.DataFrame({n: v if n in ("kind", "rivals") else v[rejected] for n, v in columns.items()})
    return table.sort_values("existence", ascending=False, kind="stable", ignore_index=True)


def topology(pairs: Overlaps) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the probabilities of being split and of being merged, shapes (n,), of disjoint objects."""
    n, n_samples = pairs.n_first, pairs.stack.n_samples
    own = pairs.first_areas[pairs.first]
    piece = (2 * pairs.shared > pairs.stack.areas[pairs.second]) & (pairs.shared >= SPLIT_PART * own)
    cell = pairs.first * n_samples + pairs.sample
    pieces = np.bincount(cell[piece], minlength=n * n_samples).reshape(n, n_samples)
    inside = 2 * pairs.shared > own
    held_by = np.bincount(pairs.second[inside], minlength=pairs.stack.n_objects)
    merged = inside & (held_by[pairs.second] >= 2)
    p_merge = np.bincount(pairs.first[merged], pairs.stack.units[pairs.sample[merged]], minlength=n) / pairs.stack.total
    return pairs.stack.fraction(pieces >= 2), p_merge


def diameter(areas: NDArray, ndim: int) -> NDArray[np.float64]:
    """Return the diameter of the circle (2-D) or ball (3-D) of each area."""
    if ndim == 2:
        return np.asarray(2 * np.sqrt(areas / np.pi))
    return np.asarray(2 * np.cbrt(3 * areas / (4 * np.pi)))


def positions(runs: RunLengths, stack: LabelStack) -> dict[str, NDArray]:
    """Return the columns of centroid and bounding box."""
    _, ny, nx = stack.volume
    lengths = runs.lengths.astype(float)
    row, x = np.divmod(runs.starts, nx)
    z, y = np.divmod(row, ny)
    centres = (z, y, x + (lengths - 1) / 2)
    boxes = run_boxes(runs.starts, runs.lengths, runs.objects, runs.n_objects, ny, nx)
    axes = "zyx"[3 - len(stack.shape) :]
    columns: dict[str, NDArray] = {}
    for axis in axes:
        moment = np.bincount(runs.objects, lengths * centres["zyx".index(axis)], minlength=runs.n_objects)
        columns[f"centroid_{axis}"] = moment / runs.areas
    for axis in axes:
        columns[f"bbox_{axis}_min"] = boxes[:, "zyx".index(axis)]
        columns[f"bbox_{axis}_max"] = boxes[:, 3 + "zyx".index(axis)]
    return columns


def _prob(members: NDArray[np.int64], stack: LabelStack) -> dict[str, NDArray[np.float64]]:
    """Weighted mean of the probabilities that the segmenter gave the members, if it gives any."""
    if stack.prob is None:
        return {}
    values = np.where(members >= 0, stack.prob[members] if stack.n_objects else np.nan, np.nan)
    weight = np.where(np.isnan(values), 0.0, stack.units)
    total = weight.sum(axis=1)
    weighted = (np.nan_to_num(values) * weight).sum(axis=1)
    return {"prob_mean": np.divide(weighted, total, out=np.full(len(total), np.nan), where=total > 0)}


def _spread(
    name: str, values: NDArray[np.float64], weights: NDArray[np.float64] | None
) -> dict[str, NDArray[np.float64]]:
    """Mean, standard deviation and quantiles over the members; NaN if there are too few."""
    if weights is not None:
        return _weighted_spread(name, values, weights)
    n = len(values)
    ordered = np.sort(values, axis=1)
    count = np.count_nonzero(~np.isnan(values), axis=1)
    some = count > 0
    total = np.nansum(values, axis=1)
    mean = np.divide(total, count, out=np.full(n, np.nan), where=some)
    squares = np.nansum((values - mean[:, None]) ** 2, axis=1)
    std = np.sqrt(np.divide(squares, count - 1, out=np.full(n, np.nan), where=count > 1))
    columns = {f"{name}_mean": mean, f"{name}_std": std}
    rows = np.arange(n)
    for q in QUANTILES:
        at = q * np.maximum(count - 1, 0)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, np.maximum(count - 1, 0))
        fraction = at - low
        columns[f"{name}_q{round(100 * q):02d}"] = (1 - fraction) * ordered[rows, low] + fraction * ordered[rows, high]
    return columns


def _weighted_spread(
    name: str, values: NDArray[np.float64], weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Return the same as for that many samples of equal weight, Kish's effective number of them."""
    weight = np.where(np.isnan(values), 0.0, weights)
    total = weight.sum(axis=1)
    some = total > 0
    defined = np.nan_to_num(values)
    mean = np.divide((defined * weight).sum(axis=1), total, out=np.full(len(values), np.nan), where=some)
    variance = np.divide(
        (weight * (defined - mean[:, None]) ** 2).sum(axis=1), total, out=np.zeros(len(values)), where=some
    )
    number = effective_number(weight)
    several = np.count_nonzero(weight, axis=1) > 1
    scale = np.divide(number, number - 1, out=np.full(len(values), np.nan), where=several)
    columns = {f"{name}_mean": mean, f"{name}_std": np.sqrt(variance * scale)}
    for q, quantile in zip(QUANTILES, weighted_quantiles(values, weight, QUANTILES), strict=True):
        columns[f"{name}_q{round(100 * q):02d}"] = quantile
    return columns


def _shared_pixels(hypotheses: RunLengths, final: RunLengths) -> dict[int, dict[int, int]]:
    """Return the pixels that each hypothesis shares with each object of the final label image."""
    first, second, shared = cross_overlaps(hypotheses, final)
    table: dict[int, dict[int, int]] = {}
    for a, b, n in zip(first.tolist(), second.tolist(), shared.tolist(), strict=True):
        table.setdefault(a, {})[b] = n
    return table
