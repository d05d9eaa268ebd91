"""Train ``stardist:nuclei`` on with PyTorch, on a GPU if there is one; no TensorFlow is needed.

    DIVSEG_DATA=... python -m benchmarks.nuclei_model.train_on --former MODEL --out FOLDER --denoised FOLDER --minutes 4

The loss is StarDist's (Schmidt et al., MICCAI 2018): binary cross-entropy of the object probability, and 0.2 times the
mean absolute error of the distances, weighted by the probability. Processes beside it cut, change and draw patches as
for ``benchmarks.nuclei_model.train``; distances are measured on the device. FOLDER then holds ``nuclei``, whose weights
are a moving average; ``benchmarks.nuclei_model.train --finish`` optimises its thresholds.
"""

from __future__ import annotations

import argparse
import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from stardist.utils import edt_prob
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from benchmarks.nuclei_model.augment import Augment
from benchmarks.nuclei_model.distances import star_distances
from benchmarks.nuclei_model.images import Versions, load, load_validation
from divseg.segment.stardist.config import read_config
from divseg.segment.stardist.network import Conv, StarDistNet, build_network
from divseg.segment.stardist.weights import find_weights, read_weights

SIDE = 256
NUCLEUS = 0.9
"""Share of patches that hold a given pixel of a nucleus."""
DISTANCES, BACKGROUND = 0.2, 1e-4
"""Weights of the distances in the loss, and of distances in the background."""
AVERAGE = 0.995
"""Share of the moving average of the weights that a step keeps."""
SAVE = 20.0
"""Seconds between two savings."""


class Patches(IterableDataset):
    """Batches of patches without an end: image, probability at every second pixel, and labels.

    Parameters
    ----------
    images : Versions
    labels : list of array (Y, X)
    batch, seed : int
    """

    def __init__(self, images: Versions, labels: list[NDArray], batch: int, seed: int) -> None:
        self.images, self.labels, self.batch, self.seed = images, labels, batch, seed

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        info = get_worker_info()
        rng = np.random.default_rng([self.seed, info.id if info else 0])
        self.images.rng = rng
        change = Augment(int(rng.integers(2**31)))
        while True:
            patches = [self._patch(change, rng) for _ in range(self.batch)]
            yield tuple(torch.from_numpy(np.stack(part)) for part in zip(*patches, strict=True))

    def _patch(self, change: Augment, rng: np.random.Generator) -> tuple[NDArray, NDArray, NDArray]:
        i = int(rng.integers(len(self.images)))
        image, labels = self.images[i], self.labels[i]
        first = [int(rng.integers(side - SIDE + 1)) for side in labels.shape]
        if rng.random() < NUCLEUS and labels.any():
            inside = np.flatnonzero(labels)
            at = np.unravel_index(inside[rng.integers(len(inside))], labels.shape)
            low = [max(0, int(p) - SIDE + 1) for p in at]
            high = [min(side - SIDE, int(p)) for p, side in zip(at, labels.shape, strict=True)]
            first = [int(rng.integers(a, b + 1)) for a, b in zip(low, high, strict=True)]
        part = tuple(slice(a, a + SIDE) for a in first)
        return targets(*change(image[part], labels[part]))


def targets(image: NDArray, labels: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return what the network sees and what it is told."""
    probability = edt_prob(np.ascontiguousarray(labels[::2, ::2]))
    return image.astype(np.float32), probability.astype(np.float32), labels.astype(np.int16)


def loss(net: StarDistNet, image: Tensor, probability: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return StarDist's two terms, of the probability and of the distances."""
    with torch.autocast(image.device.type, torch.bfloat16):
        x = net.body(net.stem(image[:, None].contiguous(memory_format=torch.channels_last)))
        features = net.features(x)
    out = torch.cat([net.prob(features.float()), net.dist(features.float())], 1).movedim(1, -1)
    away = star_distances(labels, net.config.n_rays, net.config.grid[0])
    weight = probability[..., None]
    error = (weight * (away - out[..., 1:]).abs()).mean() / (weight.mean() + 1e-7)
    background = ((1 - weight) * out[..., 1:].abs()).mean()
    return F.binary_cross_entropy_with_logits(out[..., 0], probability), error + BACKGROUND * background


def save(net: StarDistNet, average: list[Tensor], former: Path, folder: Path) -> None:
    """Write a StarDist model with the averaged weights: the former's files with other numbers in them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "thresholds.json"):
        shutil.copy(former / name, folder / name)
    shutil.copy(find_weights(former), folder / "weights_best.h5")
    weights = {id(p): a for p, a in zip(net.parameters(), average, strict=True)}
    unnamed = 0
    with h5py.File(folder / "weights_best.h5", "r+") as file:
        for conv in (m for m in net.modules() if isinstance(m, Conv)):
            name = conv.name or "conv2d" + (f"_{unnamed}" if unnamed else "")
            unnamed += conv.name is None
            group = file[name][name]
            group["kernel"][...] = weights[id(conv.weight)].movedim((0, 1), (-1, -2)).cpu().numpy()
            group["bias"][...] = weights[id(conv.bias)].cpu().numpy()


def validation(folder: Path | None, device: torch.device) -> list[tuple[Tensor, ...]]:
    """Return the middle of each validation image, clean and denoised, and its targets."""
    made = []
    for image, labels in zip(*load_validation(folder), strict=True):
        part = tuple(slice((n - SIDE) // 2, (n - SIDE) // 2 + SIDE) for n in labels.shape)
        made.append(tuple(torch.from_numpy(a)[None].to(device) for a in targets(image[part], labels[part])))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--former", type=Path, required=True, help="folder of the StarDist model to begin with")
    parser.add_argument("--out", type=Path, required=True, help="folder in which the model folder `nuclei` is made")
    parser.add_argument("--denoised", type=Path, help="folder that benchmarks.nuclei_model.denoised has written")
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate at the start; falls as a cosine")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that make patches")
    a = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(a.seed)
    net = build_network(read_config(a.former), read_weights(find_weights(a.former)))
    net = net.to(device).train().requires_grad_(True)
    parameters = list(net.parameters())
    average = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.Adam(parameters, lr=a.rate)
    images, labels, denoised = load("train", a.denoised)
    held = validation(a.denoised, device)
    print(f"{len(images)} training images, {len(held)} to validate, {sum(p.numel() for p in parameters)} weights")
    patches = Patches(Versions(images, denoised, a.seed), labels, a.batch, a.seed)
    loader = DataLoader(
        patches, batch_size=None, num_workers=a.workers, prefetch_factor=4, pin_memory=device.type == "cuda"
    )
    began = saved = time.monotonic()
    terms = torch.zeros(2, device=device)
    step = since = 0
    for batch in loader:
        done = (time.monotonic() - began) / (60 * a.minutes)
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = a.rate * min(1.0, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * done))
        of_probability, of_distance = loss(net, *(part.to(device, non_blocking=True) for part in batch))
        optimizer.zero_grad()
        (of_probability + DISTANCES * of_distance).backward()
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, parameters, 1 - min(AVERAGE, (1 + step) / (10 + step)))
            terms += torch.stack([of_probability, of_distance])
        step, since = step + 1, since + 1
        if time.monotonic() - saved > SAVE:
            save(net, average, a.former, a.out / "nuclei")
            kept = [p.detach().clone() for p in parameters]
            with torch.no_grad():
                torch._foreach_copy_(parameters, average)
                judged = torch.stack([torch.stack(loss(net, *one)) for one in held]).mean(0)
                torch._foreach_copy_(parameters, kept)
            told = ", ".join(f"{v:.4f}" for v in [*(terms / since).tolist(), *judged.tolist()])
            print(f"{done:.0%}, step {step}: probability, distance; the same on validation: {told}", flush=True)
            terms.zero_()
            since, saved = 0, time.monotonic()
    save(net, average, a.former, a.out / "nuclei")
    print(f"{step} steps of {a.batch} patches in {(time.monotonic() - began) / 60:.1f} minutes on {device}")


if __name__ == "__main__":
    main()
