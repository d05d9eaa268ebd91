"""From images to a trained model: data, noise model and network are made and handed to the trainer."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from divseg.denoise.model_folder import ModelParts
from divseg.denoise.networks.base import VAEConfig
from divseg.denoise.networks.registry import build_network, parse_network
from divseg.denoise.noise import photon_transfer
from divseg.denoise.training.checkpoint import Resume
from divseg.denoise.training.content import holds_only_noise
from divseg.denoise.training.data import TrainingData
from divseg.denoise.training.likelihood import NoiseChoice, choose_likelihood
from divseg.denoise.training.schedule import Budget
from divseg.denoise.training.settings import TrainSettings
from divseg.denoise.training.trainer import COLLAPSED_KL, Progress, Trainer, check_not_collapsed
from divseg.denoise.training.unlike import unlike_others
from divseg.denoise.validation import ImagesLike, TrainingImages
from divseg.device import out_of_memory
from divseg.errors import DivsegWarning, TrainingError


def train_parts(
    images: ImagesLike,
    noise: NoiseChoice,
    budget: Budget,
    *,
    seed: int,
    device: torch.device,
    network: VAEConfig | str | None,
    settings: TrainSettings,
    progress: Progress | None,
    checkpoints: str | Path | None,
    resume: Resume,
) -> ModelParts:
    """Train on noisy images; parameters and errors as for :meth:`divseg.DivNoising.fit`."""
    checked = TrainingImages(images, parse_network(network) if isinstance(network, str) else network)
    config = checked.config
    data = TrainingData(
        checked, settings.patch, config.stride, dims=config.dims, validation_split=settings.validation_split
    )
    if (warning := unlike_others(data.names, data.images, data.valid)) is not None:
        warnings.warn(warning, DivsegWarning, stacklevel=3)
    model = choose_likelihood(
        noise,
        lambda channel: photon_transfer(data.planes(channel), valid=data.valid_planes()),
        data.normalization.std,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = build_network(config)
        net.initialize()
    try:
        trainer = Trainer(
            net,
            model,
            data,
            budget=budget,
            settings=settings,
            seed=seed,
            device=device,
            checkpoints=checkpoints,
            resume=resume,
        )
        record = trainer.run(progress)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise TrainingError(
            f"memory of {device} ran out in training, with steps of {settings.step_size(device.type).batch} crops: end "
            "what else uses it, train on fewer images, or choose another device (--device cpu)"
        ) from error
    if record.kl_per_pixel < COLLAPSED_KL and _nothing_to_learn(data):
        record.only_noise, record.shortfalls = True, []  # the prior is the right posterior, however long the training
    else:
        check_not_collapsed(record)
    return ModelParts(net, model, data.normalization, record.to_dict() | {"noise": model.to_dict()}, record.history)


def _nothing_to_learn(data: TrainingData) -> bool:
    """Tell whether no channel shows anything but noise."""
    return all(holds_only_noise(data.planes(c), data.valid_planes()) for c in range(data.channels))
