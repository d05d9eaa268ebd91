"""Segmenters that also say what is true of a simulated sample: those of each kind that the samples support best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from divseg.config import RunConfig
from divseg.errors import InputError
from divseg.segment import segmenter
from divseg.specs import parts_of
from divseg.workflow.choose_segmenter import METHODS, SCALES, SPLITS, rank_segmenters, samples_to_judge
from divseg.workflow.stage import RunContext, RunStage

SMOOTH = 1.0
"""Smoothing in pixels of the thresholdings: raters are to differ in kind, not in sharpness."""

OF_EACH_KIND = 3
"""Raters that are thresholdings, and raters that are StarDist at some scale; chosen by leaving sets out (lab book)."""

IMAGES, WINDOW = 4, 256
"""Images, and longest side in pixels of what is looked at of each, that raters are chosen on."""


def possible_raters() -> list[str]:
    """Return the canonical strings of all segmenters that may become raters."""
    thresholdings = [f"{m},smooth={SMOOTH:g},split={s},min_size=auto" for m in METHODS for s in SPLITS]
    return [segmenter(text).name for text in (*thresholdings, *(f"stardist:nuclei,scale={s}" for s in SCALES))]


def best_raters(ranking: pd.DataFrame, own: str) -> list[str]:
    """Return the best few thresholdings and the best few scales of StarDist of a ranking.

    Parameters
    ----------
    ranking : DataFrame
        Of :func:`divseg.workflow.choose_segmenter.rank_segmenters`, best first.
    own : str
        Canonical string of the segmenters of the run, which are raters in any case and are left out here.
    """
    names = ranking["segmenter"][(ranking["score"] > 0) & ~ranking["segmenter"].isin(parts_of(own))]
    network = names.str.startswith("stardist")
    return [*names[~network].head(OF_EACH_KIND), *names[network].head(OF_EACH_KIND)]


def raters_stage(model: Path, config: RunConfig, own: str, names: Sequence[str]) -> RunStage:
    """Return the stage that chooses the raters of simulated images, by samples of a few real ones.

    Parameters
    ----------
    model : Path
        Model folder.
    config : RunConfig
        Settings of the run.
    own : str
        Canonical string of its segmenter.
    names : sequence of str
        Names of the images.
    """

    def choose(context: RunContext) -> dict[str, Any]:
        each = {unit.ref.name: unit for unit in context.units}
        stacks, valid, _ = samples_to_judge(list(each.values()), model, config, IMAGES, WINDOW)
        if not stacks:
            raise InputError("no image can be read, so nothing can be simulated")
        # two thresholds may be the same on these images: the second would be the first one's vote again
        ranking = rank_segmenters(stacks, possible_raters(), valid=valid)
        figures = [name for name in ranking if name != "segmenter"]
        return {"raters": best_raters(ranking.drop_duplicates(figures), own)}

    settings = {
        "own": own,
        "among": possible_raters(),
        "seed": config.sampling.seed,
        "precision": config.sampling.precision,
        "data": config.data.pixels,
        "images": sorted(set(names)),
    }
    return RunStage("raters", choose, settings, needs=("model",))
