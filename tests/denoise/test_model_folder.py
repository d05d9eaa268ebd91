"""What a model folder holds, and what is said of one that is damaged."""

import json

import numpy as np
import pytest
import torch

import divseg
from divseg.denoise import FlatConfig, TrainSettings
from divseg.denoise.model_folder import check_model_folder, load_parts
from divseg.errors import ModelError, OutputError


def image():
    rng = np.random.default_rng(0)
    clean = np.kron(np.where(rng.random((6, 7)) < 0.4, 160.0, 40.0), np.ones((8, 8)))
    return (100 + rng.poisson(clean * 0.3) * 2 + rng.normal(0, 3, clean.shape)).astype(np.uint16)


@pytest.fixture(scope="module")
def model():
    settings = TrainSettings(batch=4, patch=32, report_every=5, validate_every=10)
    return divseg.DivNoising.fit(
        image(), train_steps=60, device="cpu", network=FlatConfig(filters=8, latents=8), settings=settings
    )


def test_save_and_load(model, tmp_path):
    folder = model.save(tmp_path / "model")
    assert {p.name for p in folder.iterdir()} == {"config.json", "weights.pt", "README.md", "training.jsonl"}
    again = divseg.DivNoising.load(folder, device="cpu")
    a = torch.cat(list(model.sample(image(), n=2)))
    b = torch.cat(list(again.sample(image(), n=2)))
    assert torch.equal(a, b)
    assert again.training["steps"] == 60
    assert again.history == model.history
    assert again.noise.to_dict() == model.noise.to_dict()
    assert "Prakash" in (folder / "README.md").read_text()
    model.save(folder)  # over a model is fine
    config = json.loads((folder / "config.json").read_text())
    assert (config["mean"], config["std"]) == (model.mean, model.std)
    assert {"python", "torch", "divseg"} <= config["versions"].keys()


def test_the_parts_are_those_of_the_model(model, tmp_path):
    parts = load_parts(model.save(tmp_path / "m"))
    assert parts.normalization == model.normalization
    assert parts.training == model.training
    assert parts.network.config == model.network.config
    with pytest.raises(AttributeError):
        parts.noise = None


def test_remains_of_a_killed_process_are_not_in_the_way(tmp_path):
    (tmp_path / ".checkpoint.pt.0123abcd.part").write_bytes(b"half")
    assert check_model_folder(tmp_path) == tmp_path


def test_saving_over_something_else_is_refused(model, tmp_path):
    (tmp_path / "precious.txt").write_text("x")
    with pytest.raises(OutputError, match="no divseg model"):
        model.save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize(
    "damage", ["no folder", "no weights", "no config", "bad json", "bad weights", "bad log", "newer", "noise"]
)
def test_damaged_model_folders(model, tmp_path, damage):
    folder = model.save(tmp_path / "m")
    config, weights = folder / "config.json", folder / "weights.pt"
    text = config.read_text()
    match damage:
        case "no folder":
            folder = tmp_path / "nowhere"
        case "no weights":
            weights.unlink()
        case "no config":
            config.unlink()
        case "bad json":
            config.write_text(text[:100])
        case "bad weights":
            weights.write_bytes(weights.read_bytes()[:-200])
        case "bad log":
            with (folder / "training.jsonl").open("a") as log:
                log.write('{"step": 3')
        case "newer":
            config.write_text(text.replace('"format": 2', '"format": 99'))
        case "noise":
            config.write_text(text.replace("poisson-gaussian", "histogram"))
    with pytest.raises(ModelError, match="model") as caught:
        divseg.DivNoising.load(folder)
    assert "\n" not in str(caught.value)
