"""Train the model that ships as ``stardist:nuclei``, by StarDist's own training code.

Needs a Python of its own with ``tensorflow``, ``stardist`` and ``tifffile``; divseg itself needs no TensorFlow.
Images come from ``dsb2018_fluo``, ``dsb2018_more`` and ``bbbc039`` in the folder that DIVSEG_DATA names, their parts
from ``split.csv``, what a denoiser makes of noisy versions of them from the folder that
``benchmarks.nuclei_model.denoised`` has written. The test part is not read here; ``benchmarks.nuclei_model.score``
scores on it.

    DIVSEG_DATA=... python -m benchmarks.nuclei_model.train --out FOLDER --denoised FOLDER

The folder then holds an ordinary StarDist model ``nuclei``: ``config.json``, ``thresholds.json``, ``weights_best.h5``.
Weights, a moving average over some 500 steps, are written after each epoch in which the loss on clean and denoised
validation images fell; ``--finish`` optimises the thresholds for the best weights so far.
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
from stardist.models import Config2D, StarDist2D
from tifffile import imread

from benchmarks.nuclei_model.augment import Augment
from benchmarks.record import data_root
from benchmarks.sets import read_split

NUCLEI, MOST = 20, 4
"""An image is seen in an epoch once for so many nuclei, at least once, and at most so many times."""
PERCENTILES = (1, 99.8)
DENOISED = 1 / 3
"""Share of real patches that are cut from a denoised version of the image, if it has one."""
AVERAGE = 0.998
"""Share of the moving average of the weights that a step keeps."""


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
        train_n_val_patches=64,
        train_tensorboard=False,
    )


class Versions:
    """Images of which every look-up gives one version: mostly the clean one, otherwise a denoised one.

    Parameters
    ----------
    clean : list of array (Y, X)
        The images.
    denoised : list of list of array (3, Y, X)
        Of each image its denoised versions, one for each noise level: MMSE and two samples.
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
        return level[self.rng.choice(3, p=(0.5, 0.25, 0.25))]


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


class HalfPrecision(StarDist2D):
    """StarDist whose layers compute in bfloat16, all but the two that give probabilities and distances."""

    def _build(self) -> keras.Model:
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
        model = super()._build()
        keras.mixed_precision.set_global_policy("float32")
        for name in ("prob", "dist"):
            model.get_layer(name).dtype_policy = keras.DTypePolicy("float32")
        return model


class Falling(keras.callbacks.Callback):
    """Learning rate that falls to zero as a cosine over the epochs or, if these run out first, the minutes.

    Parameters
    ----------
    rate : float
        Learning rate at the start.
    epochs : int
        Epochs of the training.
    minutes : float
        Minutes after which training ends.
    """

    def __init__(self, rate: float, epochs: int, minutes: float) -> None:
        super().__init__()
        self.rate, self.epochs, self.seconds = rate, epochs, 60 * minutes
        self.start = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Set the learning rate."""
        done = min(1.0, max(epoch / self.epochs, (time.monotonic() - self.start) / self.seconds))
        self.model.optimizer.learning_rate = self.rate * 0.5 * (1 + np.cos(np.pi * done))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """End the training when its time is over."""
        self.model.stop_training = time.monotonic() - self.start > self.seconds


def finish(model: StarDist2D, folder_denoised: Path | None) -> None:
    """Optimise the thresholds on the validation images, clean and denoised; keep no weights but the best."""
    folder = Path(model.logdir)
    model.load_weights("weights_best.h5")
    model.optimize_thresholds(*load_validation(folder_denoised))
    for name in ("weights_now.h5", "weights_last.h5"):
        (folder / name).unlink(missing_ok=True)
    print({file.name: file.stat().st_size for file in sorted(folder.iterdir())})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder in which the model folder `nuclei` is made")
    parser.add_argument("--denoised", type=Path, help="folder that benchmarks.nuclei_model.denoised has written")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="train no longer")
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
        finish(StarDist2D(None, name="nuclei", basedir=str(args.out)), args.denoised)
        return
    kind = HalfPrecision if args.bfloat16 else StarDist2D
    model = kind(configuration(args.epochs, args.steps, args.rate), name="nuclei", basedir=str(args.out))
    if args.resume:
        model.load_weights("weights_best.h5")
    model.prepare_for_training(keras.optimizers.Adam(args.rate, use_ema=True, ema_momentum=AVERAGE))
    model.callbacks[:0] = [
        Falling(args.rate, args.epochs, args.minutes),
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True),  # before those that write weights
    ]
    images, labels, denoised = load("train", args.denoised)
    print(f"{len(images)} training images, {model.keras_model.count_params()} weights")
    start = time.monotonic()
    model.train(
        Versions(images, denoised, args.seed),
        labels,
        validation_data=load_validation(args.denoised),
        augmenter=Augment(args.seed),
        seed=args.seed,
    )
    print(f"trained in {(time.monotonic() - start) / 60:.1f} minutes")
    finish(model, args.denoised)


if __name__ == "__main__":
    main()
