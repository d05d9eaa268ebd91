"""Train the model that ships as ``stardist:nuclei``, by StarDist's own training code.

Needs a Python of its own with ``tensorflow``, ``stardist`` and ``tifffile``; divseg itself needs no TensorFlow.
Images come from ``dsb2018_fluo`` and ``bbbc039`` in the folder that DIVSEG_DATA names, their parts from ``split.csv``.
The test part is not read here; ``benchmarks.nuclei_model.score`` scores on it.

    DIVSEG_DATA=... python -m benchmarks.nuclei_model.train --out FOLDER

The folder then holds an ordinary StarDist model ``nuclei``: ``config.json``, ``thresholds.json``, ``weights_best.h5``.
Weights are written after each epoch in which the validation loss fell; ``--finish`` optimises the thresholds for the
best weights so far.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from csbdeep.utils import normalize
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter
from stardist.models import Config2D, StarDist2D
from tifffile import imread

from benchmarks.record import data_root
from benchmarks.sets import read_split

REPEATS = {"dsb2018_fluo": 1, "bbbc039": 2}
"""How often an image is seen in an epoch: those of bbbc039 are fewer, but five times as large."""
PERCENTILES = (1, 99.8)


def configuration(epochs: int, steps: int, rate: float) -> Config2D:
    return Config2D(
        n_rays=32,
        grid=(2, 2),
        n_channel_in=1,
        backbone="unet",
        unet_n_depth=3,
        unet_n_filter_base=16,
        net_conv_after_unet=64,
        train_patch_size=(256, 256),
        train_batch_size=4,
        train_epochs=epochs,
        train_steps_per_epoch=steps,
        train_learning_rate=rate,
        train_reduce_lr=None,
        train_n_val_patches=32,
        train_tensorboard=False,
    )


def load(part: str, repeat: bool = False) -> tuple[list[NDArray[np.float32]], list[NDArray[np.integer]]]:
    """Read the images of one part, normalised as StarDist does before prediction, and their labels."""
    root = data_root()
    images, labels = [], []
    for row in read_split():
        if row["part"] != part:
            continue
        image = normalize(imread(root / row["set"] / "images" / row["file"]), *PERCENTILES, dtype=np.float32)
        truth = imread(root / row["set"] / "masks" / row["file"]).astype(np.int32)
        for _ in range(REPEATS[row["set"]] if repeat else 1):
            images.append(image)
            labels.append(truth)
    return images, labels


class HalfPrecision(StarDist2D):
    """StarDist whose layers compute in bfloat16, all but the two that give probabilities and distances."""

    def _build(self) -> keras.Model:
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
        model = super()._build()
        keras.mixed_precision.set_global_policy("float32")
        for name in ("prob", "dist"):
            model.get_layer(name).dtype_policy = keras.DTypePolicy("float32")
        return model


class Augment:
    """Random changes of a patch that leave its segmentation valid."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def __call__(self, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
        """Change geometry of image and labels alike, then grey values, noise and blur of the image."""
        x, y = self._flip(x, y)
        if self.rng.random() < 0.5:
            x, y = self._warp(x, y)
        return self._noise(self._grey(x)).astype(np.float32), y

    def _flip(self, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
        turns = int(self.rng.integers(4))
        x, y = np.rot90(x, turns), np.rot90(y, turns)
        return (x[:, ::-1], y[:, ::-1]) if self.rng.random() < 0.5 else (x, y)

    def _warp(self, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
        """Rotate by any angle and scale each axis by 0.6 to 2; what lies outside is mirrored."""
        angle = self.rng.uniform(0, 2 * np.pi)
        scale = np.exp(self.rng.uniform(np.log(0.65), np.log(1.85))) * self.rng.uniform(0.9, 1.1, 2)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = turn @ np.diag(1 / scale)
        centre = (np.array(x.shape) - 1) / 2
        offset = centre - matrix @ centre
        return (
            affine_transform(x, matrix, offset, order=1, mode="reflect"),
            affine_transform(y, matrix, offset, order=0, mode="reflect"),
        )

    def _grey(self, x: NDArray) -> NDArray:
        if self.rng.random() < 0.4:
            gamma = np.exp(self.rng.uniform(-0.4, 0.4))
            x = np.where(x > 0, np.maximum(x, 0) ** gamma, x)
        return x * self.rng.uniform(0.6, 1.6) + self.rng.uniform(-0.15, 0.15)

    def _noise(self, x: NDArray) -> NDArray:
        """Blur (as denoising does), then noise that grows with the grey value, at times itself smooth."""
        if self.rng.random() < 0.2:
            x = gaussian_filter(x, self.rng.uniform(0.3, 1.0))
        if self.rng.random() < 0.4:
            noise = self.rng.normal(size=x.shape) * np.sqrt(0.3 + np.clip(x, 0, 2))
            if self.rng.random() < 0.4:
                width = self.rng.uniform(0.4, 1.0)
                noise = gaussian_filter(noise, width)
                noise /= max(noise.std(), 1e-6)
            x = x + self.rng.uniform(0, 0.12) * noise
        return x


def finish(model: StarDist2D) -> None:
    """Optimise the thresholds on the validation part with the best weights; keep no others."""
    folder = Path(model.logdir)
    model.load_weights("weights_best.h5")
    model.optimize_thresholds(*load("validation"))
    for name in ("weights_now.h5", "weights_last.h5"):
        (folder / name).unlink(missing_ok=True)
    print({file.name: file.stat().st_size for file in sorted(folder.iterdir())})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder in which the model folder `nuclei` is made")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--steps", type=int, default=100, help="steps of an epoch")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate at the start; falls as a cosine")
    parser.add_argument("--resume", action="store_true", help="begin with the best weights that the folder holds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--bfloat16", action="store_true", help="half precision: about 1.8 times as fast on CPUs that have it"
    )
    parser.add_argument("--finish", action="store_true", help="only optimise the thresholds of what was trained")
    args = parser.parse_args()

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.keras.utils.set_random_seed(args.seed)
    if args.finish:
        finish(StarDist2D(None, name="nuclei", basedir=str(args.out)))
        return
    kind = HalfPrecision if args.bfloat16 else StarDist2D
    model = kind(configuration(args.epochs, args.steps, args.rate), name="nuclei", basedir=str(args.out))
    if args.resume:
        model.load_weights("weights_best.h5")
    model.prepare_for_training()
    falling = keras.callbacks.LearningRateScheduler(lambda k: args.rate * 0.5 * (1 + np.cos(np.pi * k / args.epochs)))
    model.callbacks.insert(0, falling)
    images, labels = load("train", repeat=True)
    print(f"{len(images)} training images, {model.keras_model.count_params()} weights")
    start = time.monotonic()
    model.train(images, labels, validation_data=load("validation"), augmenter=Augment(args.seed), seed=args.seed)
    print(f"trained in {(time.monotonic() - start) / 60:.1f} minutes")
    finish(model)


if __name__ == "__main__":
    main()
