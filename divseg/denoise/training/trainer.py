"""Training of the network on noisy images alone, by the evidence lower bound."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from divseg.denoise.networks.base import LAYOUT, LatentNet
from divseg.denoise.noise import NoiseModel
from divseg.denoise.precision import channels_last, compiled, training_dtype, trunk
from divseg.denoise.training.averaging import WeightAverage
from divseg.denoise.training.checkpoint import read_checkpoint, write_checkpoint, write_log
from divseg.denoise.training.data import TrainingData
from divseg.denoise.training.elbo import Elbo, active_latents, elbo_terms
from divseg.denoise.training.informative import draw_batch
from divseg.denoise.training.schedule import Budget, kl_weight, learning_rate, noise_share
from divseg.denoise.training.settings import TrainingRecord, TrainSettings
from divseg.errors import ConfigError, TrainingError

COLLAPSED_KL = 1e-3
"""Nats per pixel under which the latents carry nothing that a picture could be made of."""

RANGE_CROPS = 256
"""Crops of the training images whose losses tell later whether an image is like them."""

Progress = Callable[[dict[str, Any]], None]


class Trainer:
    """One training run: state between steps and the loop over them.

    Parameters
    ----------
    network, noise : LatentNet, NoiseModel
        Trained in place.
    data : TrainingData
    budget : Budget
    settings : TrainSettings
    seed : int
        Of crops and latent noise.
    device : torch.device
    checkpoints : path, optional
        Folder for a checkpoint and the log, written every ``settings.checkpoint_every`` steps.
    resume : bool
        Go on from the checkpoint in that folder.
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
        resume: bool = False,
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
        self.optimiser = torch.optim.Adam([{"params": group} for group in groups if group])
        self.weights = WeightAverage(self.parameters, settings.averaging)
        self.record = TrainingRecord(
            seed=seed,
            device=str(device),
            precision=str(self.dtype).removeprefix("torch."),
            images=len(data.images),
            validation=data.validation,
        )
        # the same crops and the same latent noise at every validation: what changes is the model
        check = np.random.default_rng([seed, 1])
        fixed = torch.Generator(device).manual_seed(seed + 1)
        self._check = self._crops(data.check_batch(4 * settings.batch, check), fixed)
        self._seen = self._crops(data.batch(4 * settings.batch, check), fixed)
        self._best, self._stale, self._skipped = math.inf, 0, 0
        if resume:
            self._restore()

    def _crops(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, list[Tensor]]:
        """Return crops on the device, with latent noise for them."""
        x = x.to(self.device)
        return x, self.network.noise_for(x, generator)

    def _terms(self, x: Tensor, eps: Sequence[Tensor]) -> Elbo:
        x = x.contiguous(memory_format=LAYOUT[self.data.dims])
        with trunk(self.device, self.dtype):
            return elbo_terms(self._forward, self.noise, x, self.data.intensity, eps)

    def step(self, progress: float) -> dict[str, float] | None:
        """Take one optimiser step; return its figures, or None where the loss was no number."""
        s = self.settings
        lr = learning_rate(s.learning_rate, progress, self.record.steps)
        for group, rate in zip(
            self.optimiser.param_groups, (lr, lr * noise_share(progress, s.noise_start)), strict=False
        ):
            group["lr"] = rate
        x, eps = self._crops(draw_batch(self.data, s.batch, self.rng, s.informative), self.generator)
        terms = self._terms(x, eps)
        beta = kl_weight(progress, s.kl_warmup)
        nll, kl = terms.nll.mean(), terms.kl.mean()
        weighted = terms.weighted_kl(s.free_bits, balanced=progress < s.balancing)
        loss = nll + beta * weighted + self.noise.penalty()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, s.clip)
        self.record.steps += 1
        self.record.megapixels += x.numel() / x.shape[1] / 1e6
        if not torch.isfinite(norm):
            return None
        self.optimiser.step()
        self.weights.update(self.record.steps)
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
        """Return loss, KL per pixel and latents in use of the averaged weights on the fixed crops."""
        with self.weights:
            loss, kl, per_latent = self._losses(*self._check)
        return float(loss.mean()), float(kl.mean()), active_latents(per_latent)

    def run(self, progress: Progress | None = None) -> TrainingRecord:
        """Train until the budget is used or nothing improves, and leave the averaged weights in place."""
        record, s = self.record, self.settings
        self.budget.start(record.seconds)
        self.network.train()
        record.stopped = "budget used"
        while (share := self.budget.progress(record.steps)) < 1.0:
            figures = self.step(share)
            self._count_skipped(figures is None)
            if figures and (record.steps % s.report_every == 0 or record.steps == 1):
                self._report(figures, share, progress)
                if self._stale >= s.patience:
                    record.stopped = "no more progress"
                    break
            if self.folder is not None and record.steps % s.checkpoint_every == 0:
                self._save(self.folder)
        self._finish()
        return record

    def _count_skipped(self, skipped: bool) -> None:
        self._skipped = self._skipped + 1 if skipped else 0
        self.record.skipped_steps += skipped
        if self._skipped > self.settings.max_skipped:
            raise TrainingError(
                f"training broke down at step {self.record.steps}: the loss was no number {self._skipped} times in a "
                "row; lower the learning rate, or check the images for extreme values"
            )

    def _report(self, figures: dict[str, float], share: float, progress: Progress | None) -> None:
        record, s = self.record, self.settings
        row = {"step": record.steps, "megapixels": record.megapixels, "seconds": self.budget.seconds}
        row |= {"skipped": record.skipped_steps} | figures
        if record.steps % s.validate_every == 0:
            loss, kl, active = self.validate()
            row |= {"val_loss": loss, "val_kl": kl, "val_active": active}
            if share > s.kl_warmup:
                self._stale = 0 if loss < self._best - 1e-4 else self._stale + 1
                self._best = min(self._best, loss)
        record.history.append(row)
        if progress:
            progress({**row, "progress": share})

    def _finish(self) -> None:
        record = self.record
        self.weights.keep()
        record.seconds = self.budget.seconds
        self.network.eval()
        loss, kl, record.active_latents = self.validate()
        record.loss, record.kl_per_pixel = round(loss, 5), round(kl, 7)
        if not math.isfinite(record.loss):
            raise TrainingError("training broke down: the loss of the final model is no number")
        record.train_loss = round(float(self._losses(*self._seen)[0].mean()), 5)
        crops = self.data.batch(RANGE_CROPS, np.random.default_rng([record.seed, 2]))
        losses = self._losses(*self._crops(crops, self.generator))[0]
        record.loss_range = [round(v, 5) for v in np.quantile(losses.cpu().numpy(), [0.01, 0.5, 0.99]).tolist()]

    def identity(self) -> dict[str, Any]:
        """Say what this run is: one with another identity cannot go on from its checkpoint."""
        data, noise = self.data, self.noise.to_dict()
        return {
            "settings": asdict(self.settings),
            "seed": self.record.seed,
            "train_steps": self.budget.steps,
            "train_minutes": self.budget.minutes,
            "network": self.network.config.to_dict(),
            "noise": noise.get("kind"),
            "images": [len(data.images), data.pixels, *map(list, (data.intensity.mean, data.intensity.sd, data.crop))],
        }

    def _save(self, folder: Path) -> None:
        """Write the checkpoint and the log."""
        record = self.record
        record.seconds = self.budget.seconds
        state = {
            "parameters": [p.detach().cpu() for p in self.parameters],
            "average": [a.cpu() for a in self.weights.average],
            "noise": {name: value.detach().cpu() for name, value in self.noise.state_dict().items()},
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "rng": json.dumps(self.rng.bit_generator.state),
            "record": asdict(record),
            "stopping": [self._best, self._stale, self._skipped],
        }
        write_checkpoint(folder, self.identity(), state)
        write_log(folder, record.history)

    def _restore(self) -> None:
        """Take over the state of the checkpoint."""
        if self.folder is None:
            raise ConfigError("resume=True needs checkpoints=, the folder that the checkpoints were written to")
        state = read_checkpoint(self.folder, self.identity())
        self.noise.load_state_dict(state["noise"])
        with torch.no_grad():
            for p, value in zip(self.parameters, state["parameters"], strict=True):
                p.copy_(value)
            for a, value in zip(self.weights.average, state["average"], strict=True):
                a.copy_(value)
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        self.rng.bit_generator.state = json.loads(state["rng"])
        self.record = TrainingRecord(**state["record"])
        self.record.resumed += 1
        self._best, self._stale, self._skipped = state["stopping"]


def check_not_collapsed(record: TrainingRecord) -> None:
    """Raise where the latents carry nothing after training (posterior collapse).

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
