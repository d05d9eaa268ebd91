"""The sets on which nothing may be tuned: their images, models, and what the candidates make of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.fields import KINDS
from benchmarks.sets import Picture, evenly, load_set, split_name
from benchmarks.trained import model_folder, trained
from benchmarks.untuned.powers import Table
from divseg import DivNoising, evaluate, segmenter
from divseg.io.atomic import replacing
from divseg.workflow.choose_segmenter import SAMPLES, candidates
from divseg.workflow.second_segmenter import second_segmenter
from divseg.workflow.segmenter_support import Judged, measure_support

SETS = (
    "dsb2018_fluo-n10",
    "dsb2018_fluo-n20",
    "dsb2018_fluo-pg_mid",
    "dsb2018_fluo-pg_low",
    "bbbc039-pg_mid",
    "bbbc039-pg_low",
    "lowsnr_nuclei-real",
    "lowsnr_cells-real",
    "demo-demo",
    *(f"{kind}-{level}" for kind, (_, level) in KINDS.items()),
)
IMAGES = {"dsb2018_fluo": 12, "bbbc039": 5}
"""Images of a set; 8 of the others."""


class Left:
    """A set that is left out when anything is chosen.

    Parameters
    ----------
    job : str
        ``SET-LEVEL``.
    models : Path
        Cache of :mod:`benchmarks.trained`.
    minutes : float
        Training of its model.
    """

    def __init__(self, job: str, models: Path, minutes: float) -> None:
        self.job, self.models, self.minutes = job, models, minutes
        self.name, self.level = split_name(job)

    @property
    def pictures(self) -> list[Picture]:
        """The images: of the test part, which ``stardist:nuclei`` was not trained on, where a set has parts."""
        every = load_set(self.name, self.level)
        fit = [p for p in every if p.masks is not None and (p.part == "test" or self.name == "demo")]
        return evenly(fit, IMAGES.get(self.name, 8))

    @property
    def folder(self) -> Path:
        """Folder of the model."""
        return model_folder(self.models, self.name, self.level, "learned", self.minutes, 0)

    def model(self) -> DivNoising:
        """Load the model, or train it on all images of the set."""
        return trained(self.models, self.name, self.level, minutes=self.minutes, device="cpu")

    def table(self, keep: Path) -> Table:
        """Return support and score of every candidate, from a file if it was measured before."""
        file = keep / f"{self.job}.npz"
        if not file.is_file():
            table = self._measure()
            keep.mkdir(parents=True, exist_ok=True)
            with replacing(file) as stream:
                np.savez(stream, names=np.array(table.names), support=table.support, score=table.score)
        return Table.load(file)

    def second(self, table: Table, powers: NDArray[np.float64]) -> str | None:
        """Return the segmenter that works beside the pick of these powers, None if that works alone."""
        score = np.exp(table.figures() @ powers)
        order = np.argsort(-score, kind="stable")
        ranking = pd.DataFrame({"segmenter": np.array(table.names)[order], "score": score[order]})
        return second_segmenter(ranking, self._judged())

    def _judged(self) -> list[Judged]:
        model = self.model()
        return [Judged(np.asarray(model.draw(p.noisy, range(SAMPLES)), np.float32)) for p in self.pictures]

    def _measure(self) -> Table:
        names, pictures, judged = candidates(), self.pictures, self._judged()
        support = measure_support(names, judged, segmenter)
        score = [
            [
                evaluate(segmenter(name).fit(image.mean)(image.mean), picture.masks).map
                for image, picture in zip(judged, pictures, strict=True)
            ]
            for name in names
        ]
        return Table(tuple(names), support, np.array(score))
