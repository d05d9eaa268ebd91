"""The stages of one image in ``divseg run`` that need truth: scores of the baselines, and of the consensus."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.config import RunConfig
from divseg.consensus import LabelStack
from divseg.io import read_labels
from divseg.io.pixel_size import plane_distance
from divseg.metrics import evaluate, object_hits
from divseg.workflow.fuse_views import fuse_views, mmse_labels
from divseg.workflow.stage import UnitContext


def _score(name: str, labels: Any, truth: NDArray[np.integer]) -> dict[str, Any]:
    return {"input": name, **evaluate(labels, truth).as_row()}


def score_baselines(context: UnitContext) -> None:
    """Score the segmenter on the noisy image, on smoothed ones, on the MMSE and on every sample; of several, the first.

    The label images of the noisy image, of the smoothing that does best on this image, and of the MMSE are kept: the
    report shows where each goes wrong.
    """
    if context.unit.truth is None:
        return
    context.step("score baselines")
    truth, image = _truth(context), context.load()
    each = context.tools.segment_of(image)
    segment = each.first
    noisy = image.data.astype(np.float32)
    spacing = (plane_distance(image.pixel_size) or 1.0, 1.0, 1.0)[-noisy.ndim :]
    stack: LabelStack = context.memory["stack"]
    rivals = {"noisy": segment.fit(noisy)(noisy)}
    for sigma in context.tools.config.evaluation.baseline_sigmas:
        smooth = ndi.gaussian_filter(noisy, [sigma / step for step in spacing])
        rivals[f"gaussian sigma={sigma:g}"] = segment.fit(smooth)(smooth)
    rivals["mmse"] = mmse_labels(context)
    rows = [_score(name, labels, truth) for name, labels in rivals.items()]
    smoothings = [row for row in rows if row["input"].startswith("gaussian")]
    best = max(smoothings, key=lambda row: row["map"], default={"input": None})["input"]
    shown = ("noisy", best, "mmse")
    context.write.rivals(truth, {name: np.asarray(labels) for name, labels in rivals.items() if name in shown})
    for k in range(context.memory["segment info"]["views"]["samples"] // len(each.parts)):
        row = _score("single sample", stack.labels(k * len(each.parts)), truth)
        rows.append({"input": row.pop("input"), "draw": k, **row})
    context.write.scores += rows


def score_consensus(context: UnitContext) -> None:
    """Score the consensus, and those of the methods it is compared with."""
    if context.unit.truth is None:
        return
    context.step("score")
    config: RunConfig = context.tools.config
    truth = _truth(context)
    for method in dict.fromkeys([config.fusion.method, *config.evaluation.compare]):
        if method == config.fusion.method and "consensus" in context.memory:
            labels: Any = context.memory["consensus"].labels
        elif method == config.fusion.method:
            labels = read_labels(context.store.labels(context.unit.name))  # of an earlier run
        else:
            labels = fuse_views(context, method).labels
        context.write.scores.append(_score(f"consensus {method}", labels, truth))
        if method == config.fusion.method:
            context.write.info["right"] = object_hits(labels, truth)["hit"].tolist()  # in the order of objects.csv


def _truth(context: UnitContext) -> NDArray[np.integer]:
    if "truth" not in context.memory:
        whole, valid = context.unit.truth.load(), context.load().valid
        context.memory["truth"] = whole if valid is None else np.where(valid, whole, 0)
    truth: NDArray[np.integer] = context.memory["truth"]
    return truth
