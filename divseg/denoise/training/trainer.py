"""Training of the network on noisy images alone, by the evidence lower bound."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from divseg.denoise.networks.base import LAYOUT, LatentNet
from divseg.denoise.noise import NoiseModel
from divseg.denoise.precision import autocast, channels_last, compiled, training_dtype
from divseg.denoise.training.checkpoint import LOG, Resume, read_checkpoint, write_checkpoint
from divseg.denoise.training.data import TrainingData
from divseg.denoise.training.elbo import Elbo, active_latents, elbo_terms
from divseg.denoise.training.interrupt import DeferredInterrupt
from divseg.denoise.training.schedule import EMA, Budget, kl_weight, learning_rate, noise_rate
from divseg.denoise.training.settings import TrainingRecord, TrainSettings
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
        self.dtype = training_dtype(device, settings.precision)
        self._forward = compiled(network, device) if settings.compile else network
        self.rng = np.random.default_rng([seed, 0])
        self.generator = torch.Generator(device).manual_seed(seed)
        groups = [[p for p in module.parameters() if p.requires_grad] for module in (network, noise)]
        self.parameters = [p for group in groups for p in group]
        self.optimizer = torch.optim.Adam([{"params": group} for group in groups if group])
        self.ema = EMA(self.parameters, settings.ema_decay)
        self.record = TrainingRecord(
            seed=seed,
            device=str(device),
            precision=str(self.dtype).removeprefix("torch."),
            images=len(data.images),
            validation=data.validation,
        )
        # the same crops and the same latent noise at every validation: what changes is the model
        rng = np.random.default_rng([seed, 1])
        fixed = torch.Generator(device).manual_seed(seed + 1)
        self._validation_crops = self._crops(data.validation_batch(4 * settings.batch, rng), fixed)
        self._training_crops = self._crops(data.batch(4 * settings.batch, rng), fixed)
        self._best, self._stale, self._skipped = math.inf, 0, 0
        self._between_steps, self._saved_at = True, time.monotonic()
        self.identity = self._identity()
        if resume:
            self._restore(resume)

    def _crops(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, list[Tensor]]:
        """Return crops on the device, with latent noise for them."""
        x = x.to(self.device)
        return x, self.network.noise_for(x, generator)

    def _terms(self, x: Tensor, eps: Sequence[Tensor]) -> Elbo:
        x = x.contiguous(memory_format=LAYOUT[self.data.dims])
        with autocast(self.device, self.dtype):
            return elbo_terms(self._forward, self.noise, x, self.data.normalization, eps)

    def step(self, progress: float) -> dict[str, float] | None:
        """Take one optimizer step; return its figures, or None if the loss was not a number."""
        s = self.settings
        lr = learning_rate(s.learning_rate, progress, self.record.steps)
        for group, rate in zip(
            self.optimizer.param_groups, (lr, lr * noise_rate(progress, s.noise_start)), strict=False
        ):
            group["lr"] = rate
        x, eps = self._crops(self.data.batch(s.batch, self.rng, s.structure_sampling), self.generator)
        terms = self._terms(x, eps)
        beta = kl_weight(progress, s.kl_warmup)
        nll, kl = terms.nll.mean(), terms.kl.mean()
        weighted = terms.weighted_kl(balanced=progress < s.kl_balancing)
        loss = nll + beta * weighted + self.noise.penalty()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, s.clip)
        self.record.steps += 1
        self.record.megapixels += x.numel() / x.shape[1] / 1e6
        if not torch.isfinite(norm):
            return None
        self.optimizer.step()
        self.ema.update(self.record.steps)
        return {
            "loss": float((nll + kl).detach()),
            "nll": float(nll.detach()),
            "kl": float(kl.detach()),
            "beta": beta,
            "lr": lr,
            "active": active_latents(terms.per_latent.detach()),
        }

    def _losses(self, x: Tensor, eps: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Loss and KL of each crop, and KL of each latent channel."""
        size = self.settings.batch
        with torch.no_grad():
            noise = zip(*(grid.split(size) for grid in eps), strict=True)
            parts = [self._terms(a, e) for a, e in zip(x.split(size), noise, strict=True)]
        joined = (torch.cat([getattr(p, name) for p in parts]) for name in ("loss", "kl", "per_latent"))
        loss, kl, per_latent = joined
        return loss, kl, per_latent

    def validate(self) -> tuple[float, float, int]:
        """Return loss, KL per pixel and active latents of the averaged weights on the validation crops."""
        with self.ema:
            loss, kl, per_latent = self._losses(*self._validation_crops)
        return float(loss.mean()), float(kl.mean()), active_latents(per_latent)

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
        figures = self.step(used)
        self._count_skipped(figures is None)
        if figures is None or (record.steps % s.report_every and record.steps != 1):
            return None
        row = {"step": record.steps, "megapixels": record.megapixels, "seconds": self.budget.seconds}
        row |= {"skipped": record.skipped_steps} | figures
        if record.steps % s.validate_every == 0:
            loss, kl, active = self.validate()
            row |= {"val_loss": loss, "val_kl": kl, "val_active": active}
            if used > s.kl_warmup:
                self._stale = 0 if loss < self._best - 1e-4 else self._stale + 1
                self._best = min(self._best, loss)
        record.history.append(row)
        return row

    def _count_skipped(self, skipped: bool) -> None:
        self._skipped = self._skipped + 1 if skipped else 0
        self.record.skipped_steps += skipped
        if self._skipped > self.settings.max_skipped:
            raise TrainingError(
                f"training broke down at step {self.record.steps}: the loss was not a number {self._skipped} times in "
                "a row; lower the learning rate, or check the images for extreme values"
            )

    def _finish(self) -> None:
        record = self.record
        self.ema.apply()
        record.seconds = self.budget.seconds
        self.network.eval()
        loss, kl, record.active_latents = self.validate()
        record.loss, record.kl_per_pixel = round(loss, 5), round(kl, 7)
        if not math.isfinite(record.loss):
            raise TrainingError("training broke down: the loss of the final model is not a number")
        record.train_loss = round(float(self._losses(*self._training_crops)[0].mean()), 5)
        crops = self.data.batch(RANGE_CROPS, np.random.default_rng([record.seed, 2]))
        losses = self._losses(*self._crops(crops, self.generator))[0]
        record.loss_range = [round(v, 5) for v in np.quantile(losses.cpu().numpy(), [0.01, 0.5, 0.99]).tolist()]

    def _identity(self) -> dict[str, Any]:
        """Describe the run: one that differs in any of this cannot go on from its checkpoint."""
        data, units = self.data, self.data.normalization
        return {
            "settings": asdict(self.settings),
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
        record = self.record
        record.seconds = self.budget.seconds
        state = {
            "parameters": [p.detach().cpu() for p in self.parameters],
            "ema": [a.cpu() for a in self.ema.average],
            "noise": {name: value.detach().cpu() for name, value in self.noise.state_dict().items()},
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "rng": json.dumps(self.rng.bit_generator.state),
            "record": asdict(record),
            "stopping": [self._best, self._stale, self._skipped],
        }
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
        self.noise.load_state_dict(state["noise"])
        with torch.no_grad():
            for p, value in zip(self.parameters, state["parameters"], strict=True):
                p.copy_(value)
            for a, value in zip(self.ema.average, state["ema"], strict=True):
                a.copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.rng.bit_generator.state = json.loads(state["rng"])
        self.record = TrainingRecord(**state["record"])
        self.record.resumed += 1
        self._best, self._stale, self._skipped = state["stopping"]


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
