import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

import divseg
from divseg.denoise import FlatConfig, TrainSettings
from divseg.denoise.noise import Gaussian
from divseg.denoise.training import trainer
from divseg.denoise.training.checkpoint import CHECKPOINT, LOG, SET_ASIDE
from divseg.denoise.training.trainer import Trainer
from divseg.errors import ConfigError, DivsegWarning, ModelError

SMALL = FlatConfig(filters=8, latents=8)
QUICK = TrainSettings(batch=4, patch=32, report_every=5, validate_every=10, checkpoint_every=20)


def images():
    rng = np.random.default_rng(0)
    return [(100 + rng.poisson(np.kron(rng.random((6, 7)) * 200, np.ones((8, 8))))).astype(np.uint16) for _ in range(3)]


class Killed(Exception):
    pass


def die():
    raise Killed


def interrupt():
    raise KeyboardInterrupt


def fit(folder, *, resume=False, at=None, event=None, settings=QUICK, **options):
    def progress(row):
        if at is not None and row["step"] >= at:
            event()

    chosen = {"noise": "learned", "train_steps": 60, "seed": 0} | options
    chosen |= {"settings": settings, "progress": progress, "checkpoints": folder, "resume": resume}
    return divseg.DivNoising.fit(images(), device="cpu", network=SMALL, **chosen)


def assert_same(a, b):
    """Bit for bit: weights, noise model and log, but for the seconds."""
    for p, q in zip(a.network.parameters(), b.network.parameters(), strict=True):
        assert torch.equal(p, q)
    assert a.noise.to_dict() == b.noise.to_dict()
    timeless = [[{k: v for k, v in row.items() if k != "seconds"} for row in model.history] for model in (a, b)]
    assert timeless[0] == timeless[1]


@pytest.fixture(scope="module")
def whole():
    return fit(None)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    with pytest.raises(Killed):
        fit(folder, at=50, event=die)
    return folder


def test_goes_on_bit_for_bit(whole, killed):
    state = (killed / CHECKPOINT).read_bytes()
    assert len((killed / LOG).read_text().splitlines()) == 9  # reports up to step 40, that of the checkpoint
    resumed = fit(killed, resume=True)
    assert (killed / CHECKPOINT).read_bytes() != state  # it went on writing
    assert_same(whole, resumed)
    assert (whole.training["resumed"], resumed.training["resumed"]) == (0, 1)
    assert whole.training["loss"] == resumed.training["loss"]
    (killed / f".{CHECKPOINT}.0123abcd.part").write_bytes(b"what a killed process leaves")
    resumed.save(killed)
    assert sorted(p.name for p in killed.iterdir()) == ["README.md", "config.json", LOG, "weights.pt"]
    rows = [json.loads(line) for line in (killed / LOG).read_text().splitlines()]
    assert rows == resumed.history
    (killed / CHECKPOINT).write_bytes(state)  # as it was, for the other tests


OTHER_RUNS = [
    ({"seed": 1}, "seed was 0 and is 1"),
    ({"train_steps": 70}, "train_steps was 60 and is 70"),
    ({"noise": "gaussian,std=20"}, "noise was"),
    ({"settings": replace(QUICK, batch=5)}, "settings"),
]


@pytest.mark.parametrize(("change", "message"), OTHER_RUNS)
def test_another_run_is_refused(killed, change, message):
    with pytest.raises(ConfigError, match=message):
        fit(killed, resume=True, **change)


def test_a_noise_of_another_strength_is_another_run(tmp_path):
    with pytest.raises(Killed):
        fit(tmp_path, at=25, event=die, noise=Gaussian(20.0))
    with pytest.raises(ConfigError, match="noise was"):
        fit(tmp_path, resume=True, noise=Gaussian(20.0 + 1e-6))


def test_nothing_to_go_on_from(tmp_path):
    with pytest.raises(ModelError, match="nothing to resume"):
        fit(tmp_path, resume=True)
    (tmp_path / CHECKPOINT).write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="damaged"):
        fit(tmp_path, resume=True)
    for resume in (True, "auto"):
        with pytest.raises(ConfigError, match="checkpoints="):
            fit(None, resume=resume)


def test_auto_begins_anew_without_a_checkpoint_and_goes_on_with_one(whole, tmp_path):
    with pytest.raises(Killed):
        fit(tmp_path, resume="auto", at=50, event=die)
    resumed = fit(tmp_path, resume="auto")
    assert resumed.training["resumed"] == 1
    assert_same(whole, resumed)


def flipped(data):
    """One bit of a weight is wrong, which torch.load does not notice."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", [flipped, lambda data: data[:-100], lambda data: b"", lambda data: b"nonsense"])
def test_auto_sets_a_damaged_checkpoint_aside(whole, killed, tmp_path, damage):
    content = damage((killed / CHECKPOINT).read_bytes())
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.warns(DivsegWarning, match=f"damaged.*{SET_ASIDE}.*begins anew"):
        model = fit(tmp_path, resume="auto")
    assert model.training["resumed"] == 0
    assert_same(whole, model)
    assert (tmp_path / SET_ASIDE).read_bytes() == content


@pytest.mark.parametrize(("change", "message"), OTHER_RUNS)
def test_auto_sets_the_checkpoint_of_another_run_aside(killed, tmp_path, change, message):
    content = (killed / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.warns(DivsegWarning, match=f"{message}.*begins anew"), pytest.raises(Killed):
        fit(tmp_path, resume="auto", at=1, event=die, **change)
    assert (tmp_path / SET_ASIDE).read_bytes() == content
    assert not (tmp_path / CHECKPOINT).exists()


@pytest.mark.parametrize("event", [lambda: signal.raise_signal(signal.SIGINT), interrupt])
def test_an_interrupt_leaves_a_checkpoint_of_the_step_at_hand(whole, tmp_path, event):
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, at=15, event=event)
    assert json.loads((tmp_path / LOG).read_text().splitlines()[-1])["step"] == 15
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed = fit(tmp_path, resume="auto")
    assert resumed.training["resumed"] == 1
    assert_same(whole, resumed)


def test_an_interrupt_within_a_step_waits_for_its_end(whole, tmp_path, monkeypatch):
    step = torch.optim.Adam.step
    taken = []

    def interrupted(self, *args):
        taken.append(1)
        if len(taken) == 13:
            signal.raise_signal(signal.SIGINT)  # the gradient is there, the weights are not moved yet
        return step(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path)
    assert len(taken) == 13
    assert_same(whole, fit(tmp_path, resume="auto"))
    assert len(taken) == 60  # no step was taken twice


def test_an_interrupt_after_the_last_step_loses_nothing(whole, tmp_path, monkeypatch):
    rare = replace(QUICK, checkpoint_every=10**6)
    monkeypatch.setattr(Trainer, "_finish", lambda self: interrupt())
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, settings=rare)
    monkeypatch.undo()
    resumed = fit(tmp_path, resume=True, settings=rare)
    assert_same(whole, resumed)
    assert resumed.training["loss_range"] == whole.training["loss_range"]


def test_checkpoints_come_by_time_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(Killed):
        fit(tmp_path, at=10, event=die, settings=replace(QUICK, checkpoint_every=10**6))
    assert (tmp_path / CHECKPOINT).is_file()


@pytest.mark.slow
def test_killed_at_any_moment_the_model_is_the_same(whole, tmp_path):
    """kill -9 as soon as there is a checkpoint, then twice at any time, then no more."""
    code = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("checkpoints", {__file__!r})
checkpoints = importlib.util.module_from_spec(spec)
spec.loader.exec_module(checkpoints)
checkpoints.trainer.CHECKPOINT_SECONDS = 0.0
print("ready", flush=True)
checkpoints.fit({str(tmp_path)!r}, resume="auto").save({str(tmp_path)!r})
"""
    rng = np.random.default_rng()
    for attempt in range(4):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            if attempt == 0:
                while not (tmp_path / CHECKPOINT).exists():
                    time.sleep(0.001)
            elif attempt < 3:
                time.sleep(rng.uniform(0, 0.5))
            if attempt < 3:
                process.kill()
    assert process.returncode == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md", "config.json", LOG, "weights.pt"]
    assert_same(whole, divseg.DivNoising.load(tmp_path, device="cpu"))
