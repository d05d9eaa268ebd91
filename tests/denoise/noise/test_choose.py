import numpy as np
import pytest

from divseg.denoise.noise import Gaussian, PhotonTransfer, PoissonGaussian, choose_noise
from divseg.errors import ConfigError


def transfer():
    return PhotonTransfer(2.0, 5.0, 0.0, 100.0, *[np.array([10.0, 90.0])] * 3)


def never():
    raise RuntimeError("the estimate is not needed")


def test_known_noise_needs_no_estimate():
    assert choose_noise("gaussian,sd=20", never).sd == 20
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
        ("gaussian,sigma=2", "no option 'sigma'"),
        ("gaussian,sd=much", "not a number"),
        ("poisson-gaussian,a=1", "both a and b"),
        (3.0, "noise model"),
    ],
)
def test_bad_words(spec, message):
    with pytest.raises(ConfigError, match=message):
        choose_noise(spec, transfer)
