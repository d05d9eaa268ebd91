"""``--segmenter auto``, the default: the thresholding that the samples support best, chosen without any truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from divseg.config import RunConfig
from divseg.errors import ConfigError, DivsegError, InputError
from divseg.io import write_csv
from divseg.io.defects import within
from divseg.metrics import evaluate
from divseg.segment import segmenter
from divseg.workflow.stage import RunContext, RunStage

METHODS = ("otsu", "li", "isodata", "triangle", "yen", "local")
SMOOTHS = (0.5, 1.0, 2.0, 4.0)
SPLITS = ("none", "distance")
SMALLEST = 20
"""Smallest object in pixels."""

IMAGES, SAMPLES = 8, 3
"""Images of a folder, and samples of each, that the choice is made on."""

WINDOW = 512
"""Longest side in pixels of what is looked at of an image: its middle."""

AGAIN = 0.8
"""IoU at which an object of one sample is found again in the next: its outline is reproducible, not only its place."""
WEIGHT = 3
"""Power of the explained variance: it differs less between candidates than the number of objects does."""


def candidates() -> list[str]:
    """Return the thresholdings that are compared, as strings for :func:`divseg.segmenter`."""
    return [
        f"{method},smooth={smooth:g},split={split},min_size={SMALLEST}"
        for method in METHODS
        for smooth in SMOOTHS
        for split in SPLITS
    ]


def asked_candidates(text: str) -> list[str] | None:
    """Return what the setting ``segmenter`` leaves to the samples to choose among, None where it names one segmenter.

    Parameters
    ----------
    text : str
        ``"auto"`` for all candidates, ``"auto:A|B|C"`` for those.

    Raises
    ------
    ConfigError
        An unknown segmenter among them, or fewer than two.
    """
    word, colon, rest = text.partition(":")
    if word.strip() != "auto":
        return None
    if not colon:
        return candidates()
    named = [part.strip() for part in rest.split("|") if part.strip()]
    if len(named) < 2:
        raise ConfigError(
            f"segmenter {text!r} leaves no choice; name two or more: auto:otsu,smooth=1|stardist:nuclei (auto alone "
            "compares thresholdings)"
        )
    return [segmenter(part).name for part in named]


def rank_segmenters(
    samples: Sequence[ArrayLike],
    specs: Sequence[str] | None = None,
    *,
    valid: Sequence[NDArray[np.bool_] | None] | None = None,
    step: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Rank segmenters by how well the posterior samples of some images support them; truth is never looked at.

    Two things are asked of a segmentation, each with a way to cheat that the other prevents:

    - ``objects``: how many objects of one sample are found again in the next with an IoU of 0.8 or more, summed over
      all images, as a share of the most that any candidate achieves. What merges finds few; what shatters finds
      pieces whose outlines are others in the next sample. Alone it does not see where a border lies.
    - ``explained``: the share of the variance of the mean sample that its labels explain, with one level for each
      object and one for the background; mean over the images. It sees borders off their place and objects that are
      missing. Alone it has no objection to fragments.

    The score of a candidate is ``objects * explained**3``. Stability across samples in the mean, which is the usual
    way (mAP of one sample's objects with the next one's), is not in it: it grows with smoothing and merging.

    Parameters
    ----------
    samples : sequence of float arrays, shape (K, Y, X)
        Posterior samples of each image, K of 2 or more.
    specs : sequence of str, optional
        Segmenters to compare, by default a grid of thresholdings.
    valid : sequence of (bool array, shape (Y, X), or None), optional
        For each image False where a pixel is no data.
    step : callable, optional
        Told which candidate begins.

    Returns
    -------
    pandas.DataFrame
        A row for each candidate, best first: ``segmenter score objects explained n_objects`` (the last is the mean
        number of objects of a sample).

    Raises
    ------
    InputError
        No images, or fewer than two samples of one.
    ConfigError
        An unknown segmenter among `specs`.
    """
    stacks = [np.asarray(s, np.float32) for s in samples]
    if not stacks or any(s.ndim != 3 or len(s) < 2 for s in stacks):
        shapes = ", ".join(str(s.shape) for s in stacks) or "no images"
        raise InputError(f"a choice of segmenter needs two samples (K, Y, X) of each image; got {shapes}")
    names = list(specs) if specs is not None else candidates()
    return _table(names, [_support(name, stacks, valid or [None] * len(stacks), step) for name in names])


def _support(
    spec: str,
    stacks: Sequence[NDArray[np.float32]],
    valid: Sequence[NDArray[np.bool_] | None],
    step: Callable[[str], None] | None,
) -> NDArray[np.float64]:
    """Return objects found again, variance explained and number of objects for each image, (I, 3)."""
    if step is not None:
        step(spec)
    segment = segmenter(spec)
    found = []
    for stack, mask in zip(stacks, valid, strict=True):
        mean = stack.mean(axis=0)
        fitted = segment.within(mask).fit(mean)
        masks = list(fitted(stack))
        again = [evaluate(a, b, thresholds=AGAIN).tp[0] for a, b in pairwise(masks)]
        explained = explained_variance(within(mean, mask), within(np.asarray(fitted(mean)), mask))
        found.append([np.mean(again), explained, np.mean([m.max() for m in masks])])
    return np.array(found)


def explained_variance(image: ArrayLike, labels: ArrayLike) -> float:
    """Share of an image's variance that its labels explain, with one level for each label, background included.

    Parameters
    ----------
    image : float array
    labels : array of integers, same shape

    Returns
    -------
    float
        In [0, 1]; 0 for a constant image.
    """
    values, places = np.asarray(image, np.float64).ravel(), np.asarray(labels).ravel()
    values = values - values.mean()
    total = float(values @ values)
    sizes = np.bincount(places)
    sums = np.bincount(places, weights=values)
    between = float((sums[sizes > 0] ** 2 / sizes[sizes > 0]).sum())
    return min(between / total, 1.0) if total > 0 else 0.0


def _table(names: Sequence[str], rows: Sequence[NDArray[np.float64]]) -> pd.DataFrame:
    values = np.stack(rows)  # (candidates, images, 3)
    again, explained = values[..., 0].sum(axis=1), values[..., 1].mean(axis=1)
    objects = again / max(again.max(), 1e-12)
    table = pd.DataFrame(
        {
            "segmenter": names,
            "score": objects * explained**WEIGHT,
            "objects": objects,
            "explained": explained,
            "n_objects": values[..., 2].mean(axis=1),
        }
    )
    return table.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def choice_stage(config: RunConfig, specs: Sequence[str], names: Sequence[str]) -> RunStage:
    """Return the stage that chooses the segmenter of a run by a few of its images, spread over the folder.

    The ranking goes to ``segmenters.csv`` in the run folder. Images that cannot be read are passed over: they will be
    rows of failures.csv.

    Parameters
    ----------
    config : RunConfig
        Settings of the run.
    specs : sequence of str
        Segmenters to choose among.
    names : sequence of str
        Names of the images.
    """

    def choose(context: RunContext) -> dict[str, Any]:
        from divseg.denoise import DivNoising
        from divseg.denoise.validation import plane

        model = DivNoising.load(context.store.model, device=config.sampling.device)
        units, stacks, valid = context.units, [], []
        for i in np.unique(np.linspace(0, len(units) - 1, min(IMAGES, len(units))).round().astype(int)):
            try:
                image = units[i].load()
                middle = _middle(plane(image))
                batches = model.sample(
                    middle, n=SAMPLES, seed=config.sampling.seed, precision=config.sampling.precision
                )
                stacks.append(np.concatenate([batch.cpu().numpy() for batch in batches]))
                mask = None if image.valid is None else _middle(image.valid)
                valid.append(None if mask is None or mask.all() or not mask.any() else mask)
            except (DivsegError, OSError):
                continue
        total = len(units)
        table = rank_segmenters(
            stacks,
            specs,
            valid=valid,
            step=lambda spec: context.reporter.images(0, total, f"choosing a segmenter: {spec}"),
        )
        write_csv(context.store.folder / "segmenters.csv", table)
        best = str(table["segmenter"].iloc[0])
        context.reporter.say(
            f"segmenter: {best}, the best of {len(table)} by the samples of {len(stacks)} images (segmenters.csv)"
        )
        return {"segmenter": best}

    def recall(context: RunContext, outcome: Mapping[str, Any]) -> bool:
        context.reporter.say(f"segmenter: {outcome['segmenter']}, chosen before")
        return True

    settings = {
        "specs": list(specs),
        "seed": config.sampling.seed,
        "precision": config.sampling.precision,
        "images": list(names),
    }
    return RunStage("segmenter", choose, settings, needs=("model",), recall=recall)


def _middle(image: NDArray[Any]) -> NDArray[Any]:
    """Return the middle of an image, at most WINDOW on a side."""
    starts = [max(0, (n - WINDOW) // 2) for n in image.shape]
    return image[tuple(slice(start, start + WINDOW) for start in starts)]
