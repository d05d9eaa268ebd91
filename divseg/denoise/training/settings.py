"""Settings of training, and the record of what it did."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from divseg.errors import ConfigError

BATCH = {"cuda": 32}
"""Crops in a step, by kind of device; of others as many as the settings were chosen with. On an H100 the hierarchical
network takes 530, 350, 310, 280 steps a second with 4, 16, 32, 64 crops."""
TUNED_BATCH, TUNED_RATE, TUNED_WARMUP = 4, 3e-3, 100
"""Crops in a step, peak of the learning rate, and steps of its rise, with which all settings were chosen."""
LARGEST_RATIO = 2.0
"""Largest multiple of the tuned batch that the rates follow: with four times the loss rises now and then, with eight
times a hundredfold in the first steps."""


@dataclass(frozen=True)
class StepSize:
    """Crops in a step, and the rates that go with their number."""

    batch: int
    learning_rate: float
    """Peak of the learning rate."""
    warmup_steps: int
    """Steps over which the learning rate rises."""
    betas: tuple[float, float]
    """Decay of Adam's moments."""
    eps: float
    ema_decay: float
    """Decay of the moving average of the weights."""


@dataclass(frozen=True)
class TrainSettings:
    """Settings of training; the defaults are what trains best on two CPU cores."""

    batch: int | None = None
    """Crops in a step; where it is absent 4, and 32 on a CUDA GPU, which would wait for its host otherwise."""
    patch: int = 64
    """Side of the crops in pixels; of volumes half of it along Y and X, a quarter along Z."""
    structure_sampling: float = 0.5
    """Fraction of a batch's crops that are chosen for the structure in them."""
    learning_rate: float | None = None
    """Peak of the learning rate; where it is absent 3e-3 for 4 crops, growing with the square root of their number."""
    kl_warmup: float = 0.3
    """Fraction of training over which the weight of the KL term rises to 1."""
    kl_balancing: float = 0.5
    """Fraction of training over which the KL term of a hierarchical network is balanced between its grids."""
    noise_start: float = 0.5
    """Fraction of training before co-learned noise parameters begin to move: while the network still misses
    structure, they would take it for noise."""
    ema_decay: float = 0.998
    """Decay, in a step of 4 crops, of the exponential moving average of the weights, which is the model that training
    leaves; more crops forget faster (:meth:`step_size`)."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    precision: str = "auto"
    """Number format of the convolutions: auto, fp32 or bf16."""
    compile: bool = False
    """Compile the network: pays off in long trainings; needs a C++ compiler (CPU) or Triton (GPU)."""
    validation_split: bool = True
    """Hold out a part of the images for validation, if they are many or large enough."""
    report_every: int = 25
    """Steps between lines of the training log."""
    validate_every: int = 250
    """Steps between validations."""
    checkpoint_every: int = 1000
    """Steps between checkpoints, if there is a folder for them; one is written every minute as well."""
    patience: int = 12
    """Validations without progress, once the KL weight is 1, after which training ends."""
    max_skipped: int = 20
    """Steps in a row with a loss that is not a number, after which training ends with an error."""

    def __post_init__(self) -> None:
        for name in ("batch", "patch", "report_every", "validate_every", "checkpoint_every", "patience"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"training setting {name}={value!r} must be at least 1")
        rate = self.learning_rate
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            raise ConfigError(f"training setting learning_rate={rate!r} must be above 0")
        for name in ("structure_sampling", "kl_balancing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"training setting {name}={getattr(self, name)!r} must lie between 0 and 1")

    def step_size(self, device: str) -> StepSize:
        """Return crops and rates of a step on a kind of device, ``"cpu"``, ``"cuda"`` or ``"mps"``.

        The number of crops stands in a table: one that was found by timing would not be the same twice, nor would the
        model be. With k times as many crops as the settings were found with, the learning rate grows with the square
        root of k, and Adam forgets k times as much in a step, so that its moments hold as many crops as before (Malladi
        et al., "On the SDEs and scaling rules for adaptive gradient algorithms", NeurIPS 2022, definition 5). The same
        holds for the moving average of the weights (Busbridge et al., "How to scale your EMA", NeurIPS 2023) and for
        the steps in which the learning rate rises.
        """
        batch = BATCH.get(device, TUNED_BATCH) if self.batch is None else self.batch
        k = min(batch / TUNED_BATCH, LARGEST_RATIO)
        rate = TUNED_RATE * math.sqrt(k) if self.learning_rate is None else self.learning_rate
        return StepSize(
            batch=batch,
            learning_rate=rate,
            warmup_steps=max(1, round(TUNED_WARMUP / k)),
            betas=(1.0 - 0.1 * k, 1.0 - 0.001 * k),
            eps=1e-8 / math.sqrt(k),
            ema_decay=self.ema_decay**k,
        )


@dataclass
class TrainingRecord:
    """What training did: for the model card, the report and the user."""

    steps: int = 0
    seconds: float = 0.0
    megapixels: float = 0.0
    stopped: str = ""
    kl_per_pixel: float = math.nan
    grid_kl: list[float] = field(default_factory=list)
    """KL of each latent grid in nats per pixel on crops that were trained on, finest first."""
    loss: float = math.nan
    """Negative evidence lower bound in nats per pixel on the validation crops."""
    train_loss: float = math.nan
    """Loss on crops that were trained on."""
    validation: str = ""
    """Source of the validation crops: held-out images, held-out corners, or training crops."""
    loss_range: list[float] = field(default_factory=list)
    """1st, 50th and 99th percentile of the loss over crops of the training images."""
    shortfalls: list[str] = field(default_factory=list)
    """What speaks against the training having converged, in words."""
    only_noise: bool = False
    """Whether the latents carry nothing, and the images hold nothing but noise as far as can be told."""
    active_latents: int = 0
    skipped_steps: int = 0
    resumed: int = 0
    """Times that training went on from a checkpoint."""
    batch: int = 0
    """Crops in a step."""
    learning_rate: float = math.nan
    """Peak of the learning rate."""
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
