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
from stardist.models import Config2D, StarDist2D

from benchmarks.nuclei_model.augment import Augment
from benchmarks.nuclei_model.images import Versions, load, load_validation

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
