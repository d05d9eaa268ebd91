"""Images denoised by other means: a plain variational autoencoder, Noise2Void, folders of denoised images."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from benchmarks.sets import Picture
from benchmarks.segmentation.cell import Cell
from divseg.io.atomic import replacing

Make = Callable[[Picture], NDArray[np.float32]]


def made_elsewhere(cell: Cell, a: argparse.Namespace) -> list[str]:
    """Give a cell the makers of its images by other means; return the reasons why some are left out.

    Parameters
    ----------
    cell : Cell
        That the images are for.
    a : Namespace
        Options ``vanilla``, ``no_n2v`` and ``add`` of the command.
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
        if a.no_n2v:
            reasons.append("N2V: left out on request.")
        elif importlib.util.find_spec("careamics") is None:
            reasons.append("N2V: careamics is not installed (--add N2V=DIR takes images that were denoised elsewhere).")
        else:
            give("N2V", partial(_n2v, cell), f"careamics {version('careamics')}, seed {cell.seed}")
    for name, folder in named.items():
        place = Path(folder) / f"{cell.name}-{cell.level}"
        if place.is_dir():
            give(name, partial(_from_folder, place, name), _digest(place))
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


def _from_folder(folder: Path, name: str, picture: Picture) -> NDArray[np.float32]:
    array, file = folder / f"{picture.name}.npy", folder / f"{picture.name}.tif"
    if not array.is_file() and not file.is_file():
        raise SystemExit(f"{name}: {picture.name}.npy or .tif is not in {folder}")
    image = (np.load(array) if array.is_file() else tifffile.imread(file)).astype(np.float32)
    if image.shape != picture.noisy.shape:
        raise SystemExit(f"{name}: {picture.name} has the shape {image.shape}, the noisy image {picture.noisy.shape}")
    return image


def _n2v(cell: Cell, picture: Picture) -> NDArray[np.float32]:
    """Denoise by Noise2Void (Krull et al. 2019), trained once on all noisy images of the set."""
    folder = cell.cache / f"n2v-{cell.name}-{cell.level}-seed{cell.seed}"
    file = folder / f"{picture.name}.npy"
    if not file.is_file():
        for name, image in _n2v_of_all(cell, folder).items():
            with replacing(folder / f"{name}.npy") as stream:
                np.save(stream, image)
    return np.load(file)


def _n2v_of_all(cell: Cell, folder: Path) -> dict[str, NDArray[np.float32]]:
    from careamics import CAREamist
    from careamics.config import create_n2v_configuration

    side = 64
    cuts = [
        p.noisy[y : y + side, x : x + side]
        for p in cell.pictures.values()
        for y in range(0, p.noisy.shape[0] - side + 1, side)
        for x in range(0, p.noisy.shape[1] - side + 1, side)
    ]
    config = create_n2v_configuration(
        experiment_name="n2v", data_type="array", axes="SYX", patch_size=[side, side], batch_size=32, num_epochs=30
    )
    careamist = CAREamist(config, work_dir=folder)
    careamist.train(train_source=np.stack(cuts), val_percentage=0.1)
    found = {}
    for name, picture in cell.pictures.items():
        result = careamist.predict(
            picture.noisy, data_type="array", axes="YX", tile_size=(256, 256), tile_overlap=(48, 48)
        )
        found[name] = np.asarray(result[0] if isinstance(result, list) else result, np.float32).reshape(
            picture.noisy.shape
        )
    return found
