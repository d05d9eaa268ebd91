"""Noise2Void by CAREamics, as a denoiser that needs noisy images alone: to bootstrap a noise model, or as a rival.

Krull, Buchholz, Jug, "Noise2Void - learning denoising from single noisy images", CVPR 2019, in the implementation of
CAREamics (https://careamics.github.io), an optional dependency: ``pip install "divseg[n2v]"``.
"""

from __future__ import annotations

import importlib
import logging
import tempfile
import warnings
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from divseg.device import choose_device
from divseg.errors import ConfigError, ExtraRequired, InputError

PATCH = 64
"""Side of the patches, and pixels that an image must have along each axis."""
MINUTES = 5.0
_EPOCHS = 100_000  # more than any budget allows: the clock ends training
_MULTIPLE = 8  # sides are padded to a multiple of this, as the U-Net's poolings ask


def denoise_n2v(
    images: Sequence[NDArray[np.generic]],
    *,
    minutes: float = MINUTES,
    batch: int = 16,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> list[NDArray[np.float32]]:
    """Train Noise2Void on noisy images and denoise them.

    Parameters
    ----------
    images : sequence of array, shape (Y, X)
        Of any sizes from 64 pixels on.
    minutes : float
        Time of training.
    batch : int
        Patches of 64x64 a step.
    seed : int
        Of weights and patches.
    device : str or torch.device

    Returns
    -------
    list of array, shape (Y, X), float32
        In the intensity units of the images.

    Raises
    ------
    ExtraRequired
        If CAREamics is not installed.
    InputError
        If an image is smaller than a patch, or not 2-D, or there are too few patches in all.
    """
    noisy = [np.asarray(image, np.float32) for image in images]
    if not noisy:
        raise InputError("Noise2Void needs at least one image")
    if not minutes > 0:
        raise ConfigError(f"minutes={minutes} of Noise2Void must be above 0")
    for k, image in enumerate(noisy):
        if image.ndim != 2 or min(image.shape) < PATCH:
            raise InputError(f"image {k} has the shape {image.shape}: Noise2Void needs (Y, X) from {PATCH}x{PATCH} on")
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
        If it, or something that it needs, is not installed.
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
) -> Any:
    """Return a CAREamist, trained with CAREamics' own configuration for N2V.

    Parameters
    ----------
    images : list of array, shape (Y, X)
        Noisy images; all are trained on.
    minutes : float
        Wall clock of the training, without imports and the reading of data.
    batch, seed, device
        As for :func:`denoise_n2v`.
    work : Path
        Folder for the logs and the checkpoint of Lightning.
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
        seed=seed + 1,  # CAREamics takes no 0
    )
    timer = callbacks.Timer(timedelta(minutes=minutes), interval="step", verbose=False)
    tool = careamics.CAREamist(config, work_dir=work, callbacks=[timer], enable_progress_bar=False)
    try:
        tool.train(train_data=images)
    except ValueError as error:  # too few patches for its validation, for example
        raise InputError(f"Noise2Void refuses the images: {error}") from error
    return tool


def predict_n2v(tool: Any, images: list[NDArray[np.float32]], work: Path) -> list[NDArray[np.float32]]:
    """Return the denoised images, from the weights as they were when the time ran out."""
    checkpoint = work / "end.ckpt"
    tool.trainer.save_checkpoint(checkpoint)
    padded = [np.pad(image, [(0, -side % _MULTIPLE) for side in image.shape], mode="reflect") for image in images]
    found, _ = tool.predict(padded, batch_size=1, num_workers=0, checkpoint=checkpoint)
    out = []
    for image, denoised in zip(images, found, strict=True):
        y, x = image.shape
        out.append(np.asarray(denoised, np.float32).reshape(denoised.shape[-2:])[:y, :x])
    return out


def parse_n2v(text: str) -> float | None:
    """Read ``"n2v"`` or ``"n2v,minutes=10"``: return the minutes, None where the text is something else.

    Raises
    ------
    ConfigError
        If another setting, or no number above 0, follows.
    """
    name, _, rest = (word.strip() for word in text.partition(","))
    if name.lower() != "n2v":
        return None
    if not rest:
        return MINUTES
    key, _, value = (word.strip() for word in rest.partition("="))
    try:
        minutes = float(value)
    except ValueError:
        minutes = 0.0
    if key != "minutes" or not minutes > 0:
        raise ConfigError(f"{text!r}: write n2v, or n2v,minutes=NUMBER")
    return minutes
