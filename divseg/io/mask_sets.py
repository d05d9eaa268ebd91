"""Which label images are of one image: stacks of them, a folder of each rater, a folder of each image."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from divseg.errors import FileProblem, InputError, Problem
from divseg.io.formats import open_mask
from divseg.io.image import PixelSize
from divseg.io.labels import label_shape, squeezed
from divseg.io.sources import images_in, natural, stem
from divseg.io.truth import LabelRef, Pairing, pair_truth

LAYOUTS = ("stacks", "raters", "images")
"""How label images to be fused may lie in a folder."""


@dataclass(frozen=True)
class MaskSet:
    """The label images of one image.

    Attributes
    ----------
    name : str
        Name of the image.
    masks : tuple of LabelRef
        Where the label images are.
    sources : tuple of str
        What each is called: the rater's folder, the file, or the position in the stack from 0.
    missing : tuple of str
        Raters without a label image of this image.
    pixel_size : PixelSize, optional
        As stated by the first file.
    """

    name: str
    masks: tuple[LabelRef, ...]
    sources: tuple[str, ...]
    missing: tuple[str, ...] = ()
    pixel_size: PixelSize | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(Y, X) or (Z, Y, X)."""
        return self.masks[0].shape

    @property
    def files(self) -> list[Path]:
        """The files, each once."""
        return list(dict.fromkeys(mask.path for mask in self.masks))


class _Place(NamedTuple):
    name: str
    path: Path
    spatial_shape: tuple[int, ...]


@dataclass
class MaskSets:
    """All label images of a folder.

    Attributes
    ----------
    layout : str
        One of LAYOUTS.
    sets : list of MaskSet
        In natural order.
    raters : tuple of str
        Folders of raters in natural order, for that layout only.
    problems : list of (str, Problem)
        Images whose label images cannot be used.
    notes : list of str
        What the user should know.
    """

    layout: str
    sets: list[MaskSet] = field(default_factory=list)
    raters: tuple[str, ...] = ()
    problems: list[tuple[str, Problem]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def pair(self, truth: str | os.PathLike[str]) -> Pairing:
        """Find the ground truth of each image by its name, see :func:`divseg.io.pair_truth`."""
        return pair_truth([_Place(s.name, Path(s.name + ".tif"), s.shape) for s in self.sets], truth)


def find_mask_sets(
    folder: str | os.PathLike[str],
    *,
    layout: str | None = None,
    ndim: int | None = None,
    skip: Iterable[Path] = (),
) -> MaskSets:
    """Find the label images of a folder and sort them by the image they are of.

    Parameters
    ----------
    folder : path
        A folder with one of three layouts. ``stacks``: every file holds K label images of one image, (K, Y, X) or
        (K, Z, Y, X). ``raters``: every subfolder holds the label images of one rater, and files of the same
        name are of one image. ``images``: every subfolder holds the label images of one image.
    layout : str, optional
        By default: files with more than two dimensions are stacks; subfolders are of raters if any two of
        them have a file name in common, and of images otherwise.
    ndim : int, optional
        Dimensions of a label image, 2 or 3. By default a stack of three dimensions is one of 2-D label
        images and one of four dimensions is one of 3-D label images, and other files are what they are.
    skip : iterable of Path
        Subfolders to leave out.

    Returns
    -------
    MaskSets
        Files that cannot be used are among its problems.

    Raises
    ------
    InputError
        If there is no such folder, if it has none of the layouts, or if two files would be one label image.
    """
    root = Path(os.path.expanduser(os.fspath(folder)))
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder; correct the path")
    if layout is not None and layout not in LAYOUTS:
        raise InputError(f"unknown layout {layout!r} (layouts: {', '.join(LAYOUTS)})")
    if ndim not in (None, 2, 3):
        raise InputError(f"ndim={ndim!r} is impossible: label images have 2 or 3 dimensions")
    left_out = {path.resolve() for path in skip}
    files = images_in(root)
    children = sorted((p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")), key=natural)
    inside = {p: masks for p in children if p.resolve() not in left_out and (masks := images_in(p))}
    result = MaskSets(layout or _detect(root, files, inside))
    if result.layout == "stacks":
        if not files:
            raise InputError(f"{root}: no image files in this folder, so there are no stacks; correct the layout")
        for name, file in _by_stem(files).items():
            _add(result, name, [(str(file), file)], ndim)
        return result
    if not inside:
        raise InputError(f"{root}: no subfolders with image files, so no {result.layout}; correct the layout")
    if files:
        result.notes.append(f"{len(files)} files beside the subfolders of {root} are not used")
    if result.layout == "images":
        for child, masks in inside.items():
            _add(result, child.name, list(_by_stem(masks).items()), ndim)
        return result
    result.raters = tuple(child.name for child in inside)
    by_rater = {child.name: _by_stem(masks) for child, masks in inside.items()}
    names = sorted({name for masks in by_rater.values() for name in masks}, key=lambda name: natural(Path(name)))
    for name in names:
        _add(result, name, [(rater, masks[name]) for rater, masks in by_rater.items() if name in masks], ndim)
    return result


def _detect(root: Path, files: list[Path], inside: dict[Path, list[Path]]) -> str:
    if any(_dimensions(file) > 2 for file in files):
        return "stacks"
    if not inside:
        what = "its label images are 2-D, so there is one for each image" if files else "no label images to fuse"
        raise InputError(
            f"{root}: {what}; give stacks (K, Y, X), or a subfolder for each rater or for each image with their files"
        )
    names = [stem(file) for masks in inside.values() for file in masks]
    return "raters" if len(set(names)) < len(names) else "images"


def _dimensions(file: Path) -> int:
    try:
        return len(squeezed(open_mask(file).shape))
    except InputError:  # reported when the file is read
        return 0


def _by_stem(files: list[Path]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for file in files:
        if (other := named.setdefault(stem(file), file)) is not file:
            raise InputError(
                f"{other} and {file.name}: two label images with the same name; rename or remove one of them"
            )
    return named


def _add(result: MaskSets, name: str, files: list[tuple[str, Path]], ndim: int | None) -> None:
    """Add the set of an image, or its problem."""
    try:
        if result.layout == "stacks":
            masks = _stack(files[0][1], ndim)
            sources = tuple(str(k) for k in range(len(masks)))
        else:
            masks = tuple(_single(file, ndim) for _, file in files)
            sources = tuple(source for source, _ in files)
        for mask in masks:
            if mask.shape != masks[0].shape:
                raise FileProblem(
                    mask.path,
                    f"a label image of shape {mask.shape}, but {masks[0].path} has shape {masks[0].shape}",
                    "label images of one image must show the same pixels",
                )
        missing = tuple(rater for rater in result.raters if rater not in sources)
        size = open_mask(masks[0].path).pixel_size
        result.sets.append(MaskSet(name, masks, sources, missing, size))
    except FileProblem as problem:
        result.problems.append((name, problem.problem))


def _single(file: Path, ndim: int | None) -> LabelRef:
    whole = label_shape(file)
    shape = squeezed(whole)
    if ndim == 3 and len(shape) == 2:
        shape = (1, *shape)
    if len(shape) > 3 or (ndim is not None and len(shape) != ndim):
        raise FileProblem(
            file, f"a label image of shape {shape}", f"give label images of {ndim or '2 or 3'} dimensions"
        )
    return LabelRef(file, (), whole, shape, lone=False)


def _stack(file: Path, ndim: int | None) -> tuple[LabelRef, ...]:
    whole = label_shape(file)
    shape = whole if ndim is not None and len(whole) == ndim + 1 else squeezed(whole)
    if len(shape) not in ((3, 4) if ndim is None else (ndim + 1,)):
        wanted = {None: "(K, Y, X) or (K, Z, Y, X)", 2: "(K, Y, X)", 3: "(K, Z, Y, X)"}[ndim]
        raise FileProblem(file, f"a file of shape {shape}", f"give a stack {wanted} of K label images")
    return tuple(LabelRef(file, (k,) if shape[0] > 1 else (), whole, shape[1:], lone=False) for k in range(shape[0]))
