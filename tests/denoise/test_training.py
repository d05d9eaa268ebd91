import math

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi

from divseg.denoise.data import TrainingData
from divseg.denoise.network import DivNoisingNet, NetworkConfig
from divseg.denoise.noise import Gaussian
from divseg.denoise.schedule import Budget
from divseg.denoise.training import Trainer, TrainingRecord, TrainSettings, check_not_collapsed, elbo_terms
from divseg.errors import TrainingError

SMALL = NetworkConfig(filters=8, latents=8)
QUICK = TrainSettings(batch=4, patch=32, report_every=5, validate_every=10)


def noisy_blobs(n=4, size=64, sd=20.0):
    images = []
    for i in range(n):
        rng = np.random.default_rng(i)
        field = ndi.gaussian_filter(rng.standard_normal((size, size)), 5)
        images.append((60.0 * (field > 0) + rng.normal(0, sd, (size, size))).astype(np.float32))
    return images


def trainer(seed=0, steps=60, settings=QUICK, noise=None):
    torch.manual_seed(seed)
    network = DivNoisingNet(SMALL)
    network.initialise()
    data = TrainingData(noisy_blobs(), settings.patch, SMALL.stride)
    return Trainer(
        network,
        noise or Gaussian(20.0),
        data,
        budget=Budget(steps=steps),
        settings=settings,
        seed=seed,
        device=torch.device("cpu"),
    )


def test_elbo_of_a_perfect_reconstruction():
    """With s = x the likelihood term is that of the noise model at its centre, in normalised units."""
    network, noise = DivNoisingNet(SMALL).eval(), Gaussian(20.0)
    x = torch.randn(2, 1, 16, 16)
    _, kl, per_latent = elbo_terms(network, noise, x, mean=100.0, sd=40.0)
    assert per_latent.shape == (8,)
    assert float(kl.detach()) == pytest.approx(float(per_latent.sum()) / SMALL.stride**2, rel=1e-5)
    network.decoder.convrecon.weight.data.zero_()
    network.decoder.convrecon.bias.data.fill_(0.3)
    nll, _, _ = elbo_terms(network, noise, torch.full_like(x, 0.3), mean=100.0, sd=40.0)
    assert float(nll.detach()) == pytest.approx(0.5 * math.log(2 * math.pi * 0.5**2), abs=1e-4)


def test_training_lowers_the_loss_and_reports():
    seen = []
    t = trainer(steps=150)
    before = t.validate()[0]
    record = t.run(seen.append)
    assert record.steps == 150
    assert record.loss < before - 0.05
    assert record.kl_per_pixel > 1e-3
    assert [r["step"] for r in seen][:3] == [1, 5, 10]
    assert all(0 <= r["progress"] <= 1 for r in seen)
    assert record.history[-1]["val_loss"] < before
    assert not t.network.training


def test_same_seed_same_model():
    a, b, c = trainer(0, 12), trainer(0, 12), trainer(1, 12)
    for t in (a, b, c):
        t.run()
    for pa, pb in zip(a.network.parameters(), b.network.parameters(), strict=True):
        assert torch.equal(pa, pb)
    assert not torch.equal(a.network.decoder.convrecon.weight, c.network.decoder.convrecon.weight)


def test_the_average_is_kept():
    t = trainer(steps=30)
    t.run()
    for p, a in zip(t.parameters, t.average, strict=True):
        assert torch.equal(p, a)


def test_stops_when_nothing_improves():
    settings = TrainSettings(
        batch=4, patch=32, report_every=1, validate_every=1, patience=3, learning_rate=1e-12, kl_warmup=0.0
    )
    record = trainer(steps=500, settings=settings).run()
    assert record.stopped == "no more progress"
    assert record.steps < 50


def test_non_finite_losses_are_skipped_counted_and_end_training():
    t = trainer(steps=500)
    with torch.no_grad():
        t.network.encoder.convmu.bias.fill_(math.inf)
    with pytest.raises(TrainingError, match="no number 21 times"):
        t.run()
    assert t.record.skipped_steps == 21


def test_collapse_is_an_error_with_advice():
    with pytest.raises(TrainingError, match=r"collapsed.*Train longer"):
        check_not_collapsed(TrainingRecord(steps=100, kl_per_pixel=1e-6))
    check_not_collapsed(TrainingRecord(steps=100, kl_per_pixel=0.02))


@pytest.mark.slow
def test_kl_survives_on_dim_images():
    """Dim images with noise of sd 20: without a warm-up and a narrow start the latents die here."""
    images = [(0.4 * im).astype(np.float32) for im in noisy_blobs(16, sd=50.0)]
    torch.manual_seed(0)
    network = DivNoisingNet()
    network.initialise()
    data = TrainingData(images, 64, 4)
    t = Trainer(
        network,
        Gaussian(20.0),
        data,
        budget=Budget(steps=120),
        settings=TrainSettings(batch=4),
        seed=0,
        device=torch.device("cpu"),
    )
    assert t.run().kl_per_pixel > 1e-3
