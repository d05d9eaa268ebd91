"""Evaluation of label images, in memory or in folders, against ground truth."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import pandas as pd
from numpy.typing import ArrayLike

from divseg.errors import InputError
from divseg.io import read_labels, write_csv, write_json, write_text
from divseg.io.masks import separate_objects
from divseg.metrics.folders import Pair, find_pairs, missing_predictions
from divseg.metrics.scores import SHOWN, THRESHOLDS, Scores, score_labels
from divseg.metrics.tables import compare, summarize, to_markdown

FORMATS = (".csv", ".json", ".md")
"""Suffixes of files that scores can be written to."""


@dataclass(frozen=True, eq=False, repr=False)
class ScoreTable:
    """Scores of many label images.

    Attributes
    ----------
    name : str
        What was scored: name of the folder or file.
    images : pandas.DataFrame
        One row for each file of the truth, in natural order: ``image pred truth`` (names) and the columns of
        :meth:`divseg.Scores.as_row`.
    """

    name: str
    images: pd.DataFrame

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row with means, 95 % intervals and pooled scores, see :func:`divseg.metrics.summarize`."""
        return summarize(self._named(self.name))

    def compare(self, other: ScoreTable) -> pd.DataFrame:
        """Compare with other label images of the same truth, image by image.

        Parameters
        ----------
        other : ScoreTable
            The label images to compare with.

        Returns
        -------
        pandas.DataFrame
            One row for each score: ``score``, ``difference`` (mean of this minus other), ``low high`` (95 %
            bootstrap interval; NaN with fewer than five images), ``improved`` (fraction of images on which this
            scores above the other) and ``images`` (their number).
        """
        both = pd.concat([self._named("this"), other._named("other")])
        rows = []
        for score in SHOWN:
            if both[score].notna().any():
                c = compare(both, "this", "other", score)
                row = {"score": score, "difference": c.difference, "low": c.low, "high": c.high}
                rows.append(row | {"improved": c.improved, "images": c.n_images})
        return pd.DataFrame(rows)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file: the scores of every image as .csv, with the summary as .json or .md.

        Raises
        ------
        InputError
            If the name of the file has another suffix.
        OutputError
            If it cannot be written.
        """
        suffix, table = check_format(path), self._named(self.name)
        if suffix == ".csv":
            write_csv(path, table)
        elif suffix == ".json":
            images = self.images.to_dict("records")
            write_json(path, {"input": self.name, "summary": self.summary.to_dict("records")[0], "images": images})
        else:
            write_text(path, f"# Scores\n\n{to_markdown(self.summary)}\n## Images\n\n{to_markdown(table)}")

    def __repr__(self) -> str:
        scores = ", ".join(f"{name}={self.summary[name].iloc[0]:.4g}" for name in SHOWN)
        return f"ScoreTable({self.name!r}, {len(self.images)} images: {scores})"

    def _repr_html_(self) -> str:
        tables = (self.summary, self.images)
        return "".join(table.to_html(index=False, float_format="{:.3f}".format) for table in tables)

    def _named(self, name: str) -> pd.DataFrame:
        table = self.images.copy()
        table.insert(0, "input", name)
        return table


def check_format(path: str | os.PathLike[str]) -> str:
    """Return the suffix of a file that scores are to be written to.

    Raises
    ------
    InputError
        If it is not one of FORMATS.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise InputError(
            f"{os.fspath(path)}: scores are written as {', '.join(FORMATS)}; give a file name with one of these"
        )
    return suffix


@overload
def evaluate(  # type: ignore[overload-overlap]  # a string is an ArrayLike too
    pred: str | os.PathLike[str],
    truth: str | os.PathLike[str],
    *,
    thresholds: float | Iterable[float] = ...,
    partial: bool | None = ...,
    penalize_extra: bool = ...,
    split_disconnected: bool = ...,
) -> ScoreTable: ...


@overload
def evaluate(
    pred: ArrayLike,
    truth: ArrayLike,
    *,
    thresholds: float | Iterable[float] = ...,
    partial: bool | None = ...,
    penalize_extra: bool = ...,
    split_disconnected: bool = ...,
) -> Scores: ...


def evaluate(
    pred: Any,
    truth: Any,
    *,
    thresholds: float | Iterable[float] = THRESHOLDS,
    partial: bool | None = None,
    penalize_extra: bool = True,
    split_disconnected: bool = False,
) -> Scores | ScoreTable:
    """Score a label image, or a folder of label images, against the ground truth.

    Parameters
    ----------
    pred, truth : array-like of integers or bool, same shape, 2-D or 3-D; or path
        Label images, 0 = background (which may be absent); any integer dtype and any label values. Or two folders
        of TIFF or PNG label images, or one file each.
    thresholds : float or iterable of float
        IoU thresholds in (0, 1]; a match has IoU >= threshold.
    partial : bool, optional
        Only some objects of the truth are annotated. Predictions elsewhere may be right, so all scores that
        count false positives are NaN; SEG is over the annotated objects. By default so for single planes of a
        volume in a folder, and for nothing else.
    penalize_extra : bool
        Count predicted objects without a reference in DET. Without it DET is defined for partial truth too.
    split_disconnected : bool
        Take the disconnected pieces of one label as objects of their own (8-connected in 2-D, 26-connected in
        3-D). Otherwise all pixels of one label are one object.

    Returns
    -------
    Scores or ScoreTable
        Of two label images; of two paths.

    Raises
    ------
    InputError
        Different shapes, not integers, negative labels, impossible thresholds; of paths a missing folder, truth
        without a prediction, two files of one name, or files that are not label images.

    Warns
    -----
    DivsegWarning
        Predictions without truth, which are not scored; masks of foreground alone.

    Notes
    -----
    Files of two folders belong together if their names agree up to the ending and one of ``_mask _masks _label
    _labels _gt _seg _cp_masks``. A mask of foreground alone (0 and 1, or 0 and 255) has an object for each connected
    piece. Folders of the Cell Tracking Challenge are recognised by their ``man_seg*.tif``: each, in `truth`
    or its subfolder ``SEG``, belongs to the ``mask*.tif`` of the same frame number, and ``man_seg_TTT_ZZZ.tif`` shows
    the single plane ZZZ (from 0) of it. The challenge takes DET from separate markers (``TRA/man_track*.tif``); here
    it is computed from the segmentation masks. Its references may show a part of the cells only: use
    ``partial=True`` then.

    Examples
    --------
    >>> import divseg, numpy as np
    >>> truth = np.array([[1, 1, 0, 2], [1, 1, 0, 2]])
    >>> pred = np.array([[1, 1, 0, 0], [1, 1, 0, 3]])
    >>> scores = divseg.evaluate(pred, truth)
    >>> scores.ap50, scores.ap75, scores.seg
    (1.0, 0.3333333333333333, 0.5)

    Two folders give a table:

    >>> import tempfile, tifffile
    >>> from pathlib import Path
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name, labels in {"pred/a.tif": pred, "truth/a.tif": truth}.items():
    ...     (folder / name).parent.mkdir()
    ...     tifffile.imwrite(folder / name, labels.astype("uint8"))
    >>> table = divseg.evaluate(folder / "pred", folder / "truth")
    >>> table.images[["image", "n_true", "ap50"]].to_numpy().tolist()
    [['a', 2, 1.0]]
    >>> table.save(folder / "scores.csv")
    """
    options: dict[str, Any] = {
        "thresholds": thresholds,
        "penalize_extra": penalize_extra,
        "split_disconnected": split_disconnected,
    }
    paths = [isinstance(item, str | os.PathLike) for item in (pred, truth)]
    if not any(paths):
        return score_labels(pred, truth, partial=bool(partial), **options)
    if not all(paths):
        raise InputError("one of pred and truth is a path and the other is not; give two paths or two label images")
    folders = [Path(os.path.expanduser(os.fspath(folder))) for folder in (pred, truth)]
    pairs, missing = find_pairs(*folders)
    if missing:
        raise missing_predictions(missing, folders[0])
    rows = [score_pair(pair, partial=partial, **options) for pair in pairs]
    return ScoreTable(folders[0].resolve().name, pd.DataFrame(rows))


def score_pair(pair: Pair, *, partial: bool | None = None, **options: Any) -> dict[str, Any]:
    """Score a file against its truth: a row of :class:`ScoreTable`; arguments and errors as for :func:`evaluate`."""
    labels = separate_objects(read_labels(pair.pred), pair.pred, lone=False)
    reference = separate_objects(read_labels(pair.truth), pair.truth)
    if pair.plane is not None:
        if labels.ndim != 3 or pair.plane >= len(labels):
            raise InputError(
                f"{pair.truth}: shows plane {pair.plane}, but {pair.pred.name} has shape {labels.shape}; "
                "give the volume that it belongs to"
            )
        labels = labels[pair.plane]
    partial = pair.plane is not None if partial is None else partial
    try:
        scores = score_labels(labels, reference, partial=partial, **options)
    except InputError as error:
        raise InputError(f"{pair.pred} and {pair.truth}: {error}") from None
    return {"image": pair.image, "pred": pair.pred.name, "truth": pair.truth.name, **scores.as_row()}
