import numpy as np
import pytest

from divseg.denoise.noise import Gaussian, PoissonGaussian
from divseg.denoise.smoothing import smoothed


@pytest.fixture
def clean():
    y, x = np.mgrid[:64, :64]
    return 100 + 100.0 * ((y - 32) ** 2 + (x - 32) ** 2 < 300)


def test_all_come_nearer_to_the_clean_image(clean):
    rng = np.random.default_rng(0)
    level = {"gaussian": Gaussian(15.0), "poisson-gaussian": PoissonGaussian(2.0, -150.0, low=80.0, high=220.0)}
    for noise in level.values():
        sd = np.sqrt(noise.variance(torch_of(clean)).detach().numpy().reshape(clean.shape))
        noisy = (clean + rng.normal(size=clean.shape) * sd).astype(np.float32)
        before = np.mean((noisy - clean) ** 2)
        found = dict(smoothed(noisy, noise))
        assert list(found) == [
            "gaussian",
            "median",
            "total variation",
            "non-local means",
            "stabilised non-local means",
        ]
        for name, image in found.items():
            assert image.shape == clean.shape
            assert image.dtype == np.float32
            assert np.mean((image - clean) ** 2) < 0.75 * before, name
            assert abs(image.mean() - clean.mean()) < 4, name


def torch_of(image):
    import torch

    return torch.tensor(image[None, None], dtype=torch.float32)
