"""The door of the room: checks, the table of methods, and what every result has in common."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divseg.consensus.clustering import fuse_clustering
from divseg.consensus.evidence import Evidence
from divseg.consensus.hypotheses import Fused
from divseg.consensus.majority import fuse_majority
from divseg.consensus.medoid import fuse_medoid
from divseg.consensus.method import COMMON, check_option, known, options_of, parse_method
from divseg.consensus.mutex import fuse_mutex
from divseg.consensus.result import Consensus
from divseg.consensus.run_lengths import empty_runs, from_runs, to_runs
from divseg.consensus.selection import TARGETS
from divseg.consensus.stack import LabelStack, Mask
from divseg.consensus.table import alternatives_table, object_table
from divseg.consensus.voting import fuse_voting
from divseg.errors import InputError
from divseg.labels import check_labels

METHODS: dict[str, Callable[..., Fused]] = {
    "clustering": fuse_clustering,
    "voting": fuse_voting,
    "mutex": fuse_mutex,
    "majority": fuse_majority,
    "medoid": fuse_medoid,
}
"""Fusion methods by name."""


def fuse(
    masks: Iterable[Mask] | NDArray[Any] | LabelStack,
    *,
    method: str = "clustering",
    target: str = "map",
    existence: float | None = None,
    weights: ArrayLike | None = None,
    markers: ArrayLike | None = None,
    seed: int = 0,
    **options: Any,
) -> Consensus:
    """Fuse the label images of K samples into one, with a confidence for each object.

    The result does not depend on the order of the samples or on the label values. A single sample, and
    samples that all hold the same objects, come back relabelled and otherwise unchanged.

    Parameters
    ----------
    masks : LabelStack, iterable of integer arrays or of paths, or one integer array
        K label images of one shape (Y, X) or (Z, Y, X), 0 = background, or their TIFF or PNG files; an array has K
        along its first axis. A :class:`divseg.labels.LabelImage` may have a probability for each object, as
        StarDist's do. An iterator is consumed once and files are read one by one; the images are not kept, only
        their outlines. A :class:`divseg.consensus.LabelStack` saves reading them again.
    method : str
        A method, perhaps with options of its own as in ``"voting,scheme=simple"``.
        ``clustering``: correlation clustering of the objects of all samples, masks of greatest expected IoU,
        choice of objects by the expected target score.
        ``voting``: votes around markers, as in the fusion of the Cell Tracking Challenge.
        ``mutex``: mutex watershed on averaged affinities, then masks and choice as in ``clustering``.
        ``medoid``: the sample that agrees best with the others.
        ``majority``: pixels in the foreground of more than half of the samples, connected pieces.
    target : str
        Score that the choice of objects maximises, for methods that choose: ``map ap50 f1 pq seg op_csb``.
        ``seg`` has no penalty for extra objects: whatever a twentieth of the samples holds is kept.
    existence : float, optional
        Keep the objects that at least this share of the samples holds, instead of the choice by target.
    weights : array-like of K numbers, optional
        Weight of each sample in everything that is counted; only the ratios matter. A weight of 2 acts on
        the labels as if the sample were there twice, one of 0 as if it were not there. By default all weigh
        the same, or as they do in the LabelStack.
    markers : label image of the shape of the masks, optional
        One marker for each object; for methods driven by markers.
    seed : int
        Seed of everything random.
    **options
        Settings of the method, see its function.

    Returns
    -------
    Consensus

    Raises
    ------
    InputError
        No masks, masks that are no label images or differ in shape, an unknown method, target or option, or
        values out of range.
    """
    check_choice(method, target, existence)
    name, own = parse_method(method, METHODS)
    run = METHODS[name]
    accepted = options_of(run)
    given: dict[str, Any] = options if markers is None else {"markers": markers, **options}
    for option in given:
        check_option(name, option, accepted)
        if option in own:
            raise InputError(f"option {option} is given twice, in method={method!r} and beside it; keep one of them")
    stack = _as_stack(masks, weights)
    common = dict(zip(COMMON, (target, existence, seed), strict=True))
    given = own | given | {n: v for n, v in common.items() if n in inspect.signature(run).parameters}
    trivial = stack.identical and markers is None
    fused = Fused(stack.decode(0)) if trivial else run(stack, **given)
    return _finish(fused, stack, ",".join(part.strip() for part in method.split(",")), existence)


def assess(
    labels: ArrayLike | Consensus,
    masks: Iterable[Mask] | NDArray[Any] | LabelStack,
    *,
    weights: ArrayLike | None = None,
    existence: float | None = None,
) -> Consensus:
    """Find what the label images of K samples say of the objects of another label image.

    The label image may be drawn by hand, the segmentation of the MMSE, or fused from other label images: its objects
    get the existence, agreement and intervals that :func:`fuse` gives to those that it finds itself.

    Parameters
    ----------
    labels : integer array, shape (Y, X) or (Z, Y, X), or Consensus
        The objects, 0 = background.
    masks, weights
        As for :func:`fuse`.
    existence : float, optional
        Drop the objects that fewer than this fraction of the samples hold.

    Returns
    -------
    Consensus
        With the same objects, renumbered from 1 in the order of their first pixels. Method and alternatives are those
        of `labels` if it is a Consensus; otherwise the method is ``"given"`` and there are no alternatives.

    Raises
    ------
    InputError
        If `labels` is not a label image or has another shape than the masks, and as for :func:`fuse`.
    """
    if existence is not None:
        check_existence(existence)
    image = check_labels(labels.labels if isinstance(labels, Consensus) else labels, "labels")
    stack = _as_stack(masks, weights)
    if image.shape != stack.shape:
        raise InputError(
            f"labels have the shape {image.shape}, the masks {stack.shape}; give label images of one shape"
        )
    volume = image.reshape(stack.volume)
    result = _finish(Fused(from_runs(to_runs(volume), stack.volume)), stack, "given", existence)
    if not isinstance(labels, Consensus):
        return result
    # rivals of the alternatives are labels, which change where objects are dropped
    pairs = np.unique(np.stack([volume.ravel(), result.labels.ravel()]), axis=1)
    number = {str(old): str(new) for old, new in pairs.T.tolist() if new}
    rivals = [" ".join(number[r] for r in words.split() if r in number) for words in labels.alternatives["rivals"]]
    alternatives = labels.alternatives.assign(rivals=np.array(rivals, object))
    return replace(result, method=labels.method, alternatives=alternatives)


def _as_stack(masks: Iterable[Mask] | NDArray[Any] | LabelStack, weights: ArrayLike | None) -> LabelStack:
    if not isinstance(masks, LabelStack):
        return LabelStack.of(masks, weights)
    return masks if weights is None else masks.select(range(len(masks)), weights)


def check_choice(method: str, target: str, existence: float | None) -> None:
    """Raise InputError for an unknown method or target, or an impossible existence."""
    parse_method(method, METHODS)
    known("target", target, TARGETS)
    if existence is not None:
        check_existence(existence)


def check_existence(existence: float) -> None:
    """Raise InputError for an existence that is not a fraction of samples."""
    if not 0 <= existence <= 1:
        raise InputError(f"existence={existence!r} is impossible: give a fraction of samples between 0 and 1")


def check_markers(method: str) -> None:
    """Raise InputError for a method that is not driven by markers."""
    name, _ = parse_method(method, METHODS)
    check_option(name, "markers", options_of(METHODS[name]))


def _finish(fused: Fused, stack: LabelStack, method: str, existence: float | None) -> Consensus:
    """Return the result: labels numbered by first pixel, and what the samples hold of them."""
    labels = fused.labels
    runs = to_runs(labels)
    evidence = Evidence(runs, stack)
    if existence is not None and (rare := evidence.existence < existence - 1e-9).any():
        labels = labels.copy()
        labels[np.concatenate([[False], rare])[from_runs(runs, stack.volume)]] = 0
        runs = to_runs(labels)
        evidence = Evidence(runs, stack)
    return Consensus(
        labels=from_runs(runs, stack.volume).reshape(stack.shape),
        objects=object_table(evidence),
        foreground=stack.foreground,
        boundary=stack.boundary,
        n_samples=stack.n_samples,
        counts=stack.input_counts,
        weights=stack.input_weights,
        expected=evidence.expected(),
        alternatives=alternatives_table(fused.hypotheses or Evidence(empty_runs(), stack), labels, runs),
        method=method,
    )
