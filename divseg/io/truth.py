"""Which mask belongs to which image."""

from __future__ import annotations

import functools
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from divseg.errors import FileProblem, InputError, Problem
from divseg.io.labels import label_shape, load_labels, squeezed
from divseg.io.masks import join_planes, separate_objects
from divseg.io.sources import MASK_ENDINGS, Source, find_files, images_in, is_mask_array, stem

SUFFIXES = ("", *MASK_ENDINGS)
"""What the name of a mask may have after the name of its image; nothing is best."""
_FRAME = re.compile(r"t(\d+)", re.IGNORECASE)
_CHALLENGE = tuple(re.compile(rf"{name}_?(\d+)", re.IGNORECASE) for name in ("man_seg", "mask", "man_track"))
"""Masks of frame t003 in the Cell Tracking Challenge, the best first."""


class Paired(Protocol):
    """What has a mask: an image, or a set of label images of one."""

    @property
    def name(self) -> str:
        """Name that results are filed under."""

    @property
    def path(self) -> Path:
        """The file, after whose stem the planes in it are named."""

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """(Y, X) or (Z, Y, X)."""


@dataclass(frozen=True)
class LabelRef:
    """Where the ground truth of one image is.

    Attributes
    ----------
    path : Path
        The mask file.
    lead : tuple of int
        Position in a stack of masks, empty for a file that holds one.
    file_shape : tuple of int
        Shape of the whole file.
    shape : tuple of int
        Shape of the mask: (Y, X) or (Z, Y, X).
    planes : bool
        The file holds a plane for each object.
    lone : bool
        A mask whose only value is 1 is one of foreground, too: each of its pieces is an object.
    """

    path: Path
    lead: tuple[int, ...]
    file_shape: tuple[int, ...]
    shape: tuple[int, ...]
    planes: bool = False
    lone: bool = True

    def load(self) -> NDArray[np.signedinteger[Any]]:
        """Read the mask.

        Returns
        -------
        array, int32 or int64
            Label image with the shape `shape`.

        Raises
        ------
        InputError
            If it cannot be read or is not a label image.

        Warns
        -----
        DivsegWarning
            If it is not a label image as it stands: see :func:`divseg.io.masks.separate_objects`.
        """
        labels = load_labels(self.path, self.file_shape, self.lead)
        if self.planes:
            return join_planes(labels, self.path)
        return separate_objects(labels.reshape(self.shape), self.path, lone=self.lone)


@dataclass
class Pairing:
    """The masks of images.

    Attributes
    ----------
    pairs : dict of str to LabelRef
        The mask of each image by its name.
    missing : list of str
        Names of images without a mask.
    unused : list of Path
        Mask files without an image.
    problems : list of Problem
        Masks that cannot be used: unreadable or of another shape.
    """

    pairs: dict[str, LabelRef] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unused: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def pair_truth(refs: Sequence[Paired], truth: Source) -> Pairing:
    """Find the mask of each image by its name.

    The mask of image ``a`` is the file ``a``, ``a_mask``, ``a_masks``, ``a_label``, ``a_labels``, ``a_gt``, ``a_seg``
    or ``a_cp_masks``. Of a file with several planes, either each plane has such a file of its own (``a_t03``), or the
    masks of all planes are the planes of one file (``a``). Of masks with equal names in several folders, an image
    has the one in the folder that is named as its own. Frames ``t003`` of the Cell Tracking Challenge have
    ``man_seg003``.

    Parameters
    ----------
    refs : sequence of ImageRef or the like
        The images.
    truth : path, str or iterable of those
        A folder, files or a glob.

    Returns
    -------
    Pairing

    Raises
    ------
    InputError
        If there are no masks at all, or if two files could be the mask of one image.
    """
    masks: dict[str, list[Path]] = {}
    files = truth_files(truth)
    for file in files:
        masks.setdefault(stem(file), []).append(file)
    siblings: dict[Path, list[Paired]] = {}
    for ref in refs:
        siblings.setdefault(ref.path, []).append(ref)
    pairing = Pairing()
    used: set[Path] = set()
    for group in siblings.values():
        for ordinal, ref in enumerate(group):
            own = _mask_of(ref.name.rpartition("/")[2], ref.path, masks)
            shared = _mask_of(stem(ref.path), ref.path, masks) if own is None else None
            mask = own or shared
            if mask is None:
                pairing.missing.append(ref.name)
                continue
            used.add(mask)
            try:
                pairing.pairs[ref.name] = _fit(
                    ref, mask, ordinal if own is None else 0, len(group) if own is None else 1
                )
            except FileProblem as problem:
                pairing.problems.append(problem.problem)
    images = {ref.path.resolve() for ref in refs}
    pairing.unused = [f for f in files if f not in used and f.resolve() not in images and not is_mask_array(f)]
    return pairing


def truth_files(truth: Source) -> list[Path]:
    """Return the mask files of a source; of a folder of the Cell Tracking Challenge those in its folder SEG."""
    if isinstance(truth, str | os.PathLike):
        inner = Path(os.path.expanduser(os.fspath(truth))) / "SEG"
        if inner.is_dir() and not images_in(inner.parent):
            truth = inner
    return find_files(truth, masks=True).files


def without_masks(files: Iterable[Path], truth_files: Iterable[Path]) -> list[Path]:
    """Leave out the images that are masks of other images in the same folder."""
    files = list(files)
    truth = {file.resolve() for file in truth_files}
    stems = {stem(file) for file in files}
    return [file for file in files if not (file.resolve() in truth and _base(stem(file)) & stems)]


def _base(name: str) -> set[str]:
    return {name.removesuffix(suffix) for suffix in SUFFIXES if suffix and name.endswith(suffix)}


def _mask_of(name: str, image: Path, masks: dict[str, list[Path]]) -> Path | None:
    candidates = [file for suffix in SUFFIXES for file in masks.get(name + suffix, [])]
    candidates = [file for file in candidates if file.resolve() != image.resolve()]
    if not candidates and (frame := _FRAME.fullmatch(name)):
        candidates = _masks_of_frame(int(frame[1]), masks)
    if len({file.parent for file in candidates}) > 1:
        candidates = [file for file in candidates if file.parent.name == image.parent.name] or candidates
    written = [file for file in candidates if not _by_cellpose(file)]
    candidates = written or candidates[:1]  # of _cp_masks.png and _seg.npy, which hold the same, the first
    if len(candidates) > 1:
        raise InputError(
            f"{' and '.join(map(str, candidates))}: each could be the mask of image {name!r}; keep one of them"
        )
    return candidates[0] if candidates else None


def _by_cellpose(file: Path) -> bool:
    return stem(file).endswith("_cp_masks") or file.suffix.lower() == ".npy"


def _masks_of_frame(frame: int, masks: dict[str, list[Path]]) -> list[Path]:
    for pattern in _CHALLENGE:
        names = [name for name in masks if (number := pattern.fullmatch(name)) and int(number[1]) == frame]
        if names:
            return [file for name in names for file in masks[name]]
    return []


@functools.lru_cache(maxsize=1)  # the planes of one file ask one after the other
def _shape(mask: Path, modified: int) -> tuple[int, ...]:
    return label_shape(mask)


def _fit(ref: Paired, mask: Path, ordinal: int, count: int) -> LabelRef:
    file_shape = _shape(mask, mask.stat().st_mtime_ns)
    shape = squeezed(file_shape)
    want = ref.spatial_shape
    lead = shape[: len(shape) - len(want)]
    if count == 1 and len(lead) == 1 and shape[1:] == want:
        return LabelRef(mask, (), file_shape, want, planes=True)
    if shape[len(lead) :] != want or math.prod(lead) != count:
        whole = want if count == 1 else (count, *want)
        raise FileProblem(
            mask,
            f"a mask of shape {shape} for image {ref.name!r} of shape {whole}",
            "give a mask of the same shape",
        )
    return LabelRef(mask, tuple(int(i) for i in np.unravel_index(ordinal, lead)) if lead else (), file_shape, want)
