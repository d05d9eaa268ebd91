import warnings

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi

from divseg import noise
from divseg.errors import ConfigError, DivsegWarning, InputError

GAIN, OFFSET, READ = 4.0, 100.0, 6.0


def truth(s):
    return GAIN * (s - OFFSET) + READ**2


def camera(signal, seed=0):
    """A noisy frame: photons with a gain and an offset, and reading noise; float."""
    rng = np.random.default_rng(seed)
    photons = (np.asarray(signal) - OFFSET) / GAIN
    return OFFSET + GAIN * rng.poisson(photons) + rng.normal(0, READ, np.shape(signal))


def ramp(shape=(600, 700)):
    """A smooth spot of light from dark to bright."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    r = np.hypot(y - shape[0] / 2, x - shape[1] / 2) / (0.45 * shape[0])
    return OFFSET + 20 + 900 / (1 + np.exp(8 * (r - 0.8)))


def detail(shape=(128, 160), seed=0):
    """A scene with structure down to the pixel."""
    rng = np.random.default_rng(seed)
    field = ndi.gaussian_filter(rng.standard_normal(shape), 6)
    fine = rng.uniform(0.7, 1.3, shape)
    return OFFSET + 20 + 500 * fine / (1 + np.exp(-4 * field / field.std()))


def test_one_smooth_frame_gives_the_line_without_bias():
    found = [noise.measure(camera(ramp(), seed)) for seed in range(3)]
    assert np.mean([m.a for m in found]) == pytest.approx(GAIN, rel=0.01)
    at = np.mean([m.a * 500 + m.b for m in found])
    assert at == pytest.approx(truth(500), rel=0.01)
    assert np.mean([m.b for m in found]) == pytest.approx(READ**2 - GAIN * OFFSET, rel=0.03)
    data = found[0].fit_data
    np.testing.assert_allclose(data.variance, [truth(s) for s in data.signal], rtol=0.1)
    assert max(map(abs, data.correlation)) < 0.02
    assert len(data.slices) >= 3


@pytest.mark.parametrize("n", [2, 5, 40])
def test_a_static_scene_gives_the_line_without_bias_from_two_frames_on(n):
    """Grouping by the noisy mean itself would flatten the slope where frames are few."""
    tries = range(8 if n == 2 else 2)
    found = [noise.measure(np.stack([camera(detail(seed=t), 100 * t + i) for i in range(n)])) for t in tries]
    assert np.mean([m.a for m in found]) == pytest.approx(GAIN, rel=0.02)
    assert np.mean([m.a * 300 + m.b for m in found]) == pytest.approx(truth(300), rel=0.02)


def test_several_exposures_of_a_smooth_target():
    frames = [camera(np.full((90, 100), s), i) for i, s in enumerate(np.linspace(120, 900, 12))]
    model = noise.measure(frames, scene="smooth")
    assert model.a == pytest.approx(GAIN, rel=0.03)
    assert model.a * 500 + model.b == pytest.approx(truth(500), rel=0.02)


def test_hot_pixels_and_dust_do_not_count():
    frame = camera(ramp((256, 320)))
    frame[::37, ::41] += 4000
    frame[100:110, 50:70] *= 0.5
    model = noise.measure(frame)
    assert model.a * 400 + model.b == pytest.approx(truth(400), rel=0.06)


@pytest.mark.parametrize("kind", ["mixture", "histogram"])
def test_other_kinds_have_the_same_variance(kind):
    frame = camera(ramp((320, 400)))
    model = noise.measure(frame, kind=kind, bins=120)
    s = torch.tensor([200.0, 400.0, 600.0, 800.0])
    tolerance = 0.05 if kind == "mixture" else 0.1
    np.testing.assert_allclose(model.variance(s).numpy(), truth(s.numpy()), rtol=tolerance)
    again = noise.measure(frame, kind=kind, bins=120)
    assert again.to_dict() == model.to_dict()


def test_mixture_follows_a_skewed_density():
    """Few photons, high gain: a normal distribution does not fit, and the held-out likelihood says so."""
    rng = np.random.default_rng(0)
    signal = (ramp((300, 300)) - OFFSET - 20) / 100 + 1.0
    frame, other = (30 * rng.poisson(signal) + rng.normal(0, 8, signal.shape) for _ in range(2))
    normal, mixture = (noise.measure(frame, kind=k) for k in ("poisson-gaussian", "mixture"))
    x, s = (torch.from_numpy(v).float() for v in (other, 30 * signal))
    better = float((mixture.log_prob(x, s) - normal.log_prob(x, s)).mean())
    assert better > 0.02


def test_bootstrap_from_clean_and_from_blurred_images():
    clean = [ndi.gaussian_filter(detail((300, 300), seed=i), 2) for i in range(4)]
    noisy = [camera(c, 7 + i) for i, c in enumerate(clean)]
    exact = noise.bootstrap(noisy, clean)
    assert exact.a == pytest.approx(GAIN, rel=0.03)
    for width in (1.0, 2.0, 4.0):
        blurred = noise.bootstrap(noisy, [ndi.gaussian_filter(x, width) for x in noisy])
        for s in (250, 450):
            assert blurred.a * s + blurred.b == pytest.approx(truth(s), rel=0.06)
    mixture = noise.bootstrap(noisy, [ndi.gaussian_filter(x, 1.0) for x in noisy], kind="mixture")
    assert float(mixture.variance(torch.tensor(400.0))) == pytest.approx(truth(400), rel=0.08)


def test_bootstrap_with_a_model():
    """Anything with an ``mmse`` method denoises: our own models do."""

    class Denoiser:
        def mmse(self, image, *, n):
            assert n == 3
            return ndi.gaussian_filter(image, 2)

    noisy = [camera(ndi.gaussian_filter(detail((200, 200), seed=i), 2), i) for i in range(3)]
    model = noise.bootstrap(noisy, Denoiser(), samples=3)
    assert model.a * 400 + model.b == pytest.approx(truth(400), rel=0.06)


@pytest.mark.parametrize("kind", ["poisson-gaussian", "mixture"])
def test_saturated_frames(kind):
    """The variance is cut near the ceiling: those levels do not count, and the ceiling is known."""
    frame = np.clip(np.rint(camera(ramp())), 0, 900).astype(np.uint16)
    with pytest.warns(DivsegWarning, match="at the detector's limits"):
        model = noise.measure(frame, kind=kind)
    assert model.ceiling == 900
    assert float(model.variance(torch.tensor(600.0))) == pytest.approx(truth(600), rel=0.04)
    if kind == "mixture":
        assert float(model.variance(torch.tensor(890.0))) == pytest.approx(truth(890), rel=0.15)


def notes(call, *args, **options):
    """What a call warned about, as one text."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DivsegWarning)
        model = call(*args, **options)
    said = [str(w.message) for w in caught]
    assert said == model.fit_data.notes
    return model, "; ".join(said)


def test_correlated_noise_is_measured_with_a_warning():
    rng = np.random.default_rng(0)
    white = rng.normal(0, 30, (400, 500))
    frame = ramp((400, 499)) + (white[:, 1:] + 0.25 * white[:, :-1])
    model, said = notes(noise.measure, frame)
    assert "neighbouring pixels is correlated (x 0.2" in said
    assert "detail" not in said
    assert float(model.variance(torch.tensor(500.0))) == pytest.approx(900 * (1 + 0.25**2), rel=0.05)


def test_warnings_about_unsuitable_frames():
    assert "has detail" in notes(noise.measure, camera(ndi.gaussian_filter(detail((256, 256)), 2)))[1]
    flat = np.random.default_rng(0).normal(300, 20, (200, 200))
    model, said = notes(noise.measure, flat)
    assert "does not rise with the signal" in said
    assert float(model.variance(torch.tensor(300.0))) == pytest.approx(400, rel=0.03)
    assert "bins of the noise histogram" in notes(noise.measure, flat, kind="histogram", bins=8)[1]
    assert "bins of the noise histogram" not in notes(noise.measure, flat, kind="histogram", bins=64)[1]
    drifting = np.stack([camera(detail() * (1 + 0.1 * i), i) for i in range(5)])
    assert "mean of the frames changes" in notes(noise.measure, drifting)[1]
    x = camera(detail())
    assert "same intensity scale" in notes(noise.bootstrap, x, ndi.gaussian_filter(x, 2) / 255)[1]


@pytest.mark.parametrize(
    ("frames", "options", "error", "message"),
    [
        (np.tile(np.arange(100.0), (100, 1)), {}, InputError, "no noise"),
        (np.random.default_rng(0).normal(9, 1, (12, 12)), {}, InputError, "too small"),
        ([np.eye(64), np.eye(64, 65)], {}, InputError, "different sizes"),
        (np.eye(64), {"scene": "static"}, InputError, "two or more frames"),
        (np.eye(64), {"kind": "cauchy"}, ConfigError, "known: poisson-gaussian"),
        (np.eye(64), {"scene": "moving"}, ConfigError, "known: auto"),
        (np.full((64, 64), np.nan), {}, InputError, "NaN|no number|not finite"),
        (camera(ramp((128, 128))), {"kind": "histogram", "bins": 2}, InputError, "8 or more"),
        (camera(ramp((128, 128))), {"kind": "mixture", "n_gaussian": 0}, InputError, "at least 1"),
    ],
)
def test_impossible_frames(frames, options, error, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DivsegWarning)
        with pytest.raises(error, match=message):
            noise.measure(frames, **options)


def test_images_that_do_not_match():
    x = np.random.default_rng(0).normal(9, 1, (2, 64, 64))
    with pytest.raises(InputError, match="2 noisy images but 1 denoised"):
        noise.bootstrap(x, x[:1])
    with pytest.raises(InputError, match="64x64 pixels, the denoised one 32x64"):
        noise.bootstrap(x[0], x[0, :32])
    with pytest.raises(InputError, match="not a 2-D image"):
        noise.bootstrap([np.ones((4, 3, 64, 64))], [np.ones((4, 3, 64, 64))])
