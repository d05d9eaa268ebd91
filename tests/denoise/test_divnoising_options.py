"""What DivNoising offers beyond plain samples: other axes, automatic numbers, augmentation, warnings, resuming."""

import warnings

import numpy as np
import pytest
import torch

import divseg
from divseg.denoise import FlatConfig, HierarchicalConfig, StoppingRule, TrainSettings, validation
from divseg.denoise.noise import Gaussian
from divseg.errors import ConfigError, DivsegWarning, InputError, ModelError
from divseg.io import Image, fingerprint

SMALL = FlatConfig(filters=8, latents=8)
QUICK = TrainSettings(batch=4, patch=32, report_every=5, validate_every=10)


def images(n=3, shape=(64, 72)):
    out = []
    for i in range(n):
        rng = np.random.default_rng(i)
        clean = np.where(rng.random((8, 9)) < 0.4, 160.0, 40.0).repeat(8, 0).repeat(8, 1)[: shape[0], : shape[1]]
        out.append((100 + clean + rng.normal(0, 20, clean.shape)).astype(np.float32))
    return out


def fit(data, **options):
    chosen = {"noise": "gaussian,std=20", "train_steps": 120, "network": SMALL, "settings": QUICK} | options
    return divseg.DivNoising.fit(data, seed=0, device="cpu", **chosen)


@pytest.fixture(scope="module")
def model():
    return fit(images())


def test_automatic_number_depends_on_the_tolerance_not_on_the_batch(model):
    noisy = images()[0]
    counts = [
        sum(len(b) for b in model.sample(noisy, n=StoppingRule(tolerance=t), batch_size=size))
        for t, size in ((0.4, 1), (0.1, 1), (0.1, 7))
    ]
    assert counts[0] == 8 < counts[1] == counts[2] < 256
    moments = model.moments(noisy, n=StoppingRule(tolerance=0.1))
    assert moments.count == counts[1]
    assert float(moments.std.square().mean()) ** 0.5 / moments.count**0.5 <= 0.1 * 20.0


def test_automatic_number_with_noise_that_was_learned():
    model = fit(images(), noise="learned", train_steps=20)
    assert model.moments(images()[0], n="auto").count >= 8


def test_chosen_samples_are_those_of_the_stream(model):
    noisy = images()[0]
    for options in ({}, {"tta": True}):
        every = torch.cat(list(model.sample(noisy, n=10, seed=2, **options))).numpy()
        chosen = model.draw(noisy, [9, 0], seed=2, **options)
        np.testing.assert_allclose(chosen, every[[9, 0]], atol=1e-3)
    with pytest.raises(InputError, match="at least one"):
        model.draw(noisy, [])
    with pytest.raises(TypeError, match="batches"):
        model.draw(noisy, [0], batches=3)


def test_augmented_samples_differ_in_all_but_the_first_version(model):
    noisy = images()[0]
    plain = torch.cat(list(model.sample(noisy, n=9)))
    turned = torch.cat(list(model.sample(noisy, n=9, tta=True)))
    assert turned.shape == plain.shape
    same = [torch.allclose(a, b, atol=1e-2) for a, b in zip(plain, turned, strict=True)]
    assert same == [k % 8 == 0 for k in range(9)]
    with pytest.raises(InputError, match="image itself"):
        model.sample(model.posterior(noisy), n=1, tta=True)


def test_estimates_agree_with_the_stream(model):
    noisy = images()[1]
    found = model.estimate(noisy, n=12, quantiles=(0.0, 1.0), mode=True)
    moments = model.moments(noisy, n=12)
    np.testing.assert_allclose(found.mean, moments.mean.numpy(), atol=1e-2)
    np.testing.assert_allclose(found.std, moments.std.numpy(), atol=1e-2)
    assert found.levels == (0.0, 1.0)
    assert (found.quantiles[0] <= found.mode + 1e-2).all()
    assert (found.mode <= found.quantiles[1] + 1e-2).all()
    for bad in ({"quantiles": (1.5,)}, {"n": 0}, {"bandwidth": 0.0}, {"tta": True}):
        with pytest.raises(InputError):
            model.estimate(noisy, **bad)


def test_half_precision_is_an_option(model):
    noisy = images()[0]
    single, half = (model.mmse(noisy, n=4, precision=p) for p in ("exact", "bf16"))
    assert 0 < np.abs(single - half).mean() < 2.0
    with pytest.raises(ConfigError, match="precision"):
        model.sample(noisy, n=1, precision="fp8")


def noisier(image, std=40.0):
    return image + np.random.default_rng(9).normal(0, std, image.shape).astype(np.float32)


def test_images_of_another_kind_are_warned_about_once(model):
    noisy = images()[0]
    assert not model.out_of_distribution(noisy).is_ood
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.mmse(noisy, n=2)
        model.mmse(images(5)[4], n=2)  # of the same kind, not trained on
    with pytest.warns(DivsegWarning, match="unlike those that the model was trained on") as caught:
        model.mmse(noisier(noisy), n=3, batch_size=1)
    assert len(caught) == 1
    assert model.out_of_distribution(noisier(noisy)).loss > model.out_of_distribution(noisy).loss + 0.5
    smooth = np.full_like(noisy, 120.0) + np.random.default_rng(0).normal(0, 1, noisy.shape).astype(np.float32)
    assert "less noise" in model.out_of_distribution(smooth).message


def test_a_posterior_that_is_sampled_later_warns_once(model):
    """As divseg run does it: encode first, then pass over the samples twice."""
    encoded = []
    handle = model.network.encoder.register_forward_hook(lambda *_: encoded.append(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        posterior, familiar = model.posterior(noisier(images()[0])), model.posterior(images()[0])
        list(model.sample(familiar, n=2))
    with pytest.warns(DivsegWarning, match="unlike those that the model was trained on") as caught:
        samples = [list(model.sample(posterior, n=3, batch_size=1)) for _ in range(2)]
    assert len(caught) == 1
    assert torch.equal(torch.cat(samples[0]), torch.cat(samples[1]))
    handle.remove()
    assert len(encoded) == 2
    assert model.out_of_distribution(posterior).loss == model.out_of_distribution(noisier(images()[0])).loss
    with pytest.warns(DivsegWarning, match="unlike") as caught:
        model.estimate(model.posterior(noisier(images()[0])), n=2)
    assert len(caught) == 1


def test_pixels_are_checked_and_hashed_once(model, monkeypatch):
    checked = []
    check = validation.check_pixels
    monkeypatch.setattr(validation, "check_pixels", lambda image: checked.append(image) or check(image))
    image = Image.from_array(images()[0])
    first = torch.cat(list(model.sample(image, n=1, tta=True)))
    assert len(checked) == 1
    assert vars(image)["fingerprint"] == fingerprint(image.data)
    assert torch.equal(first, torch.cat(list(model.sample(image.data, n=1))))


def test_the_comparison_does_not_depend_on_tiles_and_needs_the_training_range(model, tmp_path):
    noisy = images()[0]
    loss = model.out_of_distribution(noisy).loss
    assert model.out_of_distribution(noisy, tile=16).loss == pytest.approx(loss, abs=1e-4)
    old = divseg.DivNoising.load(model.save(tmp_path / "m"), device="cpu")
    assert old.out_of_distribution(noisy).loss == pytest.approx(loss, abs=1e-5)
    del old.training["loss_range"]
    old.mmse(noisy, n=1)
    with pytest.raises(ModelError, match="train it with this version"):
        old.out_of_distribution(noisy)


def test_channels_with_a_noise_model_each(tmp_path):
    pairs = zip(images(3), images(3)[::-1], strict=True)
    stacks = [Image.from_array(np.stack([a, 3 * b]), axes="CYX") for a, b in pairs]
    model = fit(stacks, noise=["gaussian,std=20", Gaussian(60.0)])
    again = divseg.DivNoising.load(model.save(tmp_path / "m"), device="cpu")
    samples = torch.cat(list(again.sample(stacks[0], n=3, tile=32)))
    assert samples.shape == (3, 2, 64, 72)
    torch.testing.assert_close(samples, torch.cat(list(model.sample(np.asarray(stacks[0]), n=3))), atol=1e-2, rtol=1e-4)
    assert len(model.mean) == 2
    assert "channel 1" in model.noise.describe()
    assert again.noise.to_dict() == model.noise.to_dict()
    estimates = again.estimate(stacks[0], n=4)
    assert estimates.mean.shape == (2, 64, 72)
    for c in range(2):
        assert np.corrcoef(estimates.mean[c].ravel(), stacks[0].data[c].ravel())[0, 1] > 0.2
    with pytest.raises(InputError, match="2 channel"):
        model.mmse(Image.from_array(images(1)[0]), n=1)
    with pytest.raises(ConfigError, match="give one for each channel"):
        fit(stacks, noise=[Gaussian(1.0)])
    with pytest.raises(ConfigError, match="1 noise model"):
        fit(stacks, noise=Gaussian(1.0))


def test_volumes():
    volume = np.stack([images(1)[0] + np.random.default_rng(z).normal(0, 5, (64, 72)) for z in range(9)])
    image = Image.from_array(volume.astype(np.float32), axes="ZYX")
    network = FlatConfig(1, filters=6, latents=4)
    model = fit([image], network=network, noise="estimated", train_steps=40)
    assert model.network.config.dims == 3
    moments = model.moments(image, n=3, tta=True)
    assert moments.mean.shape == (9, 64, 72)
    tiled = model.mmse(volume.astype(np.float32), n=3, tile=16, tta=True)
    np.testing.assert_allclose(tiled, moments.mean.numpy(), atol=1e-2)
    with pytest.raises(InputError, match="axes"):
        model.mmse(images(1)[0], n=1)


def test_without_a_noise_model(tmp_path):
    model = fit(images(), noise="none")
    assert model.noise.to_dict()["std"] == pytest.approx(model.std)
    assert "ordinary variational autoencoder" in model.noise.describe()
    again = divseg.DivNoising.load(model.save(tmp_path / "m"), device="cpu")
    np.testing.assert_array_equal(again.mmse(images()[0], n=2), model.mmse(images()[0], n=2))


HIERARCHICAL = HierarchicalConfig(latents=(4, 4), filters=8, width=8)


@pytest.fixture(scope="module")
def hierarchical():
    return fit(images(), network=HIERARCHICAL, noise="learned")


def test_a_hierarchical_network_keeps_the_promises_of_samples(hierarchical, tmp_path):
    """The same object behind another network: samples by number, tiles, batches, saving, comparison of losses."""
    noisy = images()[0]
    assert hierarchical.network.config == HIERARCHICAL
    assert hierarchical.training["kl_per_pixel"] > 1e-3
    one = hierarchical.draw(noisy, [5], seed=3)
    both = hierarchical.draw(noisy, [2, 5], seed=3, tile=16, batch_size=2)
    np.testing.assert_allclose(both[1], one[0], atol=1e-2)
    assert np.abs(both[0] - both[1]).mean() > 0.1
    again = divseg.DivNoising.load(hierarchical.save(tmp_path / "m"), device="cpu")
    np.testing.assert_array_equal(again.draw(noisy, [5], seed=3), one)
    comparison = hierarchical.out_of_distribution(noisy)
    assert again.out_of_distribution(noisy, tile=16).loss == pytest.approx(comparison.loss, abs=1e-4)
    assert not comparison.is_ood
    assert hierarchical.out_of_distribution(noisier(noisy, 60.0)).is_ood
    assert np.corrcoef(hierarchical.mmse(noisy, n=8, tta=True).ravel(), noisy.ravel())[0, 1] > 0.7


def test_a_hierarchical_network_learns_channels_and_is_named_in_words():
    stack = Image.from_array(np.stack([images(1)[0], images(2)[1]]), axes="CYX")
    model = fit([stack], network="hierarchical,latents=3-3,filters=4,width=6", train_steps=20, noise="estimated")
    assert model.network.config == HierarchicalConfig(latents=(3, 3), filters=4, width=6, channels=2)
    assert model.mmse(stack, n=2).shape == (2, 64, 72)
    with pytest.raises(ConfigError, match="known: flat, hierarchical"):
        fit(images(), network="tower")
