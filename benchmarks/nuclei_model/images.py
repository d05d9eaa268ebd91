"""Training and validation images of ``stardist:nuclei``, clean and denoised, with their labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from csbdeep.utils import normalize
from numpy.typing import NDArray
from tifffile import imread

from benchmarks.record import data_root
from benchmarks.sets import read_split

NUCLEI, MOST = 20, 4
"""An image is seen in an epoch once for so many nuclei, at least once, and at most so many times."""
PERCENTILES = (1, 99.8)
DENOISED = 1 / 3
"""Share of real patches that are cut from a denoised version of the image, if it has one."""


class Versions:
    """Images of which every look-up gives one version: mostly the clean one, otherwise a denoised one.

    Parameters
    ----------
    clean : list of array (Y, X)
        The images.
    denoised : list of list of array (n, Y, X)
        Of each image its denoised versions, one for each noise level: MMSE and samples.
    seed : int
        Seed of the choice.
    """

    def __init__(
        self, clean: list[NDArray[np.float32]], denoised: list[list[NDArray[np.float32]]], seed: int = 0
    ) -> None:
        self.clean, self.denoised = clean, denoised
        self.rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self.clean)

    def __getitem__(self, i: int) -> NDArray[np.float32]:
        if not self.denoised[i] or self.rng.random() > DENOISED:
            return self.clean[i]
        level = self.denoised[i][self.rng.integers(len(self.denoised[i]))]
        return level[0] if len(level) == 1 or self.rng.random() < 0.5 else level[self.rng.integers(1, len(level))]


def load(part: str, folder: Path | None = None) -> tuple[list[NDArray], list[NDArray], list[list[NDArray]]]:
    """Read the images of one part, their labels and their denoised versions.

    Images are normalised as StarDist does before prediction; without a `folder` there are no denoised versions.
    """
    root = data_root()
    drawn = [np.load(file) for file in sorted(folder.glob("*.npz"))] if folder else []
    images, labels, denoised = [], [], []
    for row in read_split():
        if row["part"] != part:
            continue
        image = normalize(imread(root / row["set"] / "images" / row["file"]), *PERCENTILES, dtype=np.float32)
        truth = imread(root / row["set"] / "masks" / row["file"]).astype(np.int32)
        levels = [level[key] for level in drawn if (key := f"{row['set']}/{row['file']}") in level]
        versions = [np.stack([normalize(x, *PERCENTILES, dtype=np.float32) for x in level]) for level in levels]
        nuclei = np.count_nonzero(np.bincount(truth.ravel())[1:])
        for _ in range(int(np.clip(round(nuclei / NUCLEI), 1, MOST)) if part == "train" else 1):
            images.append(image)
            labels.append(truth)
            denoised.append(versions)
    return images, labels, denoised


def load_validation(folder: Path | None) -> tuple[list[NDArray], list[NDArray]]:
    """Return the validation images and, if there are, the MMSE of one noise level of each after the other."""
    images, labels, denoised = load("validation", folder)
    pairs = list(zip(images, labels, strict=True))
    for i, versions in enumerate(denoised):
        if versions:
            pairs.append((versions[i % len(versions)][0], labels[i]))
    return [x for x, _ in pairs], [y for _, y in pairs]
