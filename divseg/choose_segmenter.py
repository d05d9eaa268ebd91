"""``--segmenter auto``: the thresholding that the samples themselves support best, chosen without any truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage as ndi

from divseg.errors import DivsegError, InputError
from divseg.io import RunStore, config_hash, write_csv
from divseg.metrics import evaluate
from divseg.progress import Reporter
from divseg.segment import Segmenter, segmenter

METHODS = ("otsu", "li", "isodata", "triangle", "yen", "local")
SMOOTHS = (0.5, 1.0, 2.0, 4.0)
SPLITS = ("none", "distance")
SMALLEST = (20, 100, 300)

IMAGES, SAMPLES = 8, 3
"""Images of a folder, and samples of each, that the choice is made on."""


def candidates() -> list[str]:
    """Return the thresholdings that are compared first, as strings for :func:`divseg.segmenter`."""
    return [
        f"{method},smooth={smooth:g},split={split},min_size={SMALLEST[0]}"
        for method in METHODS
        for smooth in SMOOTHS
        for split in SPLITS
    ]


def rank_segmenters(
    samples: Sequence[ArrayLike],
    specs: Sequence[str] | None = None,
    *,
    step: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Rank segmenters by how well the posterior samples of some images support them; truth is never looked at.

    Three things are asked of a segmentation, each with a known way to cheat that the others prevent:

    - ``stability``: the mean mAP of one sample's objects with the next one's. Alone it prefers what merges.
    - ``objects``: how many objects of one sample are found again in the next (IoU of 0.5 or more), as a share of the
      most that any candidate achieves. Alone it prefers what shatters.
    - ``edges``: the share of all gradient magnitude of the mean sample that lies on the borders of the objects that
      are found there, as a share of the most. Alone it prefers many borders; it puts each where the image has one,
      which neither of the others sees.

    The score of a candidate is the product of the three, each taken over all images: stability and edges as means,
    objects as a sum, so that an image counts as much as it holds.

    Parameters
    ----------
    samples : sequence of float arrays, shape (K, Y, X)
        Posterior samples of each image, K of 2 or more.
    specs : sequence of str, optional
        Segmenters to compare. By default a grid of thresholdings, and for the best of them several smallest sizes.
    step : callable, optional
        Told which candidate begins.

    Returns
    -------
    pandas.DataFrame
        A row for each candidate, best first: ``segmenter score stability objects edges n_objects`` (the last is the
        mean number of objects of a sample).

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
    slopes = [ndi.gaussian_gradient_magnitude(s.mean(axis=0), 1.0) for s in stacks]
    names = list(specs) if specs is not None else candidates()
    rows = [_support(name, stacks, slopes, step) for name in names]
    if specs is None:
        best = str(_table(names, rows)["segmenter"].iloc[0])
        more = [best.replace(f"min_size={SMALLEST[0]}", f"min_size={size}") for size in SMALLEST[1:]]
        names += more
        rows += [_support(name, stacks, slopes, step) for name in more]
    return _table(names, rows)


def _support(
    spec: str,
    stacks: Sequence[NDArray[np.float32]],
    slopes: Sequence[NDArray[np.float32]],
    step: Callable[[str], None] | None,
) -> NDArray[np.float64]:
    """Return stability, objects found again, gradient on borders and number of objects for each image, (I, 4)."""
    if step is not None:
        step(spec)
    segment = segmenter(spec)
    found = []
    for stack, slope in zip(stacks, slopes, strict=True):
        mean = stack.mean(axis=0)
        fitted = segment.fit(mean)
        masks = list(fitted(stack))
        scores = [evaluate(a, b) for a, b in pairwise(masks)]
        labels = fitted(mean)
        rim = (labels > 0) & (ndi.minimum_filter(labels, 3) != ndi.maximum_filter(labels, 3))
        again = float(np.mean([s.tp[0] for s in scores]))
        stable = float(np.nan_to_num(np.mean([np.nan_to_num(s.map) for s in scores])))
        found.append(
            [stable, again, float(slope[rim].sum() / max(slope.sum(), 1e-12)), np.mean([m.max() for m in masks])]
        )
    return np.array(found)


def _table(names: Sequence[str], rows: Sequence[NDArray[np.float64]]) -> pd.DataFrame:
    values = np.stack(rows)  # (candidates, images, 4)
    stability, again, edges = values[..., 0].mean(axis=1), values[..., 1].sum(axis=1), values[..., 2]
    objects = again / max(again.max(), 1e-12)
    edges = (edges / np.maximum(edges.max(axis=0), 1e-12)).mean(axis=1)
    table = pd.DataFrame(
        {
            "segmenter": names,
            "score": stability * objects * edges,
            "stability": stability,
            "objects": objects,
            "edges": edges,
            "n_objects": values[..., 3].mean(axis=1),
        }
    )
    return table.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def choose_for_run(
    store: RunStore, model: Any, refs: Sequence[Any], seed: int, model_key: str, tell: Reporter
) -> Segmenter:
    """Choose the segmenter of a run by a few of its images, spread over the folder, or take up its earlier choice.

    The ranking goes to ``segmenters.csv`` in the run folder, the choice to ``run.json``.

    Parameters
    ----------
    store : RunStore
        Of the run.
    model : DivNoising
    refs : sequence of ImageRef
        Images of the folder; those that cannot be read are passed over.
    seed : int
        Of the samples.
    model_key : str
        Tells one model from another.
    tell : Reporter
        Told what is chosen.

    Raises
    ------
    InputError
        If no image can be read.
    """
    key = config_hash({"model": model_key, "seed": seed, "images": [ref.name for ref in refs]})
    known = store.read_run().get("segmenter_choice", {})
    if known.get("key") == key:
        tell.say(f"segmenter: {known['segmenter']}, chosen before")
        return segmenter(known["segmenter"])
    stacks = []
    for i in np.unique(np.linspace(0, len(refs) - 1, min(IMAGES, len(refs))).round().astype(int)):
        try:
            batches = model.sample(refs[i].load(), n=SAMPLES, seed=seed)
            stacks.append(np.concatenate([b.cpu().numpy() for b in batches]))
        except (DivsegError, OSError):
            continue  # it will be a row of failures.csv
    table = rank_segmenters(stacks, step=lambda spec: tell.images(0, len(refs), f"choosing a segmenter: {spec}"))
    write_csv(store.folder / "segmenters.csv", table)
    best = str(table["segmenter"].iloc[0])
    store.write_run({**store.read_run(), "segmenter_choice": {"key": key, "segmenter": best}})
    tell.say(f"segmenter: {best}, the best of {len(table)} by the samples of {len(stacks)} images (segmenters.csv)")
    return segmenter(best)
