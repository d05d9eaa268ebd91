"""Scores of a folder of label images against a folder of ground truth."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from divseg.errors import DivsegWarning, InputError
from divseg.metrics.scores import THRESHOLDS, evaluate

SUFFIXES = ("_mask", "_masks", "_label", "_labels", "_gt")
"""What a file name may carry after the name of its image."""

_REFERENCE = re.compile(r"man_seg_?(\d+)(?:_(\d+))?", re.IGNORECASE)
_RESULT = re.compile(r"mask(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class _Pair:
    image: str
    pred: Path
    truth: Path
    plane: int | None = None  # the Z plane that the truth shows, of a 3-D prediction


def evaluate_folders(
    pred: str | os.PathLike[str],
    truth: str | os.PathLike[str],
    *,
    partial: bool | None = None,
    thresholds: float | Iterable[float] = THRESHOLDS,
    penalize_extra: bool = True,
    split_disconnected: bool = False,
) -> pd.DataFrame:
    """Score every label image of one folder against that of the same name in another.

    Files belong together when their names agree up to the ending and one of ``_mask _masks _label _labels
    _gt``. Folders of the Cell Tracking Challenge are recognised by their ``man_seg*.tif``: each, in `truth`
    or its subfolder ``SEG``, belongs to the ``mask*.tif`` of the same frame number, and
    ``man_seg_TTT_ZZZ.tif`` shows the single plane ZZZ (from 0) of it.

    Parameters
    ----------
    pred, truth : path
        Folders of TIFF or PNG label images, or one file each, whatever their names.
    partial : bool, optional
        Whether only some objects of the truth are annotated. By default so for single planes of a volume,
        and for nothing else.
    thresholds, penalize_extra, split_disconnected
        As for :func:`divseg.metrics.evaluate`.

    Returns
    -------
    pandas.DataFrame
        One row for each file of the truth, in natural order: ``image pred truth`` (names) and the columns of
        :meth:`divseg.metrics.Scores.as_row`.

    Raises
    ------
    InputError
        A missing folder, truth without a prediction, two files of one name, files that are no label images,
        or images of different shape.

    Warns
    -----
    DivsegWarning
        Predictions without truth, which are not scored.

    Notes
    -----
    The Cell Tracking Challenge takes DET from separate markers (``TRA/man_track*.tif``); here it is computed
    from the segmentation masks. Its references may show a part of the cells only: use ``partial=True`` then.
    """
    from divseg.io import read_labels

    folders = [Path(os.path.expanduser(os.fspath(folder))) for folder in (pred, truth)]
    for folder in folders:
        if not folder.exists():
            raise InputError(f"{folder}: there is no such file or folder; correct the path")
    rows = []
    for pair in _pairs(*folders):
        labels, reference = read_labels(pair.pred), read_labels(pair.truth)
        if pair.plane is not None:
            if labels.ndim != 3 or pair.plane >= len(labels):
                raise InputError(
                    f"{pair.truth}: shows plane {pair.plane}, but {pair.pred.name} has shape {labels.shape}; "
                    "give the volume that it belongs to"
                )
            labels = labels[pair.plane]
        try:
            scores = evaluate(
                labels,
                reference,
                thresholds=thresholds,
                partial=pair.plane is not None if partial is None else partial,
                penalize_extra=penalize_extra,
                split_disconnected=split_disconnected,
            )
        except InputError as error:
            raise InputError(f"{pair.pred} and {pair.truth}: {error}") from None
        names = {"image": pair.image, "pred": pair.pred.name, "truth": pair.truth.name}
        rows.append({**names, **scores.as_row()})
    return pd.DataFrame(rows)


def _pairs(pred: Path, truth: Path) -> list[_Pair]:
    from divseg.io.sources import images_in, stem

    if pred.is_file() and truth.is_file():
        return [_Pair(_image_name(stem(pred)), pred, truth)]
    if pred.is_file() or truth.is_file():
        raise InputError(f"{pred} and {truth}: one is a file and the other a folder; give two files or two folders")
    inner = truth / "SEG"
    for folder in (truth, inner) if inner.is_dir() else (truth,):
        if any(_REFERENCE.fullmatch(file.stem) for file in images_in(folder)):
            return _challenge_pairs(pred, folder)
    return _named_pairs(pred, truth)


def _challenge_pairs(pred: Path, truth: Path) -> list[_Pair]:
    from divseg.io.sources import images_in

    results: dict[int, list[Path]] = {}
    for file in images_in(pred):
        if found := _RESULT.fullmatch(file.stem):
            results.setdefault(int(found[1]), []).append(file)
    if not results:
        raise InputError(f"{pred}: no mask*.tif, but {truth} holds man_seg*.tif of the Cell Tracking Challenge")
    pairs: list[_Pair] = []
    missing = []
    for file in images_in(truth):
        if not (found := _REFERENCE.fullmatch(file.stem)):
            continue
        files = results.get(int(found[1]), [])
        _only_one(files)
        if files:
            plane = None if found[2] is None else int(found[2])
            pairs.append(_Pair(file.stem, files[0], file, plane))
        else:
            missing.append(file.name)
    _none_missing(missing, pred)
    return pairs  # frames without a reference are the rule there: no warning


def _named_pairs(pred: Path, truth: Path) -> list[_Pair]:
    from divseg.io.sources import find_files, stem

    def by_name(folder: Path) -> dict[str, Path]:
        named: dict[str, list[Path]] = {}
        for file in find_files(folder).files:
            named.setdefault(_image_name(stem(file)), []).append(file)
        for files in named.values():
            _only_one(files)
        return {name: files[0] for name, files in named.items()}

    results, references = by_name(pred), by_name(truth)
    _none_missing([file.name for name, file in references.items() if name not in results], pred)
    extra = [file.name for name, file in results.items() if name not in references]
    if extra:
        warnings.warn(
            f"{len(extra)} of {len(results)} label images in {pred} have no truth and are not scored: {_some(extra)}",
            DivsegWarning,
            stacklevel=4,
        )
    return [_Pair(name, results[name], file) for name, file in references.items()]


def _image_name(name: str) -> str:
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def _only_one(files: Sequence[Path]) -> None:
    if len(files) > 1:
        raise InputError(f"{files[0]} and {files[1].name} are both labels of one image; keep one of them")


def _none_missing(missing: Sequence[str], pred: Path) -> None:
    if missing:
        raise InputError(
            f"{pred}: no label image for {len(missing)} files of the truth ({_some(missing)}); "
            "add them, or leave their truth out"
        )


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
