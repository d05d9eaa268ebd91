import io
import json
import zipfile

import numpy as np
import pytest
import torch

from divseg import noise
from divseg.denoise.noise import Gaussian, GaussianMixture, Histogram, PoissonGaussian
from divseg.errors import ConfigError, ModelError


def mixture():
    table = np.random.default_rng(0).normal(0, 1, (9, 2)).astype(np.float32)
    table[3:6] += 7
    return GaussianMixture(table, min_signal=234.0, max_signal=7402.0, min_sigma=50.0)


def histogram():
    rng = np.random.default_rng(0)
    s = rng.uniform(100, 500, 100_000)
    counts = np.histogram2d(s, s + rng.normal(0, 20, s.size), bins=64, range=[(0, 600)] * 2)[0]
    return Histogram(counts, low=0, high=600)


def measured():
    y, x = np.mgrid[:200, :240]
    signal = 100 + 400 * np.exp(-(((y - 100) / 60) ** 2) - ((x - 120) / 60) ** 2)
    return noise.measure(signal + np.random.default_rng(0).normal(0, 1, signal.shape) * np.sqrt(signal))


MODELS = {
    "gaussian": lambda: Gaussian(12.5),
    "line": lambda: PoissonGaussian(2.0, -150.0, low=100.0, high=300.0, min_variance=40.0),
    "co-learned": lambda: PoissonGaussian(2.0, 9.0, low=0.0, high=300.0, trainable=True).with_prior(7.0),
    "mixture": mixture,
    "histogram": histogram,
    "measured": measured,
}


def grid(model):
    low, high = model.signal_range()
    s = torch.linspace(low, high, 41)[:, None]
    return s + model.variance(s).detach().sqrt() * torch.linspace(-3, 3, 21), s.expand(41, 21)


@pytest.mark.parametrize("name", MODELS)
def test_json_keeps_everything(name, tmp_path):
    model = MODELS[name]().with_limits(0, 65535)
    again = noise.load(model.save(tmp_path / "noise.json"))
    x, s = grid(model)
    assert type(again) is type(model)
    assert torch.equal(again.log_prob(x, s), model.log_prob(x, s))
    assert again.to_dict() == model.to_dict()
    assert again.fit_data == model.fit_data
    assert (again.floor, again.ceiling) == (0, 65535)


@pytest.mark.parametrize("name", MODELS)
def test_npz_keeps_the_likelihood(name, tmp_path):
    model = MODELS[name]().with_limits(None, 65535)
    again = noise.load(model.save(tmp_path / "noise.npz"))
    x, s = grid(model)
    torch.testing.assert_close(again.log_prob(x, s), model.log_prob(x, s).detach(), rtol=1e-4, atol=1e-3)
    assert again.ceiling == 65535
    assert again.fit_data == model.fit_data


def test_npz_of_a_mixture_is_that_of_the_other_programs(tmp_path):
    """Written with NumPy as DivNoising and CAREamics do, and read from ours by the keys that they use."""
    model = mixture()
    theirs = tmp_path / "theirs.npz"
    np.savez(
        theirs,
        trained_weight=model.weight.numpy(),
        min_signal=np.array([234.0]),
        max_signal=np.array([7402.0]),
        min_sigma=50.0,
    )
    x, s = grid(model)
    assert torch.equal(noise.load(theirs).log_prob(x, s), model.log_prob(x, s))
    with np.load(model.save(tmp_path / "ours.npz"), allow_pickle=False) as file:
        assert torch.equal(torch.tensor(file["trained_weight"]), model.weight)
        assert float(torch.tensor(file["min_signal"])) == 234.0
        assert float(torch.tensor(file["max_signal"])) == 7402.0
        assert float(torch.tensor(file["min_sigma"])) == 50.0


def test_npz_of_the_first_pn2v_has_its_built_in_floor(tmp_path):
    model = mixture()
    path = tmp_path / "pn2v.npz"
    np.savez(path, trained_weight=model.weight.numpy(), min_signal=[234.0], max_signal=[7402.0])
    assert noise.load(path).min_sigma == 50.0


def test_histogram_is_that_of_pn2v(tmp_path):
    model = histogram()
    path = model.save(tmp_path / "hist.npy")
    theirs = np.load(path)
    assert theirs.shape == (3, 64, 64)
    np.testing.assert_allclose(theirs[0].sum(1), 1.0, rtol=1e-6)
    edges = np.linspace(0, 600, 65)
    np.testing.assert_allclose(theirs[1][:, 0], edges[:-1])
    np.testing.assert_allclose(theirs[2][:, 5], edges[1:])
    x, s = grid(model)
    assert torch.equal(noise.load(path).log_prob(x, s), model.log_prob(x, s))
    np.savez(tmp_path / "hist.npz", theirs)  # whatever the key
    assert torch.equal(noise.load(tmp_path / "hist.npz").table, model.table)


def test_npz_keeps_the_outliers_of_a_histogram(tmp_path):
    model = Histogram(histogram().table.numpy(), low=0, high=600, outliers=0.25)
    assert noise.load(model.save(tmp_path / "noise.npz")).outliers == 0.25


def test_errors_for_what_cannot_be_written(tmp_path):
    with pytest.raises(ConfigError, match=r"\.json, \.npz, \.npy"):
        Gaussian(1.0).save(tmp_path / "noise.txt")
    with pytest.raises(ConfigError, match="holds noise histograms"):
        Gaussian(1.0).save(tmp_path / "noise.npy")
    falling = PoissonGaussian(-1.0, 500.0, low=0.0, high=100.0)
    with pytest.raises(ConfigError, match="falls with the signal"):
        falling.save(tmp_path / "noise.npz")


def damaged(tmp_path):
    npz = tmp_path / "good.npz"
    mixture().save(npz)
    whole = npz.read_bytes()
    text = io.BytesIO()
    np.savez(text, other=np.zeros(3))
    objects = io.BytesIO()
    np.save(objects, np.array([{}], dtype=object), allow_pickle=True)
    array = io.BytesIO()
    np.save(array, np.zeros((3, 4)))
    shape = io.BytesIO()
    np.savez(shape, trained_weight=np.zeros((4, 2)), min_signal=0, max_signal=1, min_sigma=1)
    good = json.loads(Gaussian(1.0).save(tmp_path / "good.json").read_text())
    return {
        "half.npz": (whole[: len(whole) // 2], "damaged"),
        "no.npz": (b"no zip file", "damaged or not a noise model"),
        "keys.npz": (text.getvalue(), "neither key"),
        "shape.npz": (shape.getvalue(), "shape"),
        "other.npy": (array.getvalue(), "shape"),
        "array.npz": (array.getvalue(), "shape"),
        "pickle.npy": (objects.getvalue(), "damaged"),
        "no.json": (b"{", "damaged"),
        "list.json": (b"[]", "not hold a noise model"),
        "new.json": (json.dumps({**good, "format": 99}).encode(), "update divseg"),
        "kind.json": (json.dumps({**good, "noise": {"kind": "cauchy"}}).encode(), "unknown noise model kind"),
        "std.json": (json.dumps({**good, "noise": {"kind": "gaussian", "std": -3}}).encode(), "above 0"),
        "fit_data.json": (json.dumps({**good, "fit_data": {}}).encode(), "damaged fit data"),
        "noise.txt": (b"", "ends in .json"),
    }


def test_damaged_files(tmp_path):
    for name, (content, message) in damaged(tmp_path).items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ModelError, match=message) as caught:
            noise.load(path)
        assert str(path) in str(caught.value)
    with pytest.raises(ModelError, match="there is no noise model file"):
        noise.load(tmp_path / "absent.json")


def test_files_hold_no_pickle(tmp_path):
    path = measured().save(tmp_path / "noise.npz")
    with zipfile.ZipFile(path) as file:
        for member in file.namelist():
            np.load(io.BytesIO(file.read(member)), allow_pickle=False)
