"""Latents that carry nothing: a failure where there was something to carry, right where there was nothing."""

import numpy as np
import pytest

from divseg import DivNoising
from divseg.denoise.training import train, trainer
from divseg.errors import TrainingError


@pytest.fixture
def everything_has_collapsed(monkeypatch):
    """Latents count as collapsed after a training that is far too short for it."""
    for module in (train, trainer):
        monkeypatch.setattr(module, "COLLAPSED_KL", 1e3)


def fit(signal):
    rng = np.random.default_rng(0)
    images = [(100 + signal + rng.normal(0, 12, (96, 96))).astype(np.float32) for _ in range(3)]
    model = DivNoising.fit(
        images, noise="gaussian,std=12", network="flat,filters=4,latents=4", train_steps=2, device="cpu"
    )
    return model.training


def test_noise_alone_is_no_failure(everything_has_collapsed):
    training = fit(0.0)
    assert training["only_noise"]
    assert training["shortfalls"] == []


def test_cells_that_are_lost_are_a_failure(everything_has_collapsed):
    with pytest.raises(TrainingError, match="training collapsed"):
        fit(np.kron(np.eye(4), np.full((24, 24), 40.0)))


def test_noise_that_the_latents_carry_is_told_as_any_training():
    training = fit(0.0)
    assert not training["only_noise"]
    assert training["shortfalls"]
