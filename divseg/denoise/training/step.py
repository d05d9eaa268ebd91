"""One step of training as a function of tensors on the device: nothing in it waits for the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from divseg.denoise.networks.base import LAYOUT, LatentNet
from divseg.denoise.noise import NoiseModel
from divseg.denoise.precision import autocast
from divseg.denoise.training.data import TrainingData
from divseg.denoise.training.elbo import Elbo, Network, active_latents, elbo_terms, weighted_kl
from divseg.denoise.training.schedule import EMA, ema_weight, kl_weight, learning_rate, noise_rate
from divseg.denoise.training.settings import StepSize, TrainSettings

AHEAD = 50
"""Steps whose crops are drawn and copied to the device at once."""


@dataclass(frozen=True)
class Figures:
    """What training is judged by: figures of the last good step, and how many steps were skipped."""

    loss: float
    nll: float
    kl: float
    active: float
    """Number of active latents; like the others not a number before the first good step."""
    skipped: int
    """Steps since the start whose gradient was not a number."""
    streak: int
    """Such steps in a row, up to the last one."""


class TrainStep:
    """The state of training on the device, and a step that changes it in place.

    A step reads and writes tensors that stay where they are, and nothing in it depends on their values but through
    other tensors: :meth:`advance` may be called, or be recorded once and replayed. What differs from step to step
    (rates, weights of the loss, crops) is written into tensors before it (:meth:`prepare`). A step whose gradient is
    not a number leaves weights, moments and averages as they are, and is counted.

    Parameters
    ----------
    network, noise : LatentNet, NoiseModel
        On the device.
    forward : callable
        The network, or the same compiled.
    data : TrainingData
        With its pixels on the device.
    settings : TrainSettings
        Schedules, choice of crops and clipping.
    size : StepSize
        Crops in a step, and the optimizer's rates.
    dtype : torch.dtype
        Number format of the convolutions.
    seed : int
        Seed of crops and latent noise.
    """

    def __init__(
        self,
        network: LatentNet,
        noise: NoiseModel,
        forward: Network,
        data: TrainingData,
        settings: TrainSettings,
        size: StepSize,
        *,
        dtype: torch.dtype,
        seed: int,
    ) -> None:
        self.network, self.noise, self.forward, self.data = network, noise, forward, data
        self.settings, self.size, self.dtype, self.seed = settings, size, dtype, seed
        self.device = device = next(network.parameters()).device
        self.generator = torch.Generator(device).manual_seed(seed)
        groups = [[p for p in module.parameters() if p.requires_grad] for module in (network, noise)]
        self.parameters = [p for group in groups for p in group]
        self.ema = EMA(self.parameters)
        self.rates = [torch.zeros((), device=device) for _ in groups]
        self.beta, self.balanced, self.ema_weight = (torch.zeros((), device=device) for _ in range(3))
        self.optimizer = torch.optim.Adam(
            [{"params": group, "lr": rate} for group, rate in zip(groups, self.rates, strict=True) if group],
            betas=size.betas,
            eps=size.eps,
            fused=True,
            capturable=device.type == "cuda",
        )
        self.figures = torch.full((4,), torch.nan, device=device)
        self.skipped, self.streak = torch.zeros(1, device=device), torch.zeros(1, device=device)
        rows = data.plan(1, size.batch, np.random.default_rng(0), settings.structure_sampling)
        self._plan = rows.to(device).repeat(AHEAD, 1, 1)
        self._place = torch.zeros(1, dtype=torch.int64, device=device)
        self._planned = -1

    def prepare(self, step: int, progress: float) -> tuple[float, float]:
        """Write what the next step needs into its tensors; return learning rate and KL weight.

        Parameters
        ----------
        step : int
            Number of the step, from 0.
        progress : float
            Fraction of training that is over, 0 to 1.
        """
        s, size = self.settings, self.size
        rate = learning_rate(size.learning_rate, progress, step, size.warmup_steps)
        beta = kl_weight(progress, s.kl_warmup)
        for tensor, factor in zip(self.rates, (1.0, noise_rate(progress, s.noise_start)), strict=True):
            tensor.fill_(rate * factor)
        self.beta.fill_(beta)
        self.balanced.fill_(float(progress < s.kl_balancing))
        self.ema_weight.fill_(ema_weight(size.ema_decay, step + 1))
        if step // AHEAD != self._planned:
            self._planned = step // AHEAD
            # the crops of a step depend on its number alone, so that training that goes on sees the same
            rng = np.random.default_rng([self.seed, 0, self._planned])
            plan = self.data.plan(AHEAD, size.batch, rng, s.structure_sampling)
            self._plan.copy_(plan.pin_memory() if self.device.type == "cuda" else plan, non_blocking=True)
            self._place.fill_(step % AHEAD)
        return rate, beta

    def advance(self) -> None:
        """Take the step: crops, loss, gradient, weights, average, figures."""
        s = self.settings
        rows = self._plan.index_select(0, self._place).squeeze(0)
        self._place.add_(1)
        x = self.data.cut(rows, self.size.batch, s.structure_sampling)
        terms = self.terms(x, self.network.noise_for(x, self.generator))
        nll, grid_kl = terms.nll.mean(), terms.grid_kl.mean(0)
        loss = nll + self.beta * weighted_kl(grid_kl, self.balanced) + self.noise.penalty()
        for p in self.parameters:
            p.grad = None
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, s.clip, foreach=True)
        with torch.no_grad():
            good = norm.isfinite()
            kl = grid_kl.sum()
            figures = torch.stack([nll + kl, nll, kl, active_latents(terms.per_latent).float()])
            self.figures.copy_(torch.where(good, figures, self.figures))
            bad = good.logical_not().float()
            self.skipped.add_(bad)
            self.streak.add_(bad).mul_(bad)
            self._update(bad)

    def _update(self, bad: Tensor) -> None:
        """Move weights and averages, unless `bad` is 1."""
        if self.device.type == "mps" and bad.item():  # Adam there does not know found_inf
            return
        self.optimizer.found_inf = bad  # type: ignore[attr-defined]  # the optimizer looks whether it is there
        self.optimizer.step()
        self.ema.update(self.ema_weight * (1.0 - bad))

    def terms(self, x: Tensor, eps: Sequence[Tensor]) -> Elbo:
        """Return the terms of the loss of normalized crops (B, C, *sides) with latent noise."""
        x = x.contiguous(memory_format=LAYOUT[self.data.dims])
        with autocast(self.device, self.dtype):
            return elbo_terms(self.forward, self.noise, x, self.data.units, eps)

    def fetch(self, *others: Tensor) -> tuple[Figures, list[float]]:
        """Wait for the device and return the figures, and the values of other tensors on it, with one copy."""
        every = torch.cat([*self._counted, *(o.reshape(-1).float() for o in others)])
        loss, nll, kl, active, skipped, streak, *rest = every.to("cpu", copy=True).tolist()
        return Figures(loss, nll, kl, active, int(skipped), int(streak)), rest

    def state_dict(self) -> dict[str, Any]:
        """Return the state between two steps as tensors, numbers, lists and dicts."""
        return {
            "parameters": [p.detach().cpu() for p in self.parameters],
            "ema": self.ema.average.cpu(),
            "noise": {name: value.detach().cpu() for name, value in self.noise.state_dict().items()},
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "figures": [t.cpu() for t in self._counted],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of :meth:`state_dict`; before the first step, since the optimizer's moments move."""
        self.noise.load_state_dict(state["noise"])
        own = [*self.parameters, self.ema.average, *self._counted]
        with torch.no_grad():
            for tensor, value in zip(own, [*state["parameters"], state["ema"], *state["figures"]], strict=True):
                tensor.copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=False):
            group["lr"] = rate
        self.generator.set_state(state["generator"])

    @property
    def _counted(self) -> tuple[Tensor, ...]:
        return self.figures, self.skipped, self.streak
