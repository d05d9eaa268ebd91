"""Images denoised by other means: a plain variational autoencoder, and folders of denoised images."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.segmentation.cell import Cell
from benchmarks.sets import Picture, read_denoised

Make = Callable[[Picture], NDArray[np.float32]]


def made_elsewhere(cell: Cell, a: argparse.Namespace) -> list[str]:
    """Give a cell the makers of its images by other means; return the reasons why some are left out.

    Parameters
    ----------
    cell : Cell
        That the images are for.
    a : Namespace
        Options ``vanilla`` and ``add`` of the command.
    """
    reasons: list[str] = []

    def give(kind: str, make: Make, origin: str) -> None:
        cell.others[kind], cell.origins[kind] = make, origin

    if a.vanilla or cell.has_model("vanilla"):
        give("vanilla VAE", cell.vanilla_mmse, cell.vanilla_digest)
    else:
        reasons.append("Vanilla VAE: no model in the cache (--vanilla trains one).")
    named = dict(_pair(word) for word in a.add)
    if "N2V" not in named:
        reasons.append("N2V: no images (--add N2V=DIR takes those that benchmarks.n2v has written to DIR).")
    for name, folder in named.items():
        place = Path(folder) / f"{cell.name}-{cell.level}"
        if place.is_dir():
            give(name, partial(_from_folder, Path(folder), f"{cell.name}-{cell.level}", name), _digest(place))
        else:
            reasons.append(f"{name}: no images for {cell.name} {cell.level}.")
    return reasons


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(file for file in folder.iterdir() if file.suffix in (".npy", ".tif")):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:8]


def _pair(word: str) -> tuple[str, str]:
    name, equals, folder = word.partition("=")
    if not equals or not name or not Path(folder).is_dir():
        raise SystemExit(f"--add {word}: write NAME=DIR with a folder that is there")
    return name, folder


def _from_folder(folder: Path, job: str, name: str, picture: Picture) -> NDArray[np.float32]:
    image = read_denoised(folder, job, picture)
    if image is None:
        raise SystemExit(f"{name}: {picture.name}.npy or .tif is not in {folder / job}")
    return image
