"""Which files a user means."""

from __future__ import annotations

import glob
import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from divseg.errors import InputError

Source: TypeAlias = "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]"

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".nd2", ".czi", ".lif")
"""Suffixes of image files, in any case; .ome.tif and .ome.tiff with them. Folders of OME-Zarr are images too."""
LOSSY = (".jpg", ".jpeg")
"""Suffixes of files that are not taken where another of the same name is."""
MASK_ENDINGS = ("_cp_masks", "_mask", "_masks", "_label", "_labels", "_gt", "_seg")
"""What the name of a mask may have after the name of its image."""
_LOOKED_FOR = ".tif, .tiff, .ome.tif, .png, .jpg, .zarr, .nd2, .czi and .lif"
_OTHER = (".lsm", ".oib", ".oif", ".vsi", ".ims", ".dv", ".h5")
_CODES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_BY_PRODUCTS = ("_flows", "_cp_flows", "_cp_outlines", "_outlines")
"""Ends of the names of other images that Cellpose leaves beside the images."""


@dataclass(frozen=True)
class LeftOut:
    """A file among the images that is not taken as one.

    Attributes
    ----------
    file : Path
        The file, link or folder.
    reason : str
        Why, and what to do if it should be taken.
    """

    file: Path
    reason: str


@dataclass
class InputFiles:
    """The files of a source.

    Attributes
    ----------
    files : list of Path
        Folders and globs in natural order (``t2`` before ``t10``), lists in their own order.
    folders : list of Path
        Folders among the parts of the source.
    left_out : list of LeftOut
        What else lies in the folders, or is matched by the globs.
    """

    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def find_files(source: Source, *, masks: bool = False) -> InputFiles:
    """Find the image files of a folder, a file, a glob or a list of those.

    Parameters
    ----------
    source : path, str or iterable of those
        Folders are not searched in their subfolders; a glob with ``**`` is.
    masks : bool
        Look for masks. Otherwise files that are named as the mask of another image in their folder (``a_mask``
        beside ``a``) are left out.

    Returns
    -------
    InputFiles

    Raises
    ------
    InputError
        If a file or folder does not exist, or if there are no images.
    """
    parts = [source] if isinstance(source, str | os.PathLike) else list(source)
    if not parts:
        raise InputError("there are no images; give a folder, files or a glob")
    result = InputFiles()
    for part in parts:
        if not isinstance(part, str | os.PathLike):
            raise InputError(f"{part!r} is neither a path nor a glob; give a folder, files or a glob")
        text = os.path.expanduser(os.fspath(part))
        try:
            _add(text, result, masks)
        except OSError as error:
            raise InputError(f"{text[:200]}: it cannot be looked at ({error.strerror}); correct the path") from error
    return result


def stem(path: str | os.PathLike[str]) -> str:
    """Return the name of a file without ``.tif``, ``.png``, ``.ome.tif`` and the like.

    Letters with accents are one character each (NFC), whichever way the file system writes them; a byte that is not
    UTF-8 and a control character, tab and newline excepted, become a percent sign and two hexadecimal digits.
    """
    name = Path(path).stem
    name = name[:-4] if name.lower().endswith(".ome") and len(name) > 4 else name
    name = _CODES.sub(lambda code: f"%{ord(code[0]) & 255:02X}", name)
    return unicodedata.normalize("NFC", name)


def natural(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Return the key of natural order: digits compare as numbers, letters without case."""
    parts = re.split(r"([0-9]+)", str(path).lower())
    return [(1, int(p), "") if p.isdigit() else (0, 0, p) for p in parts if p], str(path)


def images_in(folder: Path) -> list[Path]:
    """Return the image files of a folder in natural order, hidden ones left out.

    Raises
    ------
    InputError
        If the folder cannot be read.
    """
    return sorted((p for p in _listed(folder) if is_image(p)), key=natural)


def is_image(path: Path) -> bool:
    """Whether a path is a visible file with the suffix of an image, or an OME-Zarr."""
    if path.name.startswith("."):
        return False
    return path.is_file() if path.suffix.lower() in SUFFIXES else is_zarr(path)


def is_zarr(path: Path) -> bool:
    """Whether a folder is an OME-Zarr, or looks as if it should be."""
    names = (".zattrs", ".zgroup", ".zarray", "zarr.json")
    return path.is_dir() and (path.suffix.lower() == ".zarr" or any((path / name).is_file() for name in names))


def is_mask_array(path: Path) -> bool:
    """Whether a path is a file of Cellpose with labels in NumPy's format."""
    return path.name.lower().endswith("_seg.npy") and path.is_file()


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be read ({error.strerror}); check its rights") from error


def _add(part: str, result: InputFiles, masks: bool) -> None:
    path = Path(part)
    if path.is_dir() and not is_zarr(path):
        there = _listed(path)
        _sort(there, result, masks)
        if not any(is_image(p) or (masks and is_mask_array(p)) for p in there):
            raise InputError(f"{path}: no images in this folder (looked for {_LOOKED_FOR}){_hint(path)}")
        result.folders.append(path)
    elif path.exists():
        result.files.append(path)
    elif any(c in part for c in "*?["):
        matches = [Path(match) for match in glob.glob(part, recursive=True)]
        zarrs = {p for p in matches if is_zarr(p)}
        matches = [p for p in matches if not zarrs & set(p.parents)]  # what lies inside of one is part of it
        _sort([p for p in matches if not p.is_dir() or p in zarrs], result, masks)
        if not any(is_image(p) or (masks and is_mask_array(p)) for p in matches):
            seen = f"matches {len(matches)} files but no image" if matches else "matches nothing"
            raise InputError(f"{part}: this glob {seen} (looked for {_LOOKED_FOR}); correct it")
    elif path.is_symlink():
        raise InputError(f"{part}: {_DANGLING}")
    else:
        raise InputError(f"{part}: there is no such file or folder; correct the path")


_DANGLING = "a link to a file that is not there; fetch the file (git annex get, datalad get) or remove the link"


def _sort(paths: list[Path], result: InputFiles, masks: bool) -> None:
    """Add the images among paths to the files, in natural order, and all others to what is left out."""
    stems: dict[Path, set[str]] = {}
    exact: set[Path] = set()
    for path in paths:
        if is_image(path):
            stems.setdefault(path.parent, set()).add(stem(path))
            if path.suffix.lower() not in LOSSY:
                exact.add(path.parent / stem(path))
    for path in sorted(paths, key=natural):
        reason = _reason(path, masks, stems.get(path.parent, set()))
        if reason is None and path.suffix.lower() in LOSSY and path.parent / stem(path) in exact:
            reason = "a JPEG beside a file of the same name that has lost nothing"
        if reason is None:
            result.files.append(path)
        else:
            result.left_out.append(LeftOut(path, reason))


def _reason(path: Path, masks: bool, stems: set[str]) -> str | None:
    """Return why a file is not taken, None if it is."""
    suffix = path.suffix.lower()
    if path.is_symlink() and not path.exists():
        return _DANGLING
    if path.name.startswith("."):
        return "hidden"
    if path.is_dir() and not is_zarr(path):
        return "a subfolder, which is not searched; give 'FOLDER/**/*.tif' to take its images too"
    if masks and is_mask_array(path):
        return None
    if is_image(path):
        name = stem(path)
        if not masks and any(name.endswith(end) and name.removesuffix(end) in stems for end in MASK_ENDINGS):
            return "named as the mask of another image"
        if any(name.endswith(end) and name.removesuffix(end) in stems for end in _BY_PRODUCTS):
            return "named as what Cellpose writes beside an image"
        return None
    if suffix in _OTHER:
        return f"files of type {suffix} are not read; convert it to TIFF"
    if suffix in SUFFIXES:
        return "not a file that can be read"
    return "not an image"


def _hint(folder: Path) -> str:
    there = list(folder.iterdir())
    other = sorted({p.suffix.lower() for p in there if p.suffix.lower() in _OTHER})
    if other:
        return f"; convert its {', '.join(other)} files to TIFF first"
    if any(p.is_symlink() and not p.exists() for p in there):
        return f": it holds links to files that are not there; {_DANGLING.partition('; ')[2]}"
    for child in sorted(there):
        if child.is_dir() and not child.name.startswith(".") and any(is_image(p) for p in child.iterdir()):
            return f"; subfolders are not searched, give '{folder}/**/*.tif' to take them too"
    return "; give the folder that holds the images"
