"""Training of the network on noisy images alone, by the evidence lower bound."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from divseg.denoise.networks.base import LatentNet
from divseg.denoise.noise import NoiseModel
from divseg.denoise.precision import channels_last, compiled, training_dtype
from divseg.denoise.training.checkpoint import LOG, Resume, read_checkpoint, write_checkpoint
from divseg.denoise.training.convergence import shortfalls
from divseg.denoise.training.cuda_graph import repeated
from divseg.denoise.training.data import TrainingData
from divseg.denoise.training.elbo import Elbo, active_latents, joined
from divseg.denoise.training.interrupt import DeferredInterrupt
from divseg.denoise.training.schedule import Budget
from divseg.denoise.training.settings import TrainingRecord, TrainSettings
from divseg.denoise.training.step import Figures, TrainStep
from divseg.errors import ConfigError, TrainingError
from divseg.io import config_hash
from divseg.io.json_lines import write_json_lines

COLLAPSED_KL = 1e-3
"""Nats per pixel below which the latents carry too little to decode an image from."""

RANGE_CROPS = 256
"""Crops of the training images whose losses later show whether an image is like them."""

CHECKPOINT_SECONDS = 60.0
"""Longest time between two checkpoints."""

Progress = Callable[[dict[str, Any]], None]
"""Called with the figures of a step: step, progress (0 to 1), loss, kl, seconds and others."""

Crops: TypeAlias = tuple[Tensor, list[Tensor]]
"""Normalized crops (B, C, *sides), and latent noise for each grid."""


class Trainer:
    """One training run: state between steps and the loop over them.

    Parameters
    ----------
    network, noise : LatentNet, NoiseModel
        Trained in place.
    data : TrainingData
        Source of the crops.
    budget : Budget
        Steps and minutes that training may take.
    settings : TrainSettings
        Settings of the optimizer.
    seed : int
        Seed of crops and latent noise.
    device : torch.device
        Where training runs.
    checkpoints : path, optional
        Folder for a checkpoint and the log, written every ``settings.checkpoint_every`` steps, at least once a
        minute, after Ctrl-C, and after the last step.
    resume : bool or "auto"
        Go on from the checkpoint in that folder (:func:`divseg.denoise.training.checkpoint.read_checkpoint`).
    """

    def __init__(
        self,
        network: LatentNet,
        noise: NoiseModel,
        data: TrainingData,
        *,
        budget: Budget,
        settings: TrainSettings,
        seed: int,
        device: torch.device,
        checkpoints: str | Path | None = None,
        resume: Resume = False,
    ) -> None:
        self.network = channels_last(network, device)
        self.noise = noise
        noise.to(device)
        data.keep_on(device)
        self.data, self.budget, self.settings, self.device = data, budget, settings, device
        self.folder = Path(checkpoints) if checkpoints is not None else None
        dtype = training_dtype(device, settings.precision)
        self.size = settings.step_size(device.type)
        forward = compiled(network, device) if settings.compile else network
        self.train_step = TrainStep(network, noise, forward, data, settings, self.size, dtype=dtype, seed=seed)
        self._take = repeated(self.train_step)
        self.record = TrainingRecord(
            batch=self.size.batch,
            learning_rate=self.size.learning_rate,
            seed=seed,
            device=str(device),
            precision=str(dtype).removeprefix("torch."),
            images=len(data.images),
            validation=data.validation,
        )
        # the same crops and the same latent noise at every validation: what changes is the model
        rng = np.random.default_rng([seed, 1])
        fixed = torch.Generator(device).manual_seed(seed + 1)
        self._validation_crops = self._with_noise(data.validation_batch(4 * self.size.batch, rng), fixed)
        self._training_crops = self._with_noise(data.batch(4 * self.size.batch, rng), fixed)
        self._best, self._stale = math.inf, 0
        self._between_steps, self._saved_at = True, time.monotonic()
        self.identity = self._identity()
        if resume:
            self._restore(resume)

    def _with_noise(self, x: Tensor, generator: torch.Generator) -> Crops:
        """Return crops with latent noise for them."""
        return x, self.network.noise_for(x, generator)

    def step(self, progress: float) -> tuple[float, float]:
        """Take one optimizer step, without a wait for the device; return learning rate and KL weight."""
        rates = self.train_step.prepare(self.record.steps, progress)
        self._take()
        self.record.steps += 1
        self.record.megapixels += self.size.batch * math.prod(self.data.crop) / 1e6
        return rates

    def _losses(self, crops: Crops) -> Elbo:
        """Return the terms of the loss of crops, a batch at a time."""
        x, eps = crops
        with torch.no_grad():
            noise = zip(*(grid.split(self.size.batch) for grid in eps), strict=True)
            return joined([self.train_step.terms(a, e) for a, e in zip(x.split(self.size.batch), noise, strict=True)])

    def _validation_figures(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return loss, KL per pixel and active latents on the validation crops, on the device."""
        terms = self._losses(self._validation_crops)
        return terms.loss.mean(), terms.kl.mean(), active_latents(terms.per_latent)

    def validate(self) -> tuple[float, float, int]:
        """Return loss, KL per pixel and active latents of the averaged weights on the validation crops."""
        with self.train_step.ema:
            figures = self._validation_figures()
        loss, kl, active = self.train_step.fetch(*figures)[1]
        return loss, kl, int(active)

    def run(self, progress: Progress | None = None) -> TrainingRecord:
        """Train until the budget is used or nothing improves, and leave the averaged weights in place.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C, once the step at hand is finished and the checkpoint is written.
        TrainingError
            If the loss is not a number.
        """
        record, s = self.record, self.settings
        self.budget.start(record.seconds)
        self.network.train()
        with DeferredInterrupt() as interrupt:
            try:
                while self._stale < s.patience and (used := self.budget.progress(record.steps)) < 1.0:
                    self._between_steps = False
                    row = self._advance(used)
                    self._between_steps = True
                    if row and progress:
                        progress({**row, "progress": used})
                    if record.steps % s.checkpoint_every == 0 or self._seconds_unsaved() > CHECKPOINT_SECONDS:
                        self._save()
                    interrupt.check()
            except KeyboardInterrupt:
                if self._between_steps:
                    self._save()
                raise
            self._save()
        record.stopped = "no more progress" if self._stale >= s.patience else "budget used"
        self._finish()
        return record

    def _advance(self, used: float) -> dict[str, float] | None:
        """Take a step; return a row for the log if it is time for one."""
        record, s = self.record, self.settings
        rate, beta = self.step(used)
        if record.steps % s.report_every and record.steps != 1:
            return None
        validation: tuple[Tensor, ...] = ()
        if record.steps % s.validate_every == 0:
            with self.train_step.ema:
                validation = self._validation_figures()
        figures, validated = self._fetch(*validation)
        if not math.isfinite(figures.loss):
            return None
        row = {"step": record.steps, "megapixels": record.megapixels, "seconds": self.budget.seconds}
        row |= {"skipped": figures.skipped, "loss": figures.loss, "nll": figures.nll, "kl": figures.kl}
        row |= {"beta": beta, "lr": rate, "active": int(figures.active)}
        if validated:
            loss, kl, active = validated
            row |= {"val_loss": loss, "val_kl": kl, "val_active": int(active)}
            if used > s.kl_warmup:
                self._stale = 0 if loss < self._best - 1e-4 else self._stale + 1
                self._best = min(self._best, loss)
        record.history.append(row)
        return row

    def _fetch(self, *others: Tensor) -> tuple[Figures, list[float]]:
        """Wait for the device and return figures; stop if they tell that training has broken down."""
        figures, values = self.train_step.fetch(*others)
        self.record.skipped_steps = figures.skipped
        if figures.streak > self.settings.max_skipped:
            raise TrainingError(
                f"training broke down at step {self.record.steps}: the loss was not a number {figures.streak} times in "
                "a row; lower the learning rate, or check the images for extreme values"
            )
        return figures, values

    def _finish(self) -> None:
        record = self.record
        self.train_step.ema.apply()
        record.seconds = self.budget.seconds
        self.network.eval()
        crops = self.data.batch(RANGE_CROPS, np.random.default_rng([record.seed, 2]))
        losses = self._losses(self._with_noise(crops, self.train_step.generator)).loss
        trained = self._losses(self._training_crops)
        grids = trained.grid_kl.mean(0)
        figures = (*self._validation_figures(), trained.loss.mean(), grids, losses)
        loss, kl, active, train_loss, *every = self._fetch(*figures)[1]
        record.loss, record.kl_per_pixel, record.active_latents = round(loss, 5), round(kl, 7), int(active)
        if not math.isfinite(record.loss):
            raise TrainingError("training broke down: the loss of the final model is not a number")
        record.train_loss = round(train_loss, 5)
        record.grid_kl = [float(f"{v:.4g}") for v in every[: len(grids)]]
        record.shortfalls = shortfalls(record.history, record.megapixels, self.data.pixels, record.grid_kl)
        record.loss_range = [round(v, 5) for v in np.quantile(every[len(grids) :], [0.01, 0.5, 0.99]).tolist()]

    def _identity(self) -> dict[str, Any]:
        """Describe the run: one that differs in any of this cannot go on from its checkpoint."""
        data, units = self.data, self.data.normalization
        return {
            "settings": asdict(self.settings) | asdict(self.size),
            "seed": self.record.seed,
            "train_steps": self.budget.steps,
            "train_minutes": self.budget.minutes,
            "device": self.device.type,
            "network": self.network.config.to_dict(),
            "noise": f"{self.noise.describe()} ({config_hash(self.noise.to_dict())[:8]})",
            "images": [len(data.images), data.pixels, *map(list, (units.mean, units.std, data.crop))],
        }

    def _seconds_unsaved(self) -> float:
        return time.monotonic() - self._saved_at

    def _save(self) -> None:
        """Write the checkpoint and the log, if there is a folder for them."""
        if self.folder is None:
            return
        self._fetch()
        record = self.record
        record.seconds = self.budget.seconds
        state = self.train_step.state_dict()
        state |= {"record": asdict(record), "stopping": [self._best, self._stale]}
        write_checkpoint(self.folder, self.identity, state)
        write_json_lines(self.folder / LOG, record.history)
        self._saved_at = time.monotonic()

    def _restore(self, resume: Resume) -> None:
        """Take over the state of the checkpoint."""
        if self.folder is None:
            raise ConfigError(f"resume={resume!r} needs checkpoints=, the folder of the checkpoint")
        state = read_checkpoint(self.folder, self.identity, resume)
        if state is None:
            return
        self.train_step.load_state_dict(state)
        self.record = TrainingRecord(**state["record"])
        self.record.resumed += 1
        self._best, self._stale = state["stopping"]


def check_not_collapsed(record: TrainingRecord) -> None:
    """Raise an error if the latents carry nothing after training (posterior collapse).

    Raises
    ------
    TrainingError
        With what was measured and what to try.
    """
    if record.kl_per_pixel < COLLAPSED_KL:
        raise TrainingError(
            f"training collapsed: the latents carry {record.kl_per_pixel:.1e} nats per pixel after "
            f"{record.steps} steps, so samples would not show the image. Train longer (--train-minutes), "
            "on more images, or state a smaller noise (--noise gaussian,std=...)"
        )
