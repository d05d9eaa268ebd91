"""Does StarDist in torch give what StarDist in TensorFlow gives? Both run here, on real images.

    DIVSEG_DATA=... python -m benchmarks.stardist_parity [--models FOLDER] [--model NAME_OR_FOLDER ...]

Needs a Python with ``tensorflow``, ``stardist`` and divseg. Networks of random weights find no objects, so small ones
are trained first, for a minute each, on real images with StarDist's own code; they stay in FOLDER for the next run.
``--model`` adds finished 2D models of one channel. Volumes are planes of real images, faded with the distance from a
middle plane; the second channel is the first one smoothed and inverted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import torch
from csbdeep.utils import normalize
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from stardist import Rays_GoldenSpiral
from stardist.models import Config2D, Config3D, StarDist2D, StarDist3D
from tifffile import imread

import divseg
from benchmarks.record import data_root, write_result
from divseg.segment.stardist.models import model_folder
from divseg.segment.stardist.network import StarDistNet, build_network
from divseg.segment.stardist.predict import MIN_DISTANCE, exact, pad_to
from divseg.segment.stardist.segmenter import StarDistSegmenter
from divseg.segment.stardist.weights import find_weights, read_weights

TRAIN, TEST = slice(0, 24), slice(24, 30)
NETWORKS: dict[str, dict[str, Any]] = {
    "2D, grid 1": {"n_rays": 32, "unet_n_depth": 2, "unet_n_filter_base": 16, "net_conv_after_unet": 64},
    "2D, grid 2": {"n_rays": 32, "grid": (2, 2), "unet_n_filter_base": 16, "net_conv_after_unet": 128},
    "2D, grid 2, as 2D_versatile_fluo": {"n_rays": 32, "grid": (2, 2)},
    "2D, 2 channels": {
        "n_rays": 32,
        "grid": (2, 2),
        "n_channel_in": 2,
        "unet_n_depth": 2,
        "unet_n_filter_base": 16,
        "unet_batch_norm": True,
    },
    "3D, U-Net": {"rays": Rays_GoldenSpiral(48), "grid": (1, 2, 2), "unet_n_depth": 1, "unet_n_filter_base": 12},
    "3D, ResNet": {
        "rays": Rays_GoldenSpiral(48),
        "grid": (1, 4, 4),
        "backbone": "resnet",
        "resnet_n_blocks": 3,
        "resnet_n_filter_base": 8,
        "resnet_batch_norm": True,
    },
}


def real_images(root: Path) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield images and masks of both sets by turns, in an order that has nothing to do with their names' prefixes."""
    for dsb, bbbc in zip(
        sorted((root / "dsb2018_fluo/images").iterdir())[::7],
        sorted((root / "bbbc039/images").iterdir())[::2],
        strict=False,
    ):
        for path in (dsb, bbbc):
            mask = path.parents[1] / "masks" / path.name
            yield imread(path)[:260, :300], imread(mask)[:260, :300].astype(np.int32)


def as_input(name: str, image: NDArray[Any], mask: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give an image the axes that a network takes."""
    x = image.astype(np.float32)
    if "2 channels" in name:
        return np.stack([x, gaussian_filter(x.max() - x, 2)], -1), mask
    if "3D" in name:
        fade = np.exp(-(((np.arange(16) - 7.5) / 4.5) ** 2)).astype(np.float32)
        near = (np.abs(np.arange(16) - 7.5) < 4.5)[:, None, None]
        crop = np.s_[:128, :144]
        return x[crop] * fade[:, None, None], (mask[crop] * near).astype(np.int32)
    return x, mask


def scaled(image: NDArray[Any], channels: int) -> NDArray[np.float32]:
    return normalize(image, 1, 99.8, axis=tuple(range(image.ndim - (channels > 1))))


def train(name: str, folder: Path, pairs: list[tuple[NDArray[Any], NDArray[Any]]]) -> None:
    """Train by StarDist's own code for a minute or so."""
    flat = "3D" not in name
    config = (Config2D if flat else Config3D)(
        **NETWORKS[name],
        train_patch_size=(128, 128) if flat else (16, 64, 64),
        train_batch_size=4 if flat else 2,
        train_learning_rate=1e-3,
        train_tensorboard=False,
    )
    data = [as_input(name, *pair) for pair in pairs]
    images = [scaled(x, config.n_channel_in) for x, _ in data]
    masks = [y for _, y in data]
    model = (StarDist2D if flat else StarDist3D)(config, name=folder.name, basedir=str(folder.parent))
    model.train(images[:20], masks[:20], (images[20:], masks[20:]), epochs=3 if flat else 5, steps_per_epoch=40)
    if flat:
        model.optimize_thresholds(images[20:], masks[20:])
    else:  # for volumes this takes too long
        highest = min(float(model.predict(x)[0].max()) for x in images[20:])
        (folder / "thresholds.json").write_text(json.dumps({"prob": min(0.7 * highest, 0.5), "nms": 0.3}))


def compare(name: str, folder: Path, pairs: list[tuple[NDArray[Any], NDArray[Any]]]) -> list[str]:
    """Run both on each image and return a row of the table for each."""
    with contextlib.redirect_stdout(io.StringIO()):
        flat = "3D" not in name
        theirs = (StarDist2D if flat else StarDist3D)(None, name=folder.name, basedir=str(folder.parent))
    segment = divseg.segmenter(f"stardist:{folder},device=cpu")
    assert isinstance(segment, StarDistSegmenter)
    net = build_network(segment.config, read_weights(find_weights(folder)))
    exact = build_network(segment.config, read_weights(find_weights(folder))).double()
    rows = []
    for number, pair in enumerate(pairs):
        image, _ = as_input(name, *pair)
        x = scaled(image, segment.config.n_channels)
        prob, dist = theirs.predict(x)
        labels, _ = theirs.predict_instances(x)
        ours_prob, ours_dist = dense(net, x)
        _, true_dist = dense(exact, x.astype(np.float64))
        ours = segment(image)
        same = np.array_equal(ours, labels)
        rows.append(
            f"| {name} | {number + 1} | {len(ours.prob)} | {worst(ours_prob, prob):.1e} "
            f"| {worst(ours_dist, dist):.1e} | {dist.max():.0f} "
            f"| {worst(ours_dist, true_dist):.1e} | {worst(dist, true_dist):.1e} "
            f"| {'identical' if same else f'{np.count_nonzero(ours != labels)} pixels differ'} |"
        )
        print(rows[-1], flush=True)
    return rows


def dense(net: StarDistNet, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    tensor = torch.from_numpy(x)
    tensor = tensor.movedim(-1, 0) if net.config.n_channels > 1 else tensor[None]
    with exact(tensor.device):
        prob, dist = net(pad_to(tensor[None], net.config.divisor))
    shape = tensor.shape[1:]
    inside = tuple(slice(-(-n // g)) for n, g in zip(shape, net.config.grid, strict=True))
    return prob[0][inside].numpy(), dist[0][inside].clamp_min(MIN_DISTANCE).numpy()


def worst(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.abs(a.astype(np.float64) - b).max())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()) / "stardist_parity")
    parser.add_argument("--model", nargs="*", default=[])
    chosen = parser.parse_args()
    pairs = list(real_images(data_root()))
    rows = [
        "| model | image | objects | prob | dist | longest dist | our dist to float64 | TensorFlow's | labels |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in NETWORKS:
        folder = chosen.models / name.replace(", ", "_").replace(" ", "_")
        if not (folder / "weights_last.h5").is_file():
            train(name, folder, pairs[TRAIN])
        rows += compare(name, folder, pairs[TEST])
    for name in chosen.model:
        folder = model_folder(name)
        rows += compare(f"2D, {folder.name}", folder, pairs[TEST])
    body = (
        "Largest absolute difference between the two of object probability and of distance (pixels); for distances "
        "also that of each to the same network in float64. Images 1, 3, 5 are of dsb2018_fluo, 2, 4, 6 of bbbc039.\n\n"
    ) + "\n".join(rows)
    models = " ".join(Path(name).name for name in chosen.model)
    command = f"python -m benchmarks.stardist_parity{f' --model {models}' if models else ''}"
    write_result("stardist_parity", "StarDist in torch and in TensorFlow", command, body)


if __name__ == "__main__":
    main()
