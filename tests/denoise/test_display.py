import base64
import re
import sys

import pytest

import divseg
from divseg.denoise import FlatConfig
from divseg.denoise.display import training_curve
from divseg.denoise.model_folder import ModelParts
from divseg.denoise.networks.registry import build_network
from divseg.denoise.noise import Gaussian
from divseg.denoise.normalization import Normalization

TRAINING = {"steps": 12, "seconds": 3.0, "device": "cpu", "loss": 1.5, "kl_per_pixel": 0.25}
HISTORY = [{"step": 1, "loss": 3.0}, {"step": 5, "loss": 2.0, "val_loss": 2.1}, {"step": 10, "loss": 1.5}]


@pytest.fixture
def model():
    network = build_network(FlatConfig(filters=4, latents=4))
    parts = ModelParts(network, Gaussian(20.0), Normalization((100.0,), (30.0,)), dict(TRAINING), list(HISTORY))
    return divseg.DivNoising(parts, device="cpu")


def test_one_line(model):
    line = repr(model)
    assert "\n" not in line
    for part in ("flat", "filters=4", f"{sum(p.numel() for p in model.network.parameters()):,} parameters", "12 steps"):
        assert part in line
    assert model.noise.describe() in line
    assert "no record" in repr(divseg.DivNoising(ModelParts(model.network, model.noise, model.normalization)))


def test_a_table_with_the_training_curve(model):
    page = model._repr_html_()
    for word in ("flat", "normalization", "mean 100; std 30", "12 steps", "0.2500"):
        assert word in page
    picture = base64.b64decode(re.search('base64,([^"]+)', page)[1])
    assert picture.startswith(b"\x89PNG")
    model.noise.describe = lambda: "<script>"
    assert "<script>" not in model._repr_html_()


def test_without_matplotlib_or_log_there_is_the_table_alone(model, monkeypatch):
    assert training_curve([]) is None
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    page = model._repr_html_()
    assert "<table>" in page
    assert "<img" not in page
