import numpy as np
import pytest
import tifffile
import torch

from divseg import DivNoising, noise
from divseg.denoise.noise import Gaussian, GaussianMixture, Histogram, PoissonGaussian
from divseg.errors import ConfigError, ModelError
from divseg.workflow.noise_model import bootstrap_noise, measure_noise, noise_view, show_noise


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Calibration frames, noisy and blurred images of a camera with variance 3 (s - 50)."""
    folder = tmp_path_factory.mktemp("camera")
    y, x = np.mgrid[:220, :260]
    signal = 70 + 900 / (1 + np.exp((np.hypot(y - 110, x - 130) - 70) / 12))
    for name, count in (("calibration", 1), ("noisy", 3)):
        (folder / name).mkdir()
        for i in range(count):
            rng = np.random.default_rng([i, count])
            frame = 50 + 3.0 * rng.poisson((signal - 50) / 3.0)
            tifffile.imwrite(folder / name / f"{name}{i}.tif", frame.astype(np.uint16))
    (folder / "clean").mkdir()
    for i in range(3):
        tifffile.imwrite(folder / "clean" / f"noisy{i}.tif", signal.astype(np.float32))
    return folder


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_measure_show_and_use(frames, tmp_path, suffix):
    out = tmp_path / f"camera{suffix}"
    kind = "mixture" if suffix == ".npz" else "poisson-gaussian"
    made = measure_noise(frames / "calibration", out, kind=kind)
    model, plots = show_noise(out)
    assert model.describe() == made.describe()
    assert [p.name for p in plots] == ["camera_transfer.png", "camera_likelihood.png"]
    assert all(p.parent == tmp_path for p in plots)
    assert float(model.variance(torch.tensor(500.0))) == pytest.approx(3 * 450, rel=0.05)

    images = np.stack([tifffile.imread(p) for p in sorted((frames / "noisy").glob("*.tif"))])
    trained = DivNoising.fit(images[:, :64, :64], noise=str(out), train_steps=3, device="cpu")
    trained.save(tmp_path / "model")
    again = DivNoising.load(tmp_path / "model", device="cpu").noise
    s = torch.linspace(80, 900, 9)
    assert torch.equal(again.variance(s), model.variance(s))
    assert not again.state_dict().keys() - model.state_dict().keys()


def test_bootstrap_folders(frames, tmp_path):
    model = bootstrap_noise(frames / "noisy", frames / "clean", tmp_path / "boot.json")
    assert model.a == pytest.approx(3.0, rel=0.05)
    assert noise.load(tmp_path / "boot.json").a == model.a


@pytest.mark.parametrize(
    "model",
    [
        Gaussian(5.0),
        PoissonGaussian(2.0, 9.0, low=0.0, high=300.0),
        GaussianMixture([[0.0, 0.0], [5.0, 6.0], [0.0, 0.0]], min_signal=0, max_signal=200, min_sigma=1),
        Histogram(np.eye(20) + np.eye(20, k=1) + np.eye(20, k=-1), low=0, high=100),
    ],
    ids=lambda m: m.kind,
)
def test_view_of_a_model_without_fit_data(model):
    ceiling = model.signal_range()[1]
    view = noise_view(model.with_limits(0, ceiling))
    assert len(view.level) == 0
    assert len(view.slices) == 4
    s = torch.from_numpy(view.signal).float()
    np.testing.assert_allclose(view.variance, model.variance(s).numpy(), rtol=1e-5)
    for part in view.slices:
        assert (part.x > 0).all()
        assert (part.x < ceiling).all()
        assert np.isfinite(part.model).all()


def test_mistakes(frames, tmp_path):
    with pytest.raises(ConfigError, match=r"written as \.json"):
        measure_noise(frames / "calibration", tmp_path / "noise.txt")
    with pytest.raises(ConfigError, match=r"unknown kind of noise model .normal. .known: poisson"):
        measure_noise(frames / "calibration", tmp_path / "noise.json", kind="normal")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ModelError, match="there is no noise model file"):
        show_noise(tmp_path / "absent.npz")


def test_a_missing_file_stops_a_run_before_it_starts(frames, tmp_path):
    from divseg.workflow.run import run

    with pytest.raises(ModelError, match="there is no noise model file"):
        run(frames / "noisy", tmp_path / "out", noise=str(tmp_path / "absent.npz"), train_steps=2)
    assert not (tmp_path / "out").exists()
