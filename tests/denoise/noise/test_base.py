import pytest
import torch

from divseg.denoise.noise import Gaussian, NoiseModel, PoissonGaussian
from divseg.errors import ConfigError, ModelError


class Laplace(NoiseModel, kind="laplace"):
    """A kind that a user adds: one parameter, and not a mixture of Gaussians."""

    def __init__(self, width):
        super().__init__()
        self.register_buffer("width", torch.tensor(float(width)))

    def variance(self, s):
        return 2.0 * self.width.square().expand_as(s)

    def describe(self):
        return f"Laplace noise{self._limit_words()}"

    def _values(self):
        return {"width": float(self.width)}

    def _log_density(self, x, s):
        return -(x - s).abs() / self.width - (2.0 * self.width).log()

    def _log_tail(self, limit, s, *, upper):
        distance = (limit - s if upper else s - limit) / self.width
        return torch.where(distance > 0, 0.5 * (-distance).exp(), 1.0 - 0.5 * distance.exp()).log()


def test_a_subclass_registers_its_kind(tmp_path):
    model = Laplace(3.0).with_limits(None, 255.0)
    again = NoiseModel.from_dict(model.to_dict())
    assert isinstance(again, Laplace)
    assert again.to_dict() == {"kind": "laplace", "width": 3.0, "ceiling": 255.0}
    x, s = torch.tensor([4.0, 9.0]), torch.tensor([5.0, 5.0])
    assert torch.equal(again.log_prob(x, s), model.log_prob(x, s))
    assert again.describe() == "Laplace noise; pixels at the detector's ceiling 255 are censored"
    with pytest.raises(ConfigError, match=r"laplace noise cannot be written as .* use \.json"):
        model.save(tmp_path / "noise.npz")


def test_unknown_kind_names_the_known_ones():
    with pytest.raises(ModelError, match=r"unknown noise model kind 'cauchy': this version knows .*poisson-gaussian"):
        NoiseModel.from_dict({"kind": "cauchy"})


@pytest.mark.parametrize("trainable", [False, True])
def test_device_is_that_of_the_parameters_and_buffers(trainable):
    model = PoissonGaussian(1.0, 1.0, low=0.0, high=9.0, trainable=trainable)
    assert model.device.type == "cpu"
    assert model.to("meta").device.type == "meta"
    assert Gaussian(1.0).to("meta").device.type == "meta"
