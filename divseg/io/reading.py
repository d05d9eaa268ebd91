"""Images in: from folders, files, globs and arrays."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from divseg.errors import DivsegError, DivsegWarning, FileProblem, InputError, one_line, some
from divseg.io.axes import ASKED, PROJECTIONS, UNKNOWN, check_axes, check_depth, override_axes, plan_planes
from divseg.io.channels import Channel, check_channel, find_channel
from divseg.io.formats import open_images
from divseg.io.image import Image
from divseg.io.image_source import ImageSource
from divseg.io.invalid import Invalid, check_invalid
from divseg.io.refs import ImageList, ImageRef
from divseg.io.sources import Source, find_files, stem


@dataclass(frozen=True)
class Note:
    """Something the user should know about a file that is used all the same."""

    file: str
    text: str


def merge_notes(notes: list[Note]) -> list[str]:
    """Return one line for each distinct text, naming the first file and how many more it concerns."""
    files: dict[str, list[str]] = {}
    for note in notes:
        files.setdefault(note.text, []).append(note.file)
    return [f"{some(names, 1)}: {text}" for text, names in files.items()]


def read(
    source: Source,
    *,
    axes: str | None = None,
    channel: Channel | None = None,
    depth: str | None = None,
    invalid: Invalid = "none",
) -> ImageList:
    """Read images; only headers are read now, the pixels of an image when it is indexed.

    Positions (S), also if they are series of a TIFF, and time points (T) become images of their own, named
    ``<stem>_t0003``; a depth axis (Z) is kept unless `depth` says otherwise. A stack that does not say what its axes
    are is taken as separate planes (``<stem>_p03``), with a warning. Previews and reduced copies are left out.
    Min-is-white pixels are inverted, as viewers show them; grey that was saved in colour is grey. If files of several
    folders share a name, the folders come before it: ``A01/field_0``.

    Parameters
    ----------
    source : path, str or iterable of those
        A folder, a file, a glob or a list of those: TIFF (plain, ImageJ, OME) and PNG. Files of a folder and
        of a glob come in natural order, ``t2`` before ``t10``.
    axes : str, optional
        What the dimensions of the files are, a letter of ``"STCZYX"`` each; overrides what they say.
    channel : int or str, optional
        The channel to take, its number from 0 or its name in the file; needed if files have several, colours included.
    depth : str, optional
        ``"volume"``: files must have a depth axis; ``"planes"``: an image for each plane, named ``<stem>_z03``;
        ``"max"``, ``"mean"`` or ``"sum"``: the projection of all planes. By default a depth axis is kept.
    invalid : "auto", "none" or a number
        ``"auto"``: padding and NaN are no data (``image.valid``), hot pixels and dust are mended
        (:func:`divseg.io.defects.without_defects`). A number: pixels of this value and NaN are no data. ``"none"``: the
        pixels are those of the file.

    Returns
    -------
    ImageList
        A lazy sequence of :class:`Image`.

    Raises
    ------
    InputError
        If there are no images, if a file cannot be read, or if axes or channel do not fit.
    ExtraRequired
        If a file is compressed in a way that needs ``divseg[codecs]``.

    Warns
    -----
    DivsegWarning
        If axes are not known, if a pixel size makes no sense, if a file is not shown as it is stored, or if two images
        have the same name.

    Examples
    --------
    >>> import tempfile, tifffile, numpy as np, divseg
    >>> folder = tempfile.mkdtemp()
    >>> movie = np.arange(60, dtype="uint16").reshape(3, 4, 5)
    >>> tifffile.imwrite(f"{folder}/movie.tif", movie, imagej=True, metadata={"axes": "TYX"})
    >>> images = divseg.read(folder)
    >>> images
    ImageList(3 images: movie_t0, movie_t1, movie_t2)
    >>> images[1].shape, int(images[1].data.max())
    ((4, 5), 39)
    """
    invalid = check_invalid(invalid)
    files = find_files(source).files
    refs, problems, notes = scan(files, axes=axes, channel=channel, depth=depth)
    if problems:
        raise problems[0]
    for line in merge_notes(notes):
        warnings.warn(line, DivsegWarning, stacklevel=2)
    duplicates = same_names(refs)
    if duplicates:
        warnings.warn(
            duplicates[0] + "; results under that name would overwrite each other", DivsegWarning, stacklevel=2
        )
    return ImageList(replace(ref, invalid=invalid) for ref in refs)


def scan(
    files: Iterable[Path],
    *,
    axes: str | None = None,
    channel: Channel | None = None,
    depth: str | None = None,
    ask: Sequence[str] = (),
) -> tuple[list[ImageRef], list[FileProblem], list[Note]]:
    """Read the headers of files.

    Parameters
    ----------
    files : iterable of Path
        Image files.
    axes, channel, depth
        As in :func:`read`.
    ask : sequence of str
        Options of the command that say what is done with a depth axis: without `depth`, a file that has one is then a
        problem. Empty: it is kept.

    Returns
    -------
    refs : list of ImageRef
        The images of all files that can be used, in order.
    problems : list of FileProblem
        One for each file that cannot.
    notes : list of Note
        What the user should know about files that can.

    Raises
    ------
    InputError
        If `axes`, `channel` or `depth` are wrong for any file.
    """
    wanted = _Wanted(None if axes is None else check_axes(axes), check_channel(channel), check_depth(depth), ask)
    refs: list[ImageRef] = []
    problems: list[FileProblem] = []
    notes: list[Note] = []
    for file in files:
        try:
            new, texts = _refs_of(file, wanted)
        except FileProblem as problem:
            problems.append(problem)
        else:
            refs += new
            notes += [Note(str(file), text) for text in texts]
    return _with_folders(refs), problems, notes


def _with_folders(refs: list[ImageRef]) -> list[ImageRef]:
    """Put the folders of the files before the names, if files of several folders share a name."""
    folders: dict[str, set[Path]] = {}
    for ref in refs:
        folders.setdefault(ref.name.casefold(), set()).add(ref.path.parent)
    if all(len(parents) == 1 for parents in folders.values()):
        return refs
    root = os.path.commonpath([os.path.abspath(ref.path.parent) for ref in refs])
    places = {parent: os.path.relpath(os.path.abspath(parent), root) for parent in {ref.path.parent for ref in refs}}
    return [
        ref if places[ref.path.parent] == "." else replace(ref, name=f"{_plain(places[ref.path.parent])}/{ref.name}")
        for ref in refs
    ]


def _plain(place: str) -> str:
    return "/".join(stem(part + ".tif") for part in Path(place).parts)


def same_names(refs: Sequence[ImageRef]) -> list[str]:
    """Return a line for each name that several images share; upper and lower case are the same, as on many disks."""
    by_name: dict[str, list[ImageRef]] = {}
    for ref in refs:
        by_name.setdefault(ref.name.casefold(), []).append(ref)
    lines: dict[str, str] = {}
    for group in by_name.values():
        if len(group) > 1:
            paths = " and ".join(dict.fromkeys(str(ref.path) for ref in group))
            lines.setdefault(paths, f"{paths}: images of the same name {group[0].name!r}")
    return list(lines.values())


def as_images(images: Any) -> Sequence[Image]:
    """Return the images in arrays, Images or files as a sequence.

    Parameters
    ----------
    images : ImageList, Image, array, iterable of Image or array, or path
        A 2-D array is one image, a 3-D array a stack of separate planes. The arrays of an iterable may be of
        different sizes. Paths and globs are read as by :func:`read`.

    Returns
    -------
    sequence of Image
        Lazy if the input is.

    Raises
    ------
    InputError
        If it is none of these.
    """
    if isinstance(images, ImageList):
        return images
    if isinstance(images, Image):
        return [images]
    if isinstance(images, str | os.PathLike):
        return read(images)
    if hasattr(images, "__array__"):
        return _planes(np.asarray(images))
    if not isinstance(images, Iterable):
        raise InputError(f"{type(images).__name__} is not an image; give an array, a list of arrays or a path")
    items = list(images)
    if items and all(isinstance(item, str | os.PathLike) for item in items):
        return read(items)
    if not items:
        raise InputError("there are no images; give an array, a list of arrays or a path")
    width = len(str(len(items) - 1))
    out = []
    for k, item in enumerate(items):
        if isinstance(item, Image):
            out.append(item)
        elif hasattr(item, "__array__") or isinstance(item, list | tuple):
            out.append(Image.from_array(np.asarray(item), f"image_{k:0{width}d}"))
        else:
            raise InputError(f"item {k} of the images is a {type(item).__name__}; give arrays or Images")
    return out


def _planes(array: Any) -> list[Image]:
    if array.ndim == 2:
        return [Image.from_array(array)]
    if array.ndim != 3 or 0 in array.shape:
        raise InputError(
            f"an array of shape {array.shape} is neither an image (Y, X) nor a stack of planes (N, Y, X); reshape it"
        )
    width = len(str(len(array) - 1))
    return [
        replace(Image.from_array(plane, f"image_p{k:0{width}d}"), plane=(("P", k),)) for k, plane in enumerate(array)
    ]


@dataclass(frozen=True)
class _Wanted:
    """What a user wants to see of a file."""

    axes: str | None
    channel: Channel | None
    depth: str | None
    ask: Sequence[str]


def _refs_of(file: Path, wanted: _Wanted) -> tuple[list[ImageRef], list[str]]:
    try:
        sources = open_images(file)
    except FileProblem:
        raise
    except DivsegError as error:
        raise FileProblem(file, str(error), "check it") from error
    except Exception as error:  # one file never stops a folder, whatever is wrong with it
        raise FileProblem(file, f"it cannot be read ({type(error).__name__}: {one_line(error)})", "check it") from error
    refs: list[ImageRef] = []
    notes: list[str] = []
    for k, source in enumerate(sources):
        several = len(sources) > 1
        place = (("S", k),) if several else ()
        suffix = f"_{source.place or f's{k:0{len(str(len(sources) - 1))}d}'}" if several else ""
        new, texts = _refs_of_source(source, wanted)
        refs += [replace(r, name=stem(file) + suffix + r.name, plane=(*place, *r.plane)) for r in new]
        notes += texts
    return refs, list(dict.fromkeys(notes))


def _refs_of_source(source: ImageSource, wanted: _Wanted) -> tuple[list[ImageRef], list[str]]:
    """Return the images in a source, named by the end of their names alone."""
    file, notes, depth = source.path, list(source.notes), wanted.depth
    letters = override_axes(file, wanted.axes, source.shape) if wanted.axes else source.axes
    axis = letters.find("C")
    channel = wanted.channel
    if source.equal and channel is not None and str(channel).isdigit() and int(channel) < source.equal:
        channel = None  # they are all the same
    count = 1 if axis < 0 else source.shape[axis]
    names = source.channels if letters == source.axes or count == len(source.channels) else ()
    number = find_channel(file, channel, count, names)
    planes = plan_planes(file, letters, source.shape, number, depth)
    if wanted.ask and depth is None and "Z" in planes[0].axes:
        raise FileProblem(
            file,
            f"it has {source.shape[letters.index('Z')]} planes along Z",
            "give " + ", or ".join(ASKED[option] for option in wanted.ask),
        )
    if UNKNOWN in letters and len(planes) > 1 and depth != "planes":
        notes.append(
            "a stack that does not say what its axes are, treated as separate planes; "
            "give --axes (TYX for time, ZYX for depth) to say so"
        )
    refs = []
    for plane in planes:
        ordered = "".join(letter for letter in "ZYX" if letter in plane.axes)
        project = depth if depth in PROJECTIONS and "Z" in ordered else None
        ordered = ordered if project is None else "YX"
        size = source.pixel_size
        if size is not None and "Z" not in ordered:
            size = replace(size, z=None)
        refs.append(
            ImageRef(
                source=replace(source, channels=names),
                index=plane.index,
                file_axes=plane.axes,
                axes=ordered,
                shape=tuple(source.shape[letters.index(letter)] for letter in ordered),
                name=plane.suffix,
                plane=plane.position,
                pixel_size=size,
                project=project,
                letters=letters,
            )
        )
    return refs, notes
