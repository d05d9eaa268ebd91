"""Training of the network on noisy images alone, by the evidence lower bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from divseg.denoise.data import TrainingData
from divseg.denoise.device import channels_last, training_dtype
from divseg.denoise.network import DivNoisingNet, kl_to_prior
from divseg.denoise.noise import NoiseModel
from divseg.denoise.schedule import Budget, kl_weight, learning_rate, noise_share
from divseg.errors import TrainingError

COLLAPSED_KL = 1e-3
"""Nats per pixel under which the latents carry nothing that a picture could be made of."""

MAX_SKIPPED = 20
"""Steps in a row with a loss that is no number after which training is given up."""

Progress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class TrainSettings:
    """Settings of the optimiser; the defaults are what trains best on two CPU cores."""

    batch: int = 8
    patch: int = 64
    learning_rate: float = 2e-3
    kl_warmup: float = 0.3
    """Share of training over which the weight of the KL term rises to 1."""
    noise_start: float = 0.5
    """Share of training before co-learned noise parameters begin to move: while the network still misses
    structure, they would take it for noise."""
    averaging: float = 0.998
    """Decay of the running average of the weights, which is the model that is kept."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    precision: str = "auto"
    report_every: int = 25
    validate_every: int = 250
    patience: int = 12
    """Validations without progress, once the KL weight is 1, after which the learning rate runs out."""


@dataclass
class TrainingRecord:
    """What training did: for the model card, the report and the user."""

    steps: int = 0
    seconds: float = 0.0
    megapixels: float = 0.0
    stopped: str = ""
    kl_per_pixel: float = math.nan
    loss: float = math.nan
    active_latents: int = 0
    skipped_steps: int = 0
    seed: int = 0
    device: str = ""
    precision: str = ""
    images: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the history."""
        data = asdict(self)
        del data["history"]
        return data


def elbo_terms(
    network: DivNoisingNet, noise: NoiseModel, x: Tensor, mean: float, sd: float, eps: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the two terms of the negative evidence lower bound, in nats per pixel.

    Prakash et al. (ICLR 2021), equation 7: the negative log-likelihood of the noisy pixels under the
    noise model (in normalised units), and the KL divergence of the latents' posterior to their prior.

    Parameters
    ----------
    network, noise : DivNoisingNet, NoiseModel
        The noise model works in intensity units.
    x : Tensor, shape (B, 1, Y, X)
        Normalised crops.
    mean, sd : float
        Normalisation: intensity = x * sd + mean.
    eps : Tensor, optional
        Noise of the latents.

    Returns
    -------
    nll, kl : Tensor, scalar
    per_latent : Tensor, shape (latents,)
        KL per latent channel and position: which channels are in use.
    """
    s, mu, logvar = network(x, eps)
    log_prob = noise.log_prob(x.float() * sd + mean, s.float() * sd + mean)
    nll = -log_prob.mean() - math.log(sd)
    kl = kl_to_prior(mu, logvar)
    return nll, kl.sum() / x.numel(), kl.detach().mean(dim=(0, 2, 3))


class Trainer:
    """One training run: state between steps and the loop over them."""

    def __init__(
        self,
        network: DivNoisingNet,
        noise: NoiseModel,
        data: TrainingData,
        *,
        budget: Budget,
        settings: TrainSettings,
        seed: int,
        device: torch.device,
    ) -> None:
        self.network = channels_last(network, device)
        self.noise = noise
        noise.as_module().to(device)
        self.data, self.budget, self.settings, self.device = data, budget, settings, device
        self.dtype = training_dtype(device, settings.precision)
        self.rng = np.random.default_rng([seed, 0])
        self.generator = torch.Generator(device).manual_seed(seed)
        groups = [[p for p in module.parameters() if p.requires_grad] for module in (network, noise.as_module())]
        self.parameters = [p for group in groups for p in group]
        self.optimiser = torch.optim.Adam([{"params": group} for group in groups if group])
        self.average = [p.detach().clone() for p in self.parameters]
        self.record = TrainingRecord(
            seed=seed,
            device=str(device),
            precision=str(self.dtype).removeprefix("torch."),
            images=len(data.images),
        )
        # the same crops and the same latent noise at every validation: what changes is the model
        check = np.random.default_rng([seed, 1])
        self._check_crops = data.batch(4 * settings.batch, check).to(device)
        self._check_eps = torch.randn(
            self._latent_shape(len(self._check_crops)), generator=self.generator, device=device
        )

    def _latent_shape(self, batch: int) -> tuple[int, ...]:
        side = self.data.patch // self.network.config.stride
        return batch, self.network.config.latents, side, side

    def _terms(self, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return elbo_terms(self.network, self.noise, x, self.data.mean, self.data.sd, eps)

    def step(self, progress: float) -> dict[str, float] | None:
        """Take one optimiser step; return its figures, or None where the loss was no number."""
        s = self.settings
        lr = learning_rate(s.learning_rate, progress, self.record.steps)
        for group, rate in zip(
            self.optimiser.param_groups, (lr, lr * noise_share(progress, s.noise_start)), strict=False
        ):
            group["lr"] = rate
        x = self.data.batch(s.batch, self.rng).to(self.device)
        eps = torch.randn(self._latent_shape(s.batch), generator=self.generator, device=self.device)
        nll, kl, per_latent = self._terms(x, eps)
        beta = kl_weight(progress, s.kl_warmup)
        loss = nll + beta * kl
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, s.clip)
        self.record.steps += 1
        self.record.megapixels += x.numel() / 1e6
        if not torch.isfinite(norm):
            return None
        self.optimiser.step()
        decay = min(s.averaging, self.record.steps / (self.record.steps + 10.0))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1.0 - decay)
        return {
            "loss": float((nll + kl).detach()),
            "nll": float(nll.detach()),
            "kl": float(kl.detach()),
            "beta": beta,
            "lr": lr,
            "active": int((per_latent > 1e-2).sum()),
        }

    def validate(self) -> tuple[float, float, int]:
        """Return loss, KL per pixel and latents in use of the averaged weights on the fixed crops."""
        with torch.no_grad(), self.averaged():
            terms = [
                self._terms(x, e)
                for x, e in zip(
                    self._check_crops.split(self.settings.batch),
                    self._check_eps.split(self.settings.batch),
                    strict=True,
                )
            ]
        nll = float(torch.stack([t[0] for t in terms]).mean())
        kl = float(torch.stack([t[1] for t in terms]).mean())
        active = int((torch.stack([t[2] for t in terms]).mean(0) > 1e-2).sum())
        return nll + kl, kl, active

    def averaged(self) -> _Swap:
        """Return a context in which the network holds its averaged weights."""
        return _Swap(self.parameters, self.average)

    def run(self, progress: Progress | None = None) -> TrainingRecord:
        """Train until the budget is used or nothing improves, and leave the averaged weights in place."""
        record, s = self.record, self.settings
        self.budget.start()
        self.network.train()
        best, stale, skipped = math.inf, 0, 0
        record.stopped = "budget used"
        while (share := self.budget.progress(record.steps)) < 1.0:
            figures = self.step(share)
            skipped = 0 if figures else skipped + 1
            record.skipped_steps += figures is None
            if skipped > MAX_SKIPPED:
                raise TrainingError(
                    f"training broke down at step {record.steps}: the loss was no number {skipped} times in a "
                    "row; lower the learning rate, or check the images for extreme values"
                )
            if figures and (record.steps % s.report_every == 0 or record.steps == 1):
                row = {"step": record.steps, "megapixels": record.megapixels, "seconds": self.budget.seconds}
                row |= figures
                if record.steps % s.validate_every == 0:
                    loss, _, _ = self.validate()
                    row["val_loss"] = loss
                    if share > s.kl_warmup:
                        stale = 0 if loss < best - 1e-4 else stale + 1
                        best = min(best, loss)
                record.history.append(row)
                if progress:
                    progress({**row, "progress": share})
                if stale >= s.patience:
                    record.stopped = "no more progress"
                    break
        self.averaged().keep()
        record.seconds = self.budget.seconds
        self.network.eval()
        loss, kl, record.active_latents = self.validate()
        record.loss, record.kl_per_pixel = round(loss, 5), round(kl, 7)
        if not math.isfinite(record.loss):
            raise TrainingError("training broke down: the loss of the final model is no number")
        return record


class _Swap:
    """Exchange parameters for their averages within a context, or for good."""

    def __init__(self, parameters: Sequence[Tensor], average: Sequence[Tensor]) -> None:
        self.parameters, self.average = parameters, average

    def keep(self) -> None:
        with torch.no_grad():
            for p, a in zip(self.parameters, self.average, strict=True):
                p.copy_(a)

    def _exchange(self) -> None:
        with torch.no_grad():
            for p, a in zip(self.parameters, self.average, strict=True):
                held = p.detach().clone()
                p.copy_(a)
                a.copy_(held)

    def __enter__(self) -> None:
        self._exchange()

    def __exit__(self, *_: object) -> None:
        self._exchange()


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
            "on more images, or state a smaller noise (--noise gaussian,sd=...)"
        )
