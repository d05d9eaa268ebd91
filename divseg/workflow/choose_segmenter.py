"""``--segmenter auto``, the default: the segmenter that the samples support best, chosen without any truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from divseg.config import RunConfig
from divseg.errors import ConfigError, DivsegError, InputError
from divseg.io import write_csv
from divseg.io.pixel_size import plane_distance
from divseg.segment import segmenter
from divseg.specs import BETWEEN
from divseg.workflow.second_segmenter import second_segmenter
from divseg.workflow.segmenter_support import Judged, Support, measure_support
from divseg.workflow.stage import RunContext, RunStage
from divseg.workflow.units import ImageUnit

METHODS = ("otsu", "li", "isodata", "triangle", "yen", "local")
SMOOTHS = (0.5, 1.0, 2.0, 4.0)
SPLITS = ("none", "distance")
SCALES = ("0.5", "1", "2", "auto")
"""Factors by which images are resized for ``stardist:nuclei``."""

IMAGES, SAMPLES = 8, 3
"""Images of a folder, and samples of each, that the choice is made on."""

WINDOW = 512
"""Longest side in pixels of what is looked at of an image: its middle."""

WINDOW_3D = (32, 192, 192)
"""The same of a volume, along each axis."""

POWERS = {"objects": 1.0, "explained": 1.5, "edges": 0.4, "sharpness": 1.4}
"""Power of each figure in the score of a segmenter; found by leaving sets of images out (lab book)."""


def candidates(ndim: int = 2) -> list[str]:
    """Return the strings of the segmenters that ``auto`` compares: thresholdings, and StarDist at several scales.

    For volumes (`ndim` 3) thresholdings alone: the network that ships with divseg is one of planes.
    """
    thresholdings = [
        f"{method},smooth={smooth:g},split={split},min_size=auto" + (",ndim=3" if ndim == 3 else "")
        for method in METHODS
        for smooth in SMOOTHS
        for split in SPLITS
    ]
    return thresholdings if ndim == 3 else thresholdings + [f"stardist:nuclei,scale={scale}" for scale in SCALES]


def asked_candidates(text: str, ndim: int = 2) -> list[str] | None:
    """Return what the setting ``segmenter`` leaves to the samples to choose among, None where it names one segmenter.

    Parameters
    ----------
    text : str
        ``"auto"`` for all candidates, ``"auto:A|B|C"`` for those.
    ndim : int
        Spatial dimensions of the images.

    Raises
    ------
    ConfigError
        An unknown segmenter among them, or fewer than two.
    """
    word, colon, rest = text.partition(":")
    if word.strip() != "auto":
        return None
    if not colon:
        return candidates(ndim)
    named = [part.strip() for part in rest.split("|") if part.strip()]
    if len(named) < 2:
        raise ConfigError(
            f"segmenter {text!r} leaves no choice; name two or more: auto:otsu,smooth=1|stardist:nuclei (auto alone "
            "compares thresholdings and stardist:nuclei)"
        )
    return [segmenter(part).name for part in named]


def rank_segmenters(
    samples: Sequence[ArrayLike],
    specs: Sequence[str] | None = None,
    *,
    valid: Sequence[NDArray[np.bool_] | None] | None = None,
    distances: Sequence[float | None] | None = None,
    step: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Rank segmenters by how well the posterior samples of some images support them; truth is never looked at.

    The score of a segmenter is a product of four figures, each with a power of its own (:data:`POWERS`) and a way to
    cheat that the others prevent:

    - ``objects``: how many objects of one sample are found again in the next with an IoU of 0.8 or more, summed over
      all images, as a fraction of the most that any candidate achieves. What merges finds few; what shatters finds
      pieces whose outlines are others in the next sample.
    - ``explained``: the fraction of the variance of the mean sample that its labels explain, with one level for each
      object and one for the background. It sees objects that are missing.
    - ``edges``: the gradient on the outlines, relative to the largest of any candidate. It sees outlines that do not
      lie on edges.
    - ``sharpness``: falls with the width of a thresholding's smoothing, which makes the samples agree by itself.

    The powers were found by leaving sets of images out, each judged by those that the others gave.

    Parameters
    ----------
    samples : sequence of float arrays, shape (K, Y, X) or (K, Z, Y, X)
        Posterior samples of each image, K of 2 or more.
    specs : sequence of str, optional
        Segmenters to compare, by default :func:`candidates`.
    valid : sequence of (bool array, shape (Y, X), or None), optional
        For each image False where a pixel is no data.
    distances : sequence of (float or None), optional
        For each volume the distance of its planes in units of the pixel size.
    step : callable, optional
        Told which candidate begins.

    Returns
    -------
    pandas.DataFrame
        A row for each candidate, best first: ``segmenter score objects explained edges sharpness n_objects`` (the last
        is the mean number of objects of a sample).

    Raises
    ------
    InputError
        No images, or fewer than two samples of one.
    ConfigError
        An unknown segmenter among `specs`.
    """
    stacks = [np.asarray(s, np.float32) for s in samples]
    if not stacks or any(s.ndim not in (3, 4) or len(s) < 2 for s in stacks):
        shapes = ", ".join(str(s.shape) for s in stacks) or "no images"
        raise InputError(f"a choice of segmenter needs two samples (K, Y, X) of each image; got {shapes}")
    names = list(specs) if specs is not None else candidates()
    return _table(names, measure_support(names, _judged(stacks, valid, distances), segmenter, step))


def _judged(
    stacks: Sequence[NDArray[np.float32]],
    valid: Sequence[NDArray[np.bool_] | None] | None,
    distances: Sequence[float | None] | None,
) -> list[Judged]:
    unknown: list[None] = [None] * len(stacks)
    return [Judged(*of) for of in zip(stacks, valid or unknown, distances or unknown, strict=True)]


def _table(names: Sequence[str], support: NDArray[np.float64]) -> pd.DataFrame:
    """Return the ranking from the support of each segmenter by each image, (segmenters, images, fields)."""
    means = pd.DataFrame(support.mean(axis=1), columns=list(Support._fields))
    table = pd.DataFrame({"segmenter": names, "score": 1.0})
    table["objects"] = means["again"] / max(means["again"].max(), 1e-12)
    table["explained"] = means["explained"]
    table["edges"] = means["edges"] / max(means["edges"].max(), 1e-12)
    table["sharpness"] = means["sharpness"]
    for name, power in POWERS.items():
        table["score"] *= table[name] ** power
    table["n_objects"] = means["n_objects"]
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
        stacks, valid, distances = samples_to_judge(context.units, context.store.model, config, IMAGES, WINDOW)
        total = len(context.units)
        table = rank_segmenters(
            stacks,
            specs,
            valid=valid,
            distances=distances,
            step=lambda spec: context.reporter.images(0, total, f"choosing a segmenter: {spec}"),
        )
        best = str(table["segmenter"].iloc[0])
        second = second_segmenter(table, _judged(stacks, valid, distances))
        used = [best] if second is None else [best, second]
        write_csv(context.store.folder / "segmenters.csv", table.assign(used=table["segmenter"].isin(used)))
        beside = "" if second is None else ", with the best of another kind that agrees with it"
        context.reporter.say(
            f"segmenter: {BETWEEN.join(used)}, the best of {len(table)} by the samples of {len(stacks)} images{beside} "
            "(segmenters.csv)"
        )
        return {"segmenter": BETWEEN.join(used)}

    def recall(context: RunContext, outcome: Mapping[str, Any]) -> bool:
        context.reporter.say(f"segmenter: {outcome['segmenter']}, chosen before")
        return True

    settings = {
        "specs": list(specs),
        "seed": config.sampling.seed,
        "precision": config.sampling.precision,
        "data": config.data.pixels,
        "images": list(names),
    }
    return RunStage("segmenter", choose, settings, needs=("model",), recall=recall)


def samples_to_judge(
    units: Sequence[ImageUnit], model: Path, config: RunConfig, images: int, window: int
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.bool_] | None], list[float | None]]:
    """Draw samples of a few images, spread over the folder; those that cannot be read are passed over.

    Parameters
    ----------
    units : sequence of ImageUnit
        The folder.
    model : Path
        Model folder.
    config : RunConfig
        Settings of the run.
    images : int
        Largest number of images.
    window : int
        Longest side in pixels of what is looked at of an image: its middle.

    Returns
    -------
    samples : list of float32 array, shape (SAMPLES, Y, X) or (SAMPLES, Z, Y, X)
        Of each image.
    valid : list of (bool array, shape (Y, X), or None)
        False where a pixel is no data; None where all are.
    distances : list of (float or None)
        Distance of the planes of each volume in units of the pixel size.
    """
    from divseg.denoise import DivNoising
    from divseg.denoise.validation import pixels
    from divseg.device.to_host import batches_to_host

    draws = DivNoising.load(model, device=config.sampling.device)
    stacks, valid, distances = [], [], []
    for i in np.unique(np.linspace(0, len(units) - 1, min(images, len(units))).round().astype(int)):
        try:
            image = units[i].load()
            pixels(image)
            joint = units[i].joint() if units[i].together else None
            parts = [_middle(part, window) for part in (image.data[None] if joint is None else joint.data)]
            middle = parts[0] if joint is None else np.stack(parts)
            batches = draws.sample(middle, n=SAMPLES, seed=config.sampling.seed, precision=config.sampling.precision)
            drawn = np.concatenate(list(batches_to_host(batches)))
            stacks.append(drawn if joint is None else drawn[:, 0])
            mask = None if image.valid is None else _middle(image.valid, window)
            valid.append(None if mask is None or mask.all() or not mask.any() else mask)
            distances.append(plane_distance(image.pixel_size))
        except (DivsegError, OSError):
            continue
    return stacks, valid, distances


def _middle(image: NDArray[Any], window: int) -> NDArray[Any]:
    """Return the middle of an image, at most `window` on a side, of a volume at most `WINDOW_3D`."""
    sides = (window, window) if image.ndim == 2 else tuple(min(side, window) for side in WINDOW_3D)
    starts = [max(0, (n - side) // 2) for n, side in zip(image.shape, sides, strict=True)]
    return image[tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))]
