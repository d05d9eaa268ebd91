import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi

from divseg.denoise.networks.flat import FlatConfig, FlatNet
from divseg.denoise.networks.hierarchical import HierarchicalConfig, HierarchicalNet
from divseg.denoise.noise import Gaussian, PoissonGaussian
from divseg.denoise.normalization import Normalization
from divseg.denoise.training.data import TrainingData
from divseg.denoise.training.elbo import elbo_terms, weighted_kl
from divseg.denoise.training.schedule import Budget
from divseg.denoise.training.settings import TrainingRecord, TrainSettings
from divseg.denoise.training.trainer import Trainer, check_not_collapsed
from divseg.errors import ConfigError, TrainingError

SMALL = FlatConfig(filters=8, latents=8)
QUICK = TrainSettings(batch=4, patch=32, report_every=5, validate_every=10)


def noisy_blobs(n=4, size=64, std=20.0):
    images = []
    for i in range(n):
        rng = np.random.default_rng(i)
        field = ndi.gaussian_filter(rng.standard_normal((size, size)), 5)
        images.append((60.0 * (field > 0) + rng.normal(0, std, (size, size))).astype(np.float32))
    return images


def trainer(seed=0, steps=60, settings=QUICK, noise=None):
    torch.manual_seed(seed)
    network = FlatNet(SMALL)
    network.initialize()
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


def weighted(terms, balanced):
    return weighted_kl(terms.grid_kl.mean(0), torch.tensor(balanced))


def test_elbo_of_a_perfect_reconstruction():
    """With s = x the likelihood term is that of the noise model at its centre, in normalised units."""
    network, noise = FlatNet(SMALL).eval(), Gaussian(20.0)
    x = torch.randn(2, 1, 16, 16)
    units = Normalization((100.0,), (40.0,))
    terms = elbo_terms(network, noise, x, units, network.noise_for(x))
    assert terms.per_latent.shape == (2, 8)
    expected = terms.per_latent.sum(1) / SMALL.stride**2
    torch.testing.assert_close(terms.kl, expected)
    torch.testing.assert_close(weighted(terms, 0.0), expected.mean())
    network.decoder.convrecon.weight.data.zero_()
    network.decoder.convrecon.bias.data.fill_(0.3)
    nll = elbo_terms(network, noise, torch.full_like(x, 0.3), units, network.noise_for(x)).nll
    assert nll.tolist() == pytest.approx([0.5 * math.log(2 * math.pi * 0.5**2)] * 2, abs=1e-4)


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
    with t.train_step.ema:  # exchanged for the averages, the weights are the same
        averages = [p.clone() for p in t.network.parameters()]
    for p, a in zip(t.network.parameters(), averages, strict=True):
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
    with pytest.raises(TrainingError, match=r"at step 25: .* not a number 25 times"):
        t.run()
    assert t.record.skipped_steps == 25  # looked at every 5 steps, and more than 20 are too many


def test_collapse_is_an_error_with_advice():
    with pytest.raises(TrainingError, match=r"collapsed.*Train longer"):
        check_not_collapsed(TrainingRecord(steps=100, kl_per_pixel=1e-6))
    check_not_collapsed(TrainingRecord(steps=100, kl_per_pixel=0.02))


@pytest.mark.slow
def test_kl_survives_on_dim_images():
    """Dim images with noise of std 20: without a warm-up and a narrow start the latents die here."""
    images = [(0.4 * im).astype(np.float32) for im in noisy_blobs(16, std=50.0)]
    torch.manual_seed(0)
    network = FlatNet()
    network.initialize()
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


def test_balance_between_the_grids():
    network = HierarchicalNet(HierarchicalConfig(latents=(3, 4), filters=4, width=6))
    network.initialize()
    x = torch.randn(2, 1, 16, 16)
    terms = elbo_terms(network, Gaussian(20.0), x, Normalization((0.0,), (1.0,)), network.noise_for(x))
    assert terms.per_latent.shape == (2, 7)
    assert terms.pixels_per_latent == (4.0, 16.0)
    torch.testing.assert_close(terms.kl, terms.per_latent[:, :3].sum(1) / 4 + terms.per_latent[:, 3:].sum(1) / 16)
    mean = terms.per_latent.mean(0)
    fine, coarse = mean[:3].sum() / 4, mean[3:].sum() / 16
    assert weighted(terms, 0.0).item() == pytest.approx(float((fine + coarse).detach()), rel=1e-5)
    level = float((fine + coarse).detach()) / 2
    expected = float((fine**2 + coarse**2).detach()) / level
    assert weighted(terms, 1.0).item() == pytest.approx(expected, rel=1e-5)
    # the weights are constants: the gradient of each grid's KL is its fraction of the mean
    parameter = network.levels[1].posterior.bias
    plain, weighed = (torch.autograd.grad(t, parameter, retain_graph=True)[0] for t in (coarse, weighted(terms, 1.0)))
    through_fine = torch.autograd.grad(fine, parameter, retain_graph=True)[0]
    wanted = plain * float(coarse.detach()) / level + through_fine * float(fine.detach()) / level
    torch.testing.assert_close(weighed, wanted, rtol=1e-4, atol=1e-6)


def test_balance_changes_nothing_with_one_grid():
    network = FlatNet(SMALL)
    x = torch.randn(2, 1, 16, 16)
    terms = elbo_terms(network, Gaussian(20.0), x, Normalization((0.0,), (1.0,)), network.noise_for(x))
    torch.testing.assert_close(weighted(terms, 1.0), weighted(terms, 0.0))


def test_the_noise_models_penalty_is_trained_on():
    class Anchored(PoissonGaussian):
        def penalty(self):
            return 1e3 * (self.log_ends - 7.0).square().sum()

    settings = replace(QUICK, noise_start=0.0, learning_rate=0.05)
    noise = Anchored(0.1, 400.0, low=0.0, high=100.0, trainable=True)
    trainer(steps=200, settings=settings, noise=noise).run()
    assert noise.log_ends.tolist() == pytest.approx([7.0, 7.0], abs=0.2)


def test_validation_and_training_losses_and_their_range():
    record = trainer(steps=40).run()
    assert record.validation == "training crops"  # 64x64 pixels have no crop of 32x32 to spare
    low, middle, high = record.loss_range
    assert low < middle < high
    assert low - 0.2 < record.loss < high + 0.2
    assert low < record.train_loss < high


def test_a_few_bad_steps_are_counted_and_survived():
    t = trainer(steps=30)
    good, calls = t.train_step.terms, []

    def sometimes(x, eps):
        calls.append(1)
        return good(x * math.nan if len(calls) in (3, 4, 9) else x, eps)

    t.train_step.terms = sometimes
    record = t.run()
    assert record.skipped_steps == 3
    assert record.history[-1]["skipped"] == 3
    assert math.isfinite(record.loss)


def test_compiling_without_a_compiler_is_said(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match="no-such-compiler"):
        trainer(settings=replace(QUICK, compile=True))


@pytest.mark.parametrize(
    "bad", [{"batch": 0}, {"learning_rate": 0.0}, {"structure_sampling": -1.0}, {"kl_balancing": 1.5}, {"patience": 0}]
)
def test_impossible_settings(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        TrainSettings(**bad)
