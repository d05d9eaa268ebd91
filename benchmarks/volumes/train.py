"""Train the small StarDist 3-D model of this benchmark on drawn volumes, by StarDist's own training code.

    python -m benchmarks.volumes.train --out FOLDER [--minutes 12]

Needs a Python with ``tensorflow`` and ``stardist``. FOLDER then holds a StarDist model ``volumes``, for
``stardist:FOLDER/volumes``. It is for measuring alone: no real volume was used.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from stardist import Rays_GoldenSpiral
from stardist.models import Config3D, StarDist3D

from benchmarks.volumes.drawn import DISTANCE, draw

SHAPE, PATCH = (40, 112, 112), (24, 64, 64)
TRAIN, VALIDATION = 48, 6
STEPS = 50
"""Steps of an epoch."""


class Falling(keras.callbacks.Callback):
    """Learning rate that falls to zero as a cosine over the minutes of the processor, which end the training."""

    def __init__(self, rate: float, minutes: float) -> None:
        super().__init__()
        self.rate, self.seconds, self.start = rate, 60 * minutes, time.process_time()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Set the learning rate."""
        done = min(1.0, (time.process_time() - self.start) / self.seconds)
        self.model.optimizer.learning_rate = self.rate * 0.5 * (1 + np.cos(np.pi * done))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """End the training when its time is over."""
        self.model.stop_training = time.process_time() - self.start > self.seconds


def turned(image: NDArray, labels: NDArray) -> tuple[NDArray, NDArray]:
    """Turn and flip a patch, and change its contrast a little."""
    rng = np.random.default_rng()
    flips = tuple(axis for axis in range(3) if rng.random() < 0.5)
    image, labels = np.flip(image, flips), np.flip(labels, flips)
    if rng.random() < 0.5:
        image, labels = image.swapaxes(1, 2), labels.swapaxes(1, 2)
    return image * rng.uniform(0.8, 1.2) + rng.normal(0, 0.05), labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder in which the model folder `volumes` is made")
    parser.add_argument("--minutes", type=float, default=12.0, help="of the processor, one thread")
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate at the start; falls as a cosine")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="begin with the best weights that the folder holds")
    args = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.keras.utils.set_random_seed(args.seed)
    anisotropy = (DISTANCE, 1.0, 1.0)
    config = Config3D(
        rays=Rays_GoldenSpiral(64, anisotropy=anisotropy),
        anisotropy=anisotropy,
        grid=(1, 2, 2),
        n_channel_in=1,
        unet_n_depth=2,
        unet_n_filter_base=8,
        net_conv_after_unet=48,
        train_patch_size=PATCH,
        train_batch_size=2,
        train_epochs=10000,
        train_steps_per_epoch=STEPS,
        train_learning_rate=args.rate,
        train_reduce_lr=None,
        train_n_val_patches=12,
        train_tensorboard=False,
    )
    model = StarDist3D(config, name="volumes", basedir=str(args.out))
    rng = np.random.default_rng(args.seed)
    pairs = [draw(SHAPE, rng) for _ in range(TRAIN + VALIDATION)]
    images, labels = [x for x, _ in pairs], [y for _, y in pairs]
    print(f"{TRAIN} volumes, {model.keras_model.count_params()} weights", flush=True)
    if args.resume:
        model.load_weights("weights_best.h5")
    model.prepare_for_training()
    model.callbacks.insert(0, Falling(args.rate, args.minutes))
    held_out = images[TRAIN:], labels[TRAIN:]
    model.train(images[:TRAIN], labels[:TRAIN], held_out, augmenter=turned, seed=args.seed)
    model.load_weights("weights_best.h5")
    model.optimize_thresholds(images[-2:], labels[-2:], nms_threshs=[0.3])


if __name__ == "__main__":
    main()
