import pytest
import torch

from divseg.denoise.networks.base import kl_to_prior
from divseg.denoise.networks.flat import FlatConfig, FlatNet
from divseg.errors import ConfigError


@pytest.mark.parametrize(("depth", "convs", "parameters"), [(2, 2, 261_281), (2, 3, 353_633), (3, 2, 880_417)])
def test_reference_parameter_counts(depth, convs, parameters):
    network = FlatNet(FlatConfig(depth=depth, convs=convs))
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_reference_key_layout():
    keys = set(FlatNet().state_dict())
    expected = {"encoder.convmu.weight", "encoder.convlogvar.bias", "decoder.convrecon.weight"}
    expected |= {f"encoder.down_convs.{i}.conv{j}.weight" for i in (0, 1) for j in (1, 2)}
    expected |= {f"decoder.up_convs.{i}.convtranspose.bias" for i in (0, 1)}
    assert expected <= keys


@pytest.mark.parametrize("config", [FlatConfig(2), FlatConfig(3), FlatConfig(2, convs=3)])
def test_halos_cover_the_receptive_field_exactly(config):
    """The computed halo is where gradients end: nothing beyond it, something at its edge."""
    small = FlatConfig(config.depth, filters=4, latents=3, convs=config.convs)
    torch.manual_seed(0)
    network = FlatNet(small).double()
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
    assert (reach,) == small.decoder_halos


def test_kl_matches_torch_distributions():
    mu, logvar = torch.randn(4, 3), torch.randn(4, 3)
    prior = torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(torch.distributions.Normal(mu, (0.5 * logvar).exp()), prior)
    torch.testing.assert_close(kl_to_prior(mu, logvar), expected)


def test_narrow_start():
    network = FlatNet()
    network.initialize()
    _, logvar = network.encoder(torch.randn(2, 1, 32, 32))
    assert -5.0 < float(logvar.detach().mean()) < -3.0


@pytest.mark.parametrize("bad", [{"depth": 0}, {"filters": -1}, {"convs": 4}, {"latents": 2.5}])
def test_impossible_shapes(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        FlatConfig(**bad)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("dims", [2, 3])
def test_shapes_of_the_family(depth, dims):
    config = FlatConfig(depth, filters=4, latents=3, convs=2 + dims % 2, channels=2, dims=dims)
    network = FlatNet(config)
    network.initialize()
    x = torch.randn(2, 2, *([2 * config.stride] * dims))
    s, (mu,), (logvar,) = network(x, network.noise_for(x))
    assert s.shape == x.shape
    assert mu.shape == logvar.shape == (2, 3, *([2] * dims))
    assert -5.0 < float(logvar.detach().mean()) < -3.0
    assert 0.01 < float(s.detach().std()) < 3.0  # neither silent nor exploding


def reference_keys(depth, convs):
    """Names and shapes of the reference implementation's state dict (32 filters, 64 latents)."""
    shapes, width = {}, 1
    for i in range(depth):
        for j in range(convs):
            out = 32 * 2**i
            shapes[f"encoder.down_convs.{i}.conv{j + 1}"] = (out, width, 3, 3)
            width = out
    shapes["encoder.convmu"] = shapes["encoder.convlogvar"] = (64, width, 3, 3)
    width = 64
    for i in range(depth):
        out = 32 * 2 ** (depth - 1 - i)
        for j in range(convs):
            shapes[f"decoder.up_convs.{i}.conv{j + 1}"] = (out, width, 3, 3)
            width = out
        shapes[f"decoder.up_convs.{i}.convtranspose"] = (out, out, 2, 2)
    shapes["decoder.convrecon"] = (1, width, 3, 3)
    return shapes


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("convs", [2, 3])
def test_state_dicts_of_the_reference_load(depth, convs):
    shapes = reference_keys(depth, convs)
    state = {f"{name}.weight": torch.randn(shape) for name, shape in shapes.items()}
    state |= {
        f"{name}.bias": torch.randn(shape[1] if "transpose" in name else shape[0]) for name, shape in shapes.items()
    }
    network = FlatNet(FlatConfig(depth, convs=convs))
    assert network.load_state_dict(state).missing_keys == []
