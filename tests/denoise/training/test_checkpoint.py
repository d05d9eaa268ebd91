import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import divseg
from divseg.denoise import NetworkConfig, TrainSettings
from divseg.denoise.training.checkpoint import CHECKPOINT, LOG
from divseg.errors import ConfigError, ModelError

SMALL = NetworkConfig(filters=8, latents=8)
QUICK = TrainSettings(batch=4, patch=32, report_every=5, validate_every=10, checkpoint_every=20)


def images():
    rng = np.random.default_rng(0)
    return [(100 + rng.poisson(np.kron(rng.random((6, 7)) * 200, np.ones((8, 8))))).astype(np.uint16) for _ in range(3)]


class Killed(Exception):
    pass


def fit(folder, *, resume=False, die_at=None, settings=QUICK, **options):
    def progress(row):
        if die_at is not None and row["step"] >= die_at:
            raise Killed

    chosen = {"noise": "learned", "train_steps": 60, "seed": 0} | options
    chosen |= {"settings": settings, "progress": progress, "checkpoints": folder, "resume": resume}
    return divseg.DivNoising.fit(images(), device="cpu", network=SMALL, **chosen)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    with pytest.raises(Killed):
        fit(folder, die_at=50)
    return folder


def test_goes_on_bit_for_bit(killed, tmp_path):
    state = (killed / CHECKPOINT).read_bytes()
    assert len((killed / LOG).read_text().splitlines()) == 9  # reports up to step 40, where the checkpoint is
    whole, resumed = fit(tmp_path / "whole"), fit(killed, resume=True)
    assert (killed / CHECKPOINT).read_bytes() != state  # it went on writing
    for a, b in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert whole.noise.to_dict() == resumed.noise.to_dict()
    timeless = [{k: v for k, v in row.items() if k != "seconds"} for row in whole.history]
    assert timeless == [{k: v for k, v in row.items() if k != "seconds"} for row in resumed.history]
    assert (whole.training["resumed"], resumed.training["resumed"]) == (0, 1)
    assert whole.training["loss"] == resumed.training["loss"]
    resumed.save(killed)
    assert sorted(p.name for p in killed.iterdir()) == ["README.md", "config.json", LOG, "weights.pt"]
    rows = [json.loads(line) for line in (killed / LOG).read_text().splitlines()]
    assert rows == resumed.history
    (killed / CHECKPOINT).write_bytes(state)  # as it was, for the other tests


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"train_steps": 70}, "train_steps was 60 and is 70"),
        ({"noise": "gaussian,std=20"}, "noise"),
        ({"settings": replace(QUICK, batch=5)}, "settings"),
    ],
)
def test_another_run_is_refused(killed, change, message):
    with pytest.raises(ConfigError, match=message):
        fit(killed, resume=True, **change)


def test_nothing_to_go_on_from(tmp_path):
    with pytest.raises(ModelError, match="nothing to resume"):
        fit(tmp_path, resume=True)
    (tmp_path / CHECKPOINT).write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="damaged"):
        fit(tmp_path, resume=True)
    with pytest.raises(ConfigError, match="checkpoints="):
        fit(None, resume=True)
