"""StarDist models by name: the one that ships with divseg, and the official ones, fetched on first use."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from divseg.errors import DivsegWarning, ModelError, did_you_mean
from divseg.segment.stardist.download import cache_folder, fetch, verify

_RELEASES = "https://github.com/stardist/stardist-models/releases/download/v0.1"


@dataclass(frozen=True)
class Registered:
    """A model that is known by name.

    Attributes
    ----------
    name : str
        As the user writes it: ``stardist:<name>``.
    ndim : int
        Spatial dimensions of its images, 2 or 3.
    channels : int
        Channels of its images.
    about : str
        What it was trained for, in a few words.
    licence : str
        SPDX identifier.
    url, sha256 : str or None
        Zip archive and its SHA-256; None for a model that ships with divseg.
    """

    name: str
    ndim: int
    channels: int
    about: str
    licence: str
    url: str | None = None
    sha256: str | None = None


def _official(name: str, ndim: int, channels: int, about: str, sha256: str) -> Registered:
    return Registered(name, ndim, channels, about, "BSD-3-Clause", f"{_RELEASES}/python_{name}.zip", sha256)


REGISTRY: tuple[Registered, ...] = (
    Registered("nuclei", 2, 1, "fluorescent nuclei; small, trained for divseg", "BSD-3-Clause"),
    _official(
        "2D_versatile_fluo",
        2,
        1,
        "fluorescent nuclei, by StarDist's authors",
        "4ad678d0758eed6e55625f1b5ae30771e59adb79f1239e09b9772eac8846c3dd",
    ),
    _official(
        "2D_versatile_he",
        2,
        3,
        "nuclei in H&E-stained tissue, RGB, by StarDist's authors",
        "f1696ef0631bd7e1c0e5c0d3017e2b4c6a95e284c6aab9c22fc2f08317817b28",
    ),
    _official(
        "2D_paper_dsb2018",
        2,
        1,
        "fluorescent nuclei, model of the StarDist paper (2018)",
        "4c11cf68512341d9e8ce3d1278c64ceb8ac400582739f85fcab079a2e82840d2",
    ),
    _official(
        "2D_demo",
        2,
        1,
        "fluorescent nuclei, for a try",
        "a1efaebd7103db6236655bf158b6e21cf5b38d58ec77a509802244a89a260fa4",
    ),
    _official(
        "3D_demo",
        3,
        1,
        "synthetic nuclei in volumes, for a try",
        "ea05831eb5acc8a2fd31eaa23f4460a196a9af53b14f40affb9d80885f699f90",
    ),
)
"""Models known by name; addresses and SHA-256 of the official ones as registered in stardist 0.9.2."""


def model_folder(
    name_or_path: str | os.PathLike[str],
    *,
    registry: Iterable[Registered] = REGISTRY,
    cache: Path | None = None,
) -> Path:
    """Return the folder of a StarDist model, fetching it first if needed.

    Parameters
    ----------
    name_or_path : str or path
        Name of a registered model, or a folder of your own. A name takes precedence over a folder of the same name in
        the current directory; write ``./nuclei`` for the folder.
    registry : iterable of Registered
        Models known by name.
    cache : Path, optional
        Folder of the fetched models; default: ``stardist`` in :func:`~divseg.segment.stardist.download.cache_folder`.

    Returns
    -------
    Path
        The folder; a fetched one is verified.

    Raises
    ------
    ModelError
        Neither a registered name (with the nearest one and the list) nor a folder; or the download failed (with the
        address, and the path for a copy fetched by hand).
    OutputError
        If the cache cannot be written to.

    Warns
    -----
    DivsegWarning
        If a model is downloaded, or the fetched one is damaged and is fetched again.
    """
    entries = {entry.name: entry for entry in registry}
    text = os.fspath(name_or_path)
    if text not in entries:
        return _own_folder(text, entries)
    entry, folder = entries[text], _folder(entries[text], cache)
    if entry.url is None or entry.sha256 is None:
        if not (folder / "config.json").is_file():
            raise ModelError(f"{folder}: the model that ships with divseg is missing; install divseg again")
        return folder
    if folder.is_dir():
        problem = verify(folder, entry.sha256)
        if problem is None:
            return folder
        note = f"{folder}: the fetched model is damaged ({problem}); fetching it again from {entry.url}"
    else:
        note = f"StarDist model {entry.name} is not on this computer yet: fetching {entry.url} to {folder}"
    warnings.warn(note, DivsegWarning, stacklevel=2)
    fetch(entry.url, entry.sha256, folder)
    return folder


def local_folder(
    name_or_path: str | os.PathLike[str],
    *,
    registry: Iterable[Registered] = REGISTRY,
    cache: Path | None = None,
) -> Path:
    """Return the folder of a StarDist model that is on this computer; the network is never used.

    Parameters
    ----------
    name_or_path, registry, cache
        As for :func:`model_folder`.

    Raises
    ------
    ModelError
        As for :func:`model_folder`, and if the model is not fetched yet or is damaged.
    """
    for entry in registry:
        if entry.name == os.fspath(name_or_path) and entry.sha256 is not None:
            folder = _folder(entry, cache)
            problem = verify(folder, entry.sha256) if folder.is_dir() else "it is not fetched yet"
            if problem is not None:
                raise ModelError(f"{folder}: {problem}; run `divseg models fetch {entry.name}` with a network")
            return folder
    return model_folder(name_or_path, registry=registry, cache=cache)


def location(entry: Registered, cache: Path | None = None) -> str:
    """Return where a registered model is: its folder, or that it is not fetched yet or damaged."""
    folder = _folder(entry, cache)
    if entry.sha256 is None:
        return str(folder)
    if not folder.is_dir():
        return "not fetched yet"
    problem = verify(folder, entry.sha256)
    return str(folder) if problem is None else f"{folder} (damaged: {problem})"


def _folder(entry: Registered, cache: Path | None) -> Path:
    if entry.url is None:
        return Path(__file__).parent / entry.name
    return (cache_folder() / "stardist" if cache is None else cache) / entry.name


def _own_folder(text: str, names: Iterable[str]) -> Path:
    path = Path(os.path.expanduser(text))
    if path.is_dir():
        return path
    names = list(names)
    listed = ", ".join(names)
    if path.exists():
        raise ModelError(f"{text}: a StarDist model is a folder with config.json in it, and this is a file")
    if path.name != text:
        raise ModelError(f"{text}: there is no such folder; correct the path, or use one of {listed}")
    hint = did_you_mean(text, names)
    raise ModelError(f"no StarDist model and no folder {text!r}{hint} (models: {listed}, or a path)")
