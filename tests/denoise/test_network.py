import pytest
import torch

from divseg.denoise.network import DivNoisingNet, NetworkConfig, kl_to_prior
from divseg.errors import ConfigError


@pytest.mark.parametrize(("depth", "convs", "parameters"), [(2, 2, 261_281), (2, 3, 353_633), (3, 2, 880_417)])
def test_reference_parameter_counts(depth, convs, parameters):
    network = DivNoisingNet(NetworkConfig(depth=depth, convs=convs))
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_reference_key_layout():
    keys = set(DivNoisingNet().state_dict())
    expected = {"encoder.convmu.weight", "encoder.convlogvar.bias", "decoder.convrecon.weight"}
    expected |= {f"encoder.down_convs.{i}.conv{j}.weight" for i in (0, 1) for j in (1, 2)}
    expected |= {f"decoder.up_convs.{i}.convtranspose.bias" for i in (0, 1)}
    assert expected <= keys


@pytest.mark.parametrize("config", [NetworkConfig(2), NetworkConfig(3), NetworkConfig(2, convs=3)])
def test_halos_cover_the_receptive_field_exactly(config):
    """The computed halo is where gradients end: nothing beyond it, something at its edge."""
    small = NetworkConfig(config.depth, filters=4, latents=3, convs=config.convs)
    torch.manual_seed(0)
    network = DivNoisingNet(small).double()
    step, n = small.stride, 32
    image = torch.rand(1, 1, n * step, n * step, dtype=torch.float64, requires_grad=True)
    mu, _ = network.encoder(image)
    mid = n // 2
    mu[:, :, mid, mid].sum().backward()
    seen = image.grad[0, 0].abs().sum(1).nonzero().flatten()
    reach = max(mid * step - int(seen.min()), int(seen.max()) - (mid * step + step - 1))
    assert small.encoder_halo - step < reach <= small.encoder_halo

    z = torch.rand(1, 3, n, n, dtype=torch.float64, requires_grad=True)
    network.decoder(z)[0, 0, mid * step : (mid + 1) * step, mid * step : (mid + 1) * step].sum().backward()
    seen = z.grad[0].abs().sum((0, 2)).nonzero().flatten()
    reach = max(mid - int(seen.min()), int(seen.max()) - mid)
    assert reach == small.decoder_halo


def test_kl_matches_torch_distributions():
    mu, logvar = torch.randn(4, 3), torch.randn(4, 3)
    prior = torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(torch.distributions.Normal(mu, (0.5 * logvar).exp()), prior)
    torch.testing.assert_close(kl_to_prior(mu, logvar), expected)


def test_narrow_start():
    network = DivNoisingNet()
    network.initialise()
    _, logvar = network.encoder(torch.randn(2, 1, 32, 32))
    assert -5.0 < float(logvar.detach().mean()) < -3.0


@pytest.mark.parametrize("bad", [{"depth": 0}, {"filters": -1}, {"convs": 4}, {"latents": 2.5}])
def test_impossible_shapes(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        NetworkConfig(**bad)
