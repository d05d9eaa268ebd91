"""The review of the objects of one image by hand, least certain first; what comes out is ground truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from divseg.errors import InputError
from divseg.io import read_labels, write_csv, write_labels
from divseg.napari import corrections
from divseg.napari.corrections import Correction, Labels
from divseg.results.open_run import Run
from divseg.results.queues import least_certain
from divseg.results.reader import column, read_table, text

ACCEPTED, REJECTED, CORRECTED = "accepted", "rejected", "corrected"
"""Verdicts."""

VERDICTS = "reviewed.csv"
"""Table of the verdicts, beside the truth: image, label, verdict."""

SHOWN = ("p_true", "existence", "mean_iou", "p_split", "p_merge", "area")
"""Columns of the queue, if the run has them."""


class Review:
    """The objects of one image of a run: what was decided of each, and the label image as corrected.

    Parameters
    ----------
    run : Run
        The run.
    name : str
        Image, with 2-D labels.
    truth : path, optional
        Folder of the truth; ``<run folder>_truth`` beside the run folder by default. If it holds this image already,
        the review goes on from there.

    Attributes
    ----------
    run_folder, truth : Path
        The run folder, and the folder that truth is written to.
    labels : int32 array, shape (Y, X)
        Label image as corrected; it may be painted on.
    verdicts : dict of int to str
        Verdict of each label that was looked at.
    queue : DataFrame
        The objects of the run, least certain first: ``label``, what there is of :data:`SHOWN`, ``centroid_y`` and
        ``centroid_x`` in pixels.

    Raises
    ------
    InputError
        There is no such image, its labels are not 2-D, or the truth there is of another shape.
    """

    def __init__(self, run: Run, name: str, truth: Path | None = None) -> None:
        folder = run.folder.resolve()
        self.run_folder = folder
        self.name, self.truth = name, folder.with_name(folder.name + "_truth") if truth is None else truth
        labels = np.array(run.labels[name], np.int32)
        if labels.ndim != 2:
            raise InputError(f"{name}: labels of shape {labels.shape} cannot be reviewed; only 2-D ones can")
        self.pixel_size = run.pixel_sizes[name]
        self.verdicts: dict[int, str] = {}
        if self.file.is_file():
            earlier = np.array(read_labels(self.file), np.int32)
            if earlier.shape != labels.shape:
                raise InputError(f"{self.file}: shape {earlier.shape}, not that of {name} {labels.shape}; move it away")
            labels, self.verdicts = earlier, self._earlier_verdicts()
        self.labels: Labels = labels
        objects = run.objects
        objects = objects[np.array(text(objects, "image"), object) == name]
        table = least_certain(objects, len(objects))
        columns = ["label", *SHOWN, "centroid_y", "centroid_x"]
        self.queue = pd.DataFrame({key: column(table, key) for key in columns if key in table})
        self.queue["label"] = self.queue["label"].astype(int)
        self._done: list[tuple[Correction | None, dict[int, str]]] = []

    @property
    def file(self) -> Path:
        """The label image that is written."""
        return self.truth / f"{self.name}.tif"

    # --- verdicts

    def accept(self, label: int) -> None:
        """Find an object right as it is."""
        corrections.check_label(self.labels, label)
        self._decide(None, {label: ACCEPTED})

    def reject(self, label: int) -> None:
        """Find an object false: it becomes background."""
        self._decide(corrections.removed(self.labels, label), {label: REJECTED})

    def merge(self, first: int, second: int) -> None:
        """Find that two objects are one; it has the label of the first."""
        self._decide(corrections.merged(self.labels, first, second), {first: CORRECTED, second: CORRECTED})

    def split(self, label: int, points: ArrayLike | None = None) -> int:
        """Find that an object is two, with a point (Y, X) in each if they are given; return the new label."""
        made = corrections.split(self.labels, label, points)
        self._decide(made, dict.fromkeys(made.labels, CORRECTED))
        return made.labels[-1]

    def undo(self) -> bool:
        """Take the last verdict back; False if there is none."""
        if not self._done:
            return False
        correction, self.verdicts = self._done.pop()
        if correction is not None:
            correction.undo(self.labels)
        return True

    def _decide(self, correction: Correction | None, verdicts: dict[int, str]) -> None:
        self._done.append((correction, dict(self.verdicts)))
        if correction is not None:
            correction.do(self.labels)
        self.verdicts |= verdicts

    # --- the way through

    def next(self) -> int | None:
        """Return the least certain object that has no verdict; None if all have one."""
        return next((label for label in self.queue["label"].tolist() if label not in self.verdicts), None)

    def centre(self, label: int) -> tuple[float, float] | None:
        """Return the centroid (Y, X) of an object in pixels, None if it is not there any more."""
        rows, columns = np.nonzero(self.labels == label)
        if rows.size:
            return float(rows.mean()), float(columns.mean())
        row = self.queue[self.queue["label"] == label]
        return (float(row["centroid_y"].iloc[0]), float(row["centroid_x"].iloc[0])) if len(row) else None

    @property
    def words(self) -> str:
        """How far the review is."""
        labels = self.queue["label"].tolist()
        return f"{sum(label in self.verdicts for label in labels)} of {len(labels)} objects reviewed"

    # --- the result

    def save(self) -> Path:
        """Write the label image as truth, and the verdicts beside it; objects without a verdict stay as they are.

        Returns
        -------
        Path
            The label image, which ``divseg calibrate RUN --truth FOLDER`` finds by its name.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        write_labels(self.file, self.labels, self.pixel_size)
        table = self._all_verdicts()
        others = table[np.array(text(table, "image"), object) != self.name] if len(table) else table
        mine = {"image": self.name, "label": list(self.verdicts), "verdict": list(self.verdicts.values())}
        write_csv(self.truth / VERDICTS, pd.concat([others, pd.DataFrame(mine)], ignore_index=True))
        return self.file

    def _all_verdicts(self) -> pd.DataFrame:
        return read_table(self.truth / VERDICTS)

    def _earlier_verdicts(self) -> dict[int, str]:
        table = self._all_verdicts()
        mine = np.array(text(table, "image"), object) == self.name
        labels, verdicts = column(table, "label")[mine], np.array(text(table, "verdict"), object)[mine]
        return {int(label): str(verdict) for label, verdict in zip(labels, verdicts, strict=True) if label == label}
