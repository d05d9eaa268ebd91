"""Which label image of one folder belongs to which ground truth of another."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from divseg.errors import DivsegWarning, InputError, some
from divseg.io.sources import find_files, images_in, stem
from divseg.io.truth import SUFFIXES

_REFERENCE = re.compile(r"man_seg_?(\d+)(?:_(\d+))?", re.IGNORECASE)
_RESULT = re.compile(r"(?:mask|t)(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """A label image and its ground truth.

    Attributes
    ----------
    image : str
        Name of the image.
    pred, truth : Path
        The files.
    plane : int, optional
        The Z plane of a 3-D prediction that the truth shows.
    """

    image: str
    pred: Path
    truth: Path
    plane: int | None = None


def find_pairs(pred: Path, truth: Path) -> tuple[list[Pair], list[Path]]:
    """Pair the label images of a folder with their ground truth, see :func:`divseg.evaluate`.

    Parameters
    ----------
    pred, truth : Path
        Two folders or two files.

    Returns
    -------
    pairs : list of Pair
        One for each file of the truth that has a prediction, in natural order.
    missing : list of Path
        Files of the truth without a prediction.

    Raises
    ------
    InputError
        A missing folder, no prediction for any truth, or two files of one name.

    Warns
    -----
    DivsegWarning
        Predictions without truth, which are left out.
    """
    for path in (pred, truth):
        if not path.exists():
            raise InputError(f"{path}: there is no such file or folder; correct the path")
    if pred.is_file() and truth.is_file():
        return [Pair(_image_name(stem(pred)), pred, truth)], []
    if pred.is_file() or truth.is_file():
        raise InputError(f"{pred} and {truth}: one is a file and the other a folder; give two files or two folders")
    inner = truth / "SEG"
    for folder in (truth, inner) if inner.is_dir() else (truth,):
        if any(_REFERENCE.fullmatch(file.stem) for file in images_in(folder)):
            pairs, missing = _challenge_pairs(pred, folder)
            break
    else:
        pairs, missing = _named_pairs(pred, truth)
    if not pairs:
        raise missing_predictions(missing, pred)
    return pairs, missing


def missing_predictions(missing: Sequence[Path], pred: Path) -> InputError:
    """Return the error that names truth without a prediction."""
    return InputError(
        f"{pred}: no label image for {len(missing)} files of the truth ({some([file.name for file in missing])}); "
        "add them, or leave their truth out"
    )


def _challenge_pairs(pred: Path, truth: Path) -> tuple[list[Pair], list[Path]]:
    results: dict[int, list[Path]] = {}
    for file in images_in(pred):
        if name := _RESULT.fullmatch(file.stem):
            results.setdefault(int(name[1]), []).append(file)
    if not results:
        raise InputError(
            f"{pred}: no mask*.tif or t*.tif, but {truth} holds man_seg*.tif of the Cell Tracking Challenge"
        )
    pairs: list[Pair] = []
    missing: list[Path] = []
    for file in images_in(truth):
        if not (name := _REFERENCE.fullmatch(file.stem)):
            continue
        files = results.get(int(name[1]), [])
        _only_one(files)
        if files:
            plane = None if name[2] is None else int(name[2])
            pairs.append(Pair(file.stem, files[0], file, plane))
        else:
            missing.append(file)
    return pairs, missing  # frames without a reference are the rule there: no warning


def _named_pairs(pred: Path, truth: Path) -> tuple[list[Pair], list[Path]]:
    def by_name(folder: Path) -> dict[str, Path]:
        named: dict[str, list[Path]] = {}
        for file in find_files(folder, masks=True).files:
            named.setdefault(_image_name(stem(file)), []).append(file)
        for files in named.values():
            _only_one(files)
        return {name: files[0] for name, files in named.items()}

    results, references = by_name(pred), by_name(truth)
    pairs = [Pair(name, results[name], file) for name, file in references.items() if name in results]
    extra = [file.name for name, file in results.items() if name not in references]
    if extra and pairs:
        warnings.warn(
            f"{len(extra)} of {len(results)} label images in {pred} have no truth and are not scored: {some(extra)}",
            DivsegWarning,
            stacklevel=4,
        )
    return pairs, [file for name, file in references.items() if name not in results]


def _image_name(name: str) -> str:
    for suffix in SUFFIXES:
        if suffix and name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def _only_one(files: Sequence[Path]) -> None:
    if len(files) > 1:
        raise InputError(f"{files[0]} and {files[1].name} are both labels of one image; keep one of them")
