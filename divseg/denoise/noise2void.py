"""Noise2Void by CAREamics, a denoiser that is trained on noisy images alone: to bootstrap a noise model.

Krull, Buchholz, Jug, "Noise2Void - learning denoising from single noisy images", CVPR 2019, in the implementation of
CAREamics (https://careamics.github.io), an optional dependency: ``pip install "divseg[n2v]"``.
"""

from __future__ import annotations

import importlib
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from divseg.device import choose_device
from divseg.errors import ConfigError, ExtraRequired, InputError
from divseg.specs import Number, Option, read_options, split_spec

PATCH = 64
"""Side of the patches in pixels, and smallest size of an image along each axis."""

OPTIONS = {"minutes": Option(Number(0.01), 5.0, "wall-clock time of the training")}
"""Options of ``"n2v"`` in place of denoised images."""

_EPOCHS = 100_000  # never reached: training ends by time
_MULTIPLE = 8  # images are padded to a multiple of this, as the U-Net's pooling needs


def denoise_n2v(
    images: Sequence[NDArray[np.generic]],
    *,
    minutes: float = OPTIONS["minutes"].default,
    batch: int = 16,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> list[NDArray[np.float32]]:
    """Train Noise2Void on noisy images and denoise them.

    Parameters
    ----------
    images : sequence of array, shape (Y, X)
        Noisy images, at least 64x64 pixels each; sizes may differ.
    minutes : float
        Wall-clock time of the training.
    batch : int
        Number of patches of 64x64 pixels per step.
    seed : int
        Seed of the initial weights and of the choice of patches.
    device : str or torch.device
        Device for training and prediction, ``"auto"`` for a GPU if there is one.

    Returns
    -------
    list of array, shape (Y, X), float32
        Denoised images in intensity units.

    Raises
    ------
    ExtraRequired
        If CAREamics is not installed.
    InputError
        If an image is smaller than a patch or not 2-D, or there are too few patches.
    ConfigError
        If `minutes` is not above 0.
    """
    noisy = [np.asarray(image, np.float32) for image in images]
    if not noisy:
        raise InputError("Noise2Void needs at least one image")
    if not minutes > 0:
        raise ConfigError(f"minutes={minutes} of Noise2Void must be above 0")
    for k, image in enumerate(noisy):
        if image.ndim != 2 or min(image.shape) < PATCH:
            raise InputError(
                f"image {k} has shape {image.shape}: Noise2Void needs (Y, X), at least {PATCH}x{PATCH} pixels"
            )
    import_careamics()
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's, about workers and loggers
        tool = train_n2v(noisy, minutes=minutes, batch=batch, seed=seed, work=Path(scratch), device=device)
        return predict_n2v(tool, noisy, Path(scratch))


def import_careamics() -> Any:
    """Return the package CAREamics.

    Raises
    ------
    ExtraRequired
        If it, or one of its dependencies, is not installed.
    """
    try:
        return importlib.import_module("careamics")
    except ImportError as error:
        raise ExtraRequired(f'Noise2Void needs CAREamics ({error}): pip install "divseg[n2v]"') from error


def train_n2v(
    images: list[NDArray[np.float32]],
    *,
    minutes: float,
    batch: int,
    seed: int,
    work: Path,
    device: str | torch.device = "auto",
    clock: Callable[[], float] = time.perf_counter,
) -> Any:
    """Return a CAREamist, trained with CAREamics' default configuration for N2V.

    Parameters
    ----------
    images : list of array, shape (Y, X)
        Noisy images; all are trained on.
    minutes : float
        Time of the training, without imports and the preparation of the data.
    batch, seed, device
        As for :func:`denoise_n2v`.
    work : Path
        Folder for Lightning's logs and checkpoint.
    clock : callable
        Clock of the training, in seconds: that on the wall, or ``time.process_time``.
    """
    careamics = import_careamics()
    factories = importlib.import_module("careamics.config.factories")
    callbacks = importlib.import_module("lightning.pytorch.callbacks")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    accelerator = {"cuda": "gpu"}.get(choose_device(device).type, choose_device(device).type)
    config = factories.create_advanced_n2v_config(
        "n2v",
        data_type="array",
        axes="YX",
        patch_size=[PATCH, PATCH],
        batch_size=batch,
        num_epochs=_EPOCHS,
        num_workers=0,
        trainer_params={"num_sanity_val_steps": 0, "accelerator": accelerator, "enable_model_summary": False},
        checkpoint_params={"save_top_k": 0, "save_last": False},
        seed=seed + 1,  # CAREamics does not accept 0
    )
    timer = _timer(callbacks.Callback, 60 * minutes, clock)
    tool = careamics.CAREamist(config, work_dir=work, callbacks=[timer], enable_progress_bar=False)
    try:
        tool.train(train_data=images)
    except ValueError as error:  # too few patches for its validation, for example
        raise InputError(f"Noise2Void cannot be trained on the images: {error}") from error
    return tool


def _timer(base: type, seconds: float, clock: Callable[[], float]) -> Any:
    """Return a callback of Lightning that ends the training after so many seconds of a clock."""

    class Timer(base):
        end = 0.0

        def on_train_start(self, trainer: Any, module: Any) -> None:
            self.end = clock() + seconds

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, number: int) -> None:
            trainer.should_stop = clock() >= self.end or trainer.should_stop

    return Timer()


def predict_n2v(tool: Any, images: list[NDArray[np.float32]], work: Path) -> list[NDArray[np.float32]]:
    """Return the denoised images, by the weights at the end of the training."""
    checkpoint = work / "end.ckpt"
    tool.trainer.save_checkpoint(checkpoint)
    padded = [np.pad(image, [(0, -side % _MULTIPLE) for side in image.shape], mode="reflect") for image in images]
    predicted, _ = tool.predict(padded, batch_size=1, num_workers=0, checkpoint=checkpoint)
    out = []
    for image, denoised in zip(images, predicted, strict=True):
        y, x = image.shape
        out.append(np.asarray(denoised, np.float32).reshape(denoised.shape[-2:])[:y, :x])
    return out


def parse_n2v(text: str) -> float | None:
    """Read ``"n2v"`` or ``"n2v,minutes=10"``: return the minutes, None if the text names something else.

    Raises
    ------
    ConfigError
        If an option is unknown, or the minutes are not a number of at least 0.01.
    """
    if text.partition(",")[0].strip().lower() != "n2v":
        return None
    _, pairs = split_spec(text, "denoiser", "n2v,minutes=10")
    return float(read_options("n2v", pairs, OPTIONS, what="denoiser")["minutes"])
