import numpy as np
import pytest
import torch

from divseg.denoise.noise import Gaussian, PhotonTransfer, PoissonGaussian, choose_noise
from divseg.denoise.noise.choose import parse_noise, prior_strength
from divseg.denoise.noise_file_names import noise_key
from divseg.errors import ConfigError, ModelError


def transfer(excess=0.0):
    signal = np.array([10.0, 90.0])
    variance = (2.0 * signal + 5.0) * np.array([1.0 - excess, 1.0 + excess])
    return PhotonTransfer(2.0, 5.0, 0.0, 100.0, signal, variance, np.ones(2), floor=0.0)


def never():
    raise RuntimeError("the estimate is not needed")


def test_known_noise_needs_no_estimate():
    assert choose_noise("gaussian,std=20", never).std == 20
    ready = Gaussian(3)
    assert choose_noise(ready, never) is ready


def test_learned_and_estimated():
    learned, fixed = choose_noise("learned", transfer), choose_noise("estimated", transfer)
    assert isinstance(learned, PoissonGaussian)
    assert learned.trainable
    assert not fixed.trainable
    assert (fixed.a, fixed.b) == pytest.approx((2.0, 5.0))
    assert choose_noise("Poisson-Gaussian, a=1, b=2", transfer).b == pytest.approx(2.0)
    assert isinstance(choose_noise("gaussian", transfer), Gaussian)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gausian", "did you mean 'gaussian'"),
        ("cauchy", r"known: learned, .* file \(.json, .npz, .npy\)"),
        ("gaussian,sd=2", "no option 'sd'; did you mean 'std'"),
        ("gaussian,std=much", "must be a number"),
        ("gaussian,std=nan", "must be a number"),
        ("gaussian,std=-1", "above 0"),
        ("gaussian,2", "not an option"),
        ("learned,a=1", "no option 'a'"),
        ("poisson-gaussian,a=1", "both a and b"),
        ("poisson-gaussian,b=1", "both a and b"),
        ("", "no method"),
        (3.0, "noise model"),
    ],
)
def test_bad_words(spec, message):
    with pytest.raises(ConfigError, match=message):
        choose_noise(spec, transfer)


def test_a_file_names_the_noise(tmp_path):
    path = Gaussian(7.0).save(tmp_path / "Camera.json")
    assert parse_noise(str(path)) == ("file", {})
    assert choose_noise(str(path), never).std == 7
    before = noise_key(str(path))
    Gaussian(8.0).save(path)
    assert noise_key(str(path)) != before  # the file's content counts, not its name alone
    assert noise_key("learned") == "learned"
    with pytest.raises(ModelError, match="there is no noise model file"):
        parse_noise(str(tmp_path / "absent.npz"))
    with pytest.raises(ModelError, match="cannot read"):
        noise_key(str(tmp_path / "absent.npz"))


def test_the_detector_limits_of_the_images_are_kept():
    assert choose_noise("learned", transfer).floor == 0.0
    assert choose_noise("gaussian", transfer).floor == 0.0


def test_the_prior_of_co_learned_noise_is_stronger_for_a_better_estimate():
    clean, rough = prior_strength(transfer()), prior_strength(transfer(0.4))
    assert clean == pytest.approx((0.2 / 0.03) ** 2)
    assert rough < 0.3
    model = choose_noise("learned", transfer)
    assert model.prior_strength == clean
    assert float(model.penalty().detach()) == 0.0
    model.log_ends.data += 0.1
    assert float(model.penalty().detach()) == pytest.approx(clean * 0.125 * 2 * 0.01, rel=1e-4)
    assert choose_noise("estimated", transfer).penalty() == 0.0


def test_the_prior_balances_wrong_residuals():
    """Residuals with 20 % too much variance: free parameters follow them, those with a prior hardly."""
    s = torch.linspace(0, 100, 4000)
    x = s + torch.randn(4000, generator=torch.Generator().manual_seed(0)) * (1.2 * (2 * s + 5)).sqrt()
    slopes = []
    for strength in (0.0, prior_strength(transfer())):
        model = PoissonGaussian(2.0, 5.0, low=0.0, high=100.0, trainable=True).with_prior(strength)
        optimiser = torch.optim.LBFGS(model.parameters(), max_iter=100, line_search_fn="strong_wolfe")

        def loss(model=model, optimiser=optimiser):
            optimiser.zero_grad()
            value = model.penalty() - model.log_prob(x, s).mean()
            value.backward()
            return value

        optimiser.step(loss)
        slopes.append(model.a)
    assert slopes[0] == pytest.approx(2.4, rel=0.05)
    assert slopes[1] == pytest.approx(2.0, rel=0.02)
