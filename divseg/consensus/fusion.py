"""Fusion and assessment: the two public functions, the table of methods, and what every result has in common."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divseg.consensus.baselines import fuse_majority, fuse_medoid
from divseg.consensus.clustering import fuse_clustering
from divseg.consensus.evidence import ObjectEvidence
from divseg.consensus.hypotheses import FusionResult
from divseg.consensus.mutex import fuse_mutex
from divseg.consensus.result import Consensus
from divseg.consensus.run_lengths import from_runs, to_runs
from divseg.consensus.selection import OBJECTIVES
from divseg.consensus.stack import LabelStack, Mask
from divseg.consensus.table import alternatives_table, object_table
from divseg.consensus.voting import fuse_voting
from divseg.consensus.witnesses import LEAST_EXISTENCE, LEAST_SNR, Images, Witnesses
from divseg.errors import ConfigError, InputError
from divseg.labels import check_labels
from divseg.specs import Option, read_options, split_spec, unknown

METHODS: dict[str, Callable[..., FusionResult]] = {
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
    objective: str = "map",
    existence: float | None = None,
    weights: ArrayLike | None = None,
    samples: int | None = None,
    images: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
    snr: float = LEAST_SNR,
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
        StarDist's do. An iterator is consumed once and files are read one by one; only the outlines are kept in
        memory. A :class:`divseg.consensus.LabelStack` saves reading them again.
    method : str
        Name of a method, optionally followed by its options, as in ``"voting,scheme=simple"``.
        ``clustering``: correlation clustering of the objects of all samples, masks of greatest expected IoU,
        choice of objects by the expected score.
        ``voting``: votes around markers, as in the fusion of the Cell Tracking Challenge.
        ``mutex``: mutex watershed on averaged affinities, then masks and choice as in ``clustering``.
        ``medoid``: the sample that agrees best with the others.
        ``majority``: connected components of the pixels in the foreground of more than half of the samples.
    objective : str
        Score that the choice of objects maximises, for methods that choose: ``map ap50 f1 pq seg``.
        ``seg`` has no penalty for extra objects: every object that a twentieth of the samples hold is kept.
    existence : float, optional
        Keep the objects that at least this fraction of the samples hold, instead of the choice by `objective`.
    weights : array-like of K numbers, optional
        Weight of each sample in everything that is counted; only the ratios matter. A weight of 2 acts on
        the labels as if the sample were there twice, one of 0 as if it were not there. By default all weigh
        the same, or as they do in the LabelStack.
    samples : int, optional
        Number of posterior samples, which are then the first of the masks; the others are segmentations of other
        versions of the image. All propose objects and vote for their outlines, but an object is kept only if at least
        three in ten of the samples hold it, or the fraction `existence`, and what the result says of its objects
        (existence, intervals, maps, expected scores) is what the samples alone say.
    images : three arrays, optional
        With `samples`: the noisy image, and mean and standard deviation of its samples pixel by pixel. Objects that
        do not differ from the background around them (:func:`divseg.consensus.contrast.measure_contrast`) are then
        not kept.
    snr : float
        Least signal-to-noise ratio of an object that is kept, if there are `images`; 0 keeps all.
    markers : label image of the shape of the masks, optional
        One marker for each object, for ``voting``.
    seed : int
        Seed of all random choices.
    **options
        Options of the method, as in `method`: ``links`` (``clustering``, ``medoid``), ``scheme threshold collisions
        fail_safe`` (``voting``), ``foreground offsets refine`` (``mutex``).

    Returns
    -------
    Consensus

    Raises
    ------
    InputError
        No masks, masks that are not label images or differ in shape, or weights that do not fit them.
    ConfigError
        An unknown method, objective or option, or values out of range.

    Examples
    --------
    Two of three samples hold the second object, and one of them outlines the first one differently.

    >>> import numpy as np
    >>> samples = [np.array([[1, 1, 1, 0, 2, 2]]), np.array([[1, 1, 1, 0, 2, 2]]), np.array([[1, 1, 0, 0, 0, 0]])]
    >>> consensus = fuse(samples)
    >>> consensus.labels.tolist()
    [[1, 1, 1, 0, 2, 2]]
    >>> consensus.objects["existence"].round(2).tolist()
    [1.0, 0.67]
    >>> fuse(samples, existence=0.9).labels.tolist()
    [[1, 1, 1, 0, 0, 0]]
    """
    name, own = _read_method(method)
    check_choice(method, objective, existence)
    if markers is not None:
        check_markers(method)
        own["markers"] = markers
    for option in options:
        if option in own:
            raise ConfigError(f"option {option} is given twice, in method={method!r} and beside it; keep one of them")
    own |= _read_keywords(name, options)
    stack = _as_stack(masks, weights)
    witnesses = None
    if samples is not None:
        witnesses = _witnesses(stack, samples, existence, images, snr)
    elif images is not None:
        raise ConfigError("images belong to posterior samples; say with samples= how many of the masks are theirs")
    run = METHODS[name]
    # what a fraction of the samples holds has at least that fraction of their part of all votes
    votes = existence if existence is None or samples is None else existence * stack.input_weights[:samples].sum()
    common = {"objective": objective, "existence": votes, "witnesses": witnesses, "seed": seed}
    own |= {n: value for n, value in common.items() if n in inspect.signature(run).parameters}
    trivial = stack.identical and markers is None
    result = FusionResult(stack.decode(0)) if trivial else run(stack, **own)
    if witnesses is None:
        witnesses = Witnesses(stack, existence or 0.0)
    return _finish(result, witnesses, ",".join(part.strip() for part in method.split(",")))


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
    ConfigError
        If `existence` is not a fraction.

    Examples
    --------
    Of four samples, three hold the first object and one holds the second.

    >>> import numpy as np
    >>> drawn = np.array([[5, 5, 0, 2, 2]])
    >>> first, second = np.array([[1, 1, 0, 0, 0]]), np.array([[0, 0, 0, 1, 1]])
    >>> assess(drawn, [first, first, first, second]).objects["existence"].tolist()
    [0.75, 0.25]
    >>> assess(drawn, [first, first, first, second], existence=0.5).labels.tolist()
    [[1, 1, 0, 0, 0]]
    """
    _check_existence(existence)
    image = check_labels(labels.labels if isinstance(labels, Consensus) else labels, "labels")
    stack = _as_stack(masks, weights)
    if image.shape != stack.shape:
        raise InputError(
            f"labels have the shape {image.shape}, the masks {stack.shape}; give label images of one shape"
        )
    volume = image.reshape(stack.volume)
    result = _finish(FusionResult(volume), Witnesses(stack, existence or 0.0), "given")
    if not isinstance(labels, Consensus):
        return result
    # rivals of the alternatives are labels, which change if objects are dropped
    pairs = np.unique(np.stack([volume.ravel(), result.labels.ravel()]), axis=1)
    number = {str(old): str(new) for old, new in pairs.T.tolist() if new}
    rivals = [" ".join(number[r] for r in words.split() if r in number) for words in labels.alternatives["rivals"]]
    alternatives = labels.alternatives.assign(rivals=np.array(rivals, object))
    return replace(result, method=labels.method, alternatives=alternatives)


def check_choice(method: str, objective: str, existence: float | None) -> None:
    """Raise ConfigError for an unknown method or objective, or an impossible existence."""
    _read_method(method)
    if objective not in OBJECTIVES:
        raise unknown("objective", objective, OBJECTIVES)
    _check_existence(existence)


def check_markers(method: str) -> None:
    """Raise ConfigError for a method that does not take markers."""
    name, _ = _read_method(method)
    if "markers" not in inspect.signature(METHODS[name]).parameters:
        raise ConfigError(f"method {name!r} does not take markers; use voting")


def method_options(name: str) -> dict[str, Option]:
    """Return the options of a method: the annotated parameters of its function."""
    function = METHODS[name]
    parameters = inspect.signature(function).parameters
    return {
        option: Option(hint.__metadata__[0], parameters[option].default, "")
        for option, hint in typing.get_type_hints(function, include_extras=True).items()
        if hasattr(hint, "__metadata__")
    }


def _read_method(text: str) -> tuple[str, dict[str, Any]]:
    """Return the name of a method, and the options that the text names, read and checked (ConfigError)."""
    name, pairs = split_spec(str(text), "method", "voting,scheme=simple")
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    values = read_options(name, pairs, method_options(name), what="method")
    return name, {option: values[option] for option, _ in pairs}


def _read_keywords(method: str, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return options given as keywords, checked as those in a string are (ConfigError); None is the default."""
    options = method_options(method)
    pairs = []
    for name, value in keywords.items():
        try:
            text = options[name].kind.show(value)
        except (KeyError, TypeError, ValueError, OverflowError):
            text = str(value)
        pairs.append((name, text))
    wanted = [(name, text) for name, text in pairs if keywords[name] is not None or name not in options]
    values = read_options(method, wanted, options, what="method")
    return {name: values[name] for name, _ in wanted}


def _check_existence(existence: float | None) -> None:
    if existence is not None and not 0 <= existence <= 1:
        raise ConfigError(f"existence={existence!r} is impossible; give a fraction of samples from 0 to 1")


def _as_stack(masks: Iterable[Mask] | NDArray[Any] | LabelStack, weights: ArrayLike | None) -> LabelStack:
    if not isinstance(masks, LabelStack):
        return LabelStack.of(masks, weights)
    return masks if weights is None else masks.select(range(len(masks)), weights)


def _witnesses(
    stack: LabelStack,
    samples: int,
    existence: float | None,
    images: tuple[ArrayLike, ArrayLike, ArrayLike] | None,
    snr: float,
) -> Witnesses:
    """Return the first label images of a stack as those without which no object is kept."""
    if not 1 <= samples <= len(stack):
        raise InputError(f"samples={samples}: there are {len(stack)} masks; give a number from 1 to {len(stack)}")
    first = stack.select(range(samples), stack.input_weights[:samples])
    if not snr >= 0:
        raise ConfigError(f"snr={snr!r} is impossible; give a signal-to-noise ratio of 0 or more")
    shown = None if images is None else Images(*images)
    for name, image in ({} if shown is None else shown._asdict()).items():
        if np.shape(image) != stack.shape:
            raise InputError(
                f"images: {name} has the shape {np.shape(image)}, the masks {stack.shape}; give arrays of one shape"
            )
    return Witnesses(first, LEAST_EXISTENCE if existence is None else existence, shown, snr)


def _finish(result: FusionResult, witnesses: Witnesses, method: str) -> Consensus:
    """Drop what is too rare or too faint, number the rest by first pixel, and compute what the samples say of it."""
    stack, labels = witnesses.stack, result.labels
    if result.hypotheses is None:
        labels = from_runs(to_runs(labels), stack.volume)
        considered = ObjectEvidence(to_runs(labels), stack)
    else:
        considered = ObjectEvidence(result.hypotheses.runs, stack)
    faint = np.zeros(considered.n, bool)
    runs = to_runs(labels)
    rare = witnesses.too_rare(ObjectEvidence(runs, stack).existence)
    labels = np.where(_of(rare, from_runs(runs, stack.volume)), 0, labels)
    numbered = from_runs(to_runs(labels), stack.volume)
    columns = {}
    if (contrast := witnesses.contrast(numbered)) is not None:
        dropped = witnesses.too_faint(contrast)
        gone = _of(dropped, numbered)
        faint[np.unique(labels[gone]) - 1] = True
        labels = np.where(gone, 0, labels)
        columns = {name: values[~dropped] for name, values in contrast._asdict().items()}
    runs = to_runs(labels)
    evidence, numbered = ObjectEvidence(runs, stack), from_runs(runs, stack.volume)
    return Consensus(
        labels=numbered.reshape(stack.shape),
        objects=object_table(evidence, columns),
        foreground=stack.foreground,
        boundary=stack.boundary,
        n_samples=stack.n_samples,
        counts=stack.input_counts,
        weights=stack.input_weights,
        expected=evidence.expected(),
        alternatives=alternatives_table(considered, labels, runs, faint),
        method=method,
    )


def _of(chosen: NDArray[np.bool_], numbered: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return the pixels of the chosen ones among objects 1..n."""
    return np.concatenate([[False], chosen])[numbered]
