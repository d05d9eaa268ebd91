"""Draw what a denoiser makes of noisy versions of the training and validation images, for training on it.

`stardist:nuclei` sees posterior samples and their means more often than clean images. For each noise level a divseg
model is trained on the noisy images of these parts of one set; for each image it gives the mean of some samples (MMSE)
and two of the samples. The test part is neither denoised nor seen by these models.

    DIVSEG_DATA=... python -m benchmarks.nuclei_model.denoised --out FOLDER

writes ``SET-LEVEL.npz`` with an array (3, Y, X) for each image, named ``SET/FILE``: MMSE and two samples, float16 in
standard deviations of the clean image's grey values.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tifffile import imread

from benchmarks.record import data_root
from benchmarks.sets import LEVELS, add_noise, load_set, read_split, split_name
from benchmarks.trained import trained

JOBS = ("dsb2018_fluo-n20", "dsb2018_fluo-pg_mid", "dsb2018_fluo-pg_low", "bbbc039-pg_low")
RELATED = {"dsb2018_fluo": ("dsb2018_more",)}
"""Sets of the same kind of images, which the model of a set denoises too, each image at one of the set's levels."""
LARGEST = 400 * 400
"""Pixels of the largest image of these that is denoised."""
SAMPLES = 12
"""Samples of which the MMSE is the mean."""


def noisy_images(name: str, level: str) -> dict[str, NDArray[np.float32]]:
    """Return noisy images of the training and the validation part of a set and its relatives, by ``SET/FILE``."""
    known = {row["file"]: row["part"] for row in read_split()}
    images = {f"{name}/{p.name}.tif": p.noisy for p in load_set(name, level) if known[f"{p.name}.tif"] != "test"}
    related = [row for row in read_split() if row["set"] in RELATED.get(name, ()) and row["part"] != "test"]
    for row in related[LEVELS[name].index(level) :: len(LEVELS[name])]:
        key = f"{row['set']}/{row['file']}"
        clean = imread(data_root() / row["set"] / "images" / row["file"]).astype(float)
        if clean.size <= LARGEST:
            images[key] = add_noise(clean, level, np.random.default_rng(zlib.crc32(key.encode()))).astype(np.float32)
    return images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", default=JOBS, metavar="SET-LEVEL")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=3.0, help="training time of each denoiser")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for job in args.jobs:
        name, level = split_name(job)
        pictures = [p for p in load_set(name, level) if p.part != "test"]
        model = trained(args.out / "denoisers", name, level, minutes=args.minutes, device="cpu", pictures=pictures)
        drawn = {}
        for key, noisy in noisy_images(name, level).items():
            samples = np.concatenate([b.cpu().numpy() for b in model.sample(noisy, n=SAMPLES, precision="bf16")])
            images = np.stack([samples.mean(0), *samples[:2]])
            drawn[key] = ((images - images.mean()) / images.std()).astype(np.float16)
        np.savez_compressed(args.out / f"{job}.npz", **drawn)
        print(f"{job}: {len(drawn)} images", flush=True)


if __name__ == "__main__":
    main()
