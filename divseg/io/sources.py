"""Which files a user means."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from divseg.errors import InputError

Source: TypeAlias = "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]"

SUFFIXES = (".tif", ".tiff", ".png")
"""Suffixes of image files, in any case; .ome.tif and .ome.tiff with them."""
_LOOKED_FOR = ".tif, .tiff, .ome.tif and .png"
_OTHER = (
    ".czi",
    ".nd2",
    ".lif",
    ".lsm",
    ".oib",
    ".oif",
    ".vsi",
    ".ims",
    ".dv",
    ".zarr",
    ".h5",
    ".jpg",
    ".jpeg",
)


@dataclass
class InputFiles:
    """The files of a source.

    Attributes
    ----------
    files : list of Path
        Folders and globs in natural order (``t2`` before ``t10``), lists in their own order.
    folders : list of Path
        Folders among the parts of the source.
    """

    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)


def find_files(source: Source) -> InputFiles:
    """Find the image files of a folder, a file, a glob or a list of those.

    Parameters
    ----------
    source : path, str or iterable of those
        Folders are not searched in their subfolders; a glob with ``**`` is.

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
        _add(os.path.expanduser(os.fspath(part)), result)
    return result


def stem(path: str | os.PathLike[str]) -> str:
    """Return the name of a file without ``.tif``, ``.png``, ``.ome.tif`` and the like."""
    name = Path(path).stem
    return name[:-4] if name.lower().endswith(".ome") and len(name) > 4 else name


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
    try:
        return sorted((p for p in folder.iterdir() if is_image(p)), key=natural)
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be read ({error.strerror}); check its rights") from error


def is_image(path: Path) -> bool:
    """Whether a path is a visible file with the suffix of an image."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _add(part: str, result: InputFiles) -> None:
    path = Path(part)
    if path.is_dir():
        files = images_in(path)
        if not files:
            raise InputError(f"{path}: no images in this folder (looked for {_LOOKED_FOR}){_hint(path)}")
        result.folders.append(path)
        result.files += files
    elif path.exists():
        result.files.append(path)
    elif any(c in part for c in "*?["):
        matches = [Path(match) for match in glob.glob(part, recursive=True)]
        files = sorted((p for p in matches if is_image(p)), key=natural)
        if not files:
            seen = f"matches {len(matches)} files but no image" if matches else "matches nothing"
            raise InputError(f"{part}: this glob {seen} (looked for {_LOOKED_FOR}); correct it")
        result.files += files
    else:
        raise InputError(f"{part}: there is no such file or folder; correct the path")


def _hint(folder: Path) -> str:
    other = sorted({p.suffix.lower() for p in folder.iterdir() if p.suffix.lower() in _OTHER})
    if other:
        return f"; convert its {', '.join(other)} files to TIFF first"
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not child.name.startswith(".") and any(is_image(p) for p in child.iterdir()):
            return f"; subfolders are not searched, give '{folder}/**/*.tif' to take them too"
    return "; give the folder that holds the images"
