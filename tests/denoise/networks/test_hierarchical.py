import pytest
import torch

from divseg.denoise.networks.base import kl_to_prior
from divseg.denoise.networks.hierarchical import PRIOR_LOGVAR, HierarchicalConfig, HierarchicalNet

SHAPES = [
    HierarchicalConfig(),
    HierarchicalConfig(finest=2, latents=(4, 3), filters=4, width=6),
    HierarchicalConfig(finest=1, latents=(3,), filters=4, width=4),
    HierarchicalConfig(finest=3, latents=(2, 2), filters=2, width=5),
]


def network(config=None, seed=0):
    torch.manual_seed(seed)
    net = HierarchicalNet(config)
    net.initialize()
    return net


@pytest.mark.parametrize("config", SHAPES)
@pytest.mark.parametrize(("dims", "channels"), [(2, 1), (3, 2)])
def test_shapes_of_the_family(config, dims, channels):
    net = network(config.fitted(channels, dims))
    x = torch.randn(2, channels, *([2 * config.stride] * dims))
    s, means, logvars = net(x, net.noise_for(x))
    assert s.shape == x.shape
    assert [m.shape for m in means] == [e.shape for e in net.noise_for(x)]
    for logvar in logvars:
        assert -5.0 < float(logvar.detach().mean()) < -3.0
    assert 0.001 < float(s.detach().std()) < 0.5  # neither silent, nor with structure of its own to unlearn
    assert config.strides == tuple(config.strides[0] * 2**i for i in range(len(config.latents)))


@pytest.mark.parametrize("seed", range(6))
def test_posteriors_start_near_their_priors(seed):
    """What the KL starts at is the narrowness of the posterior, 1.5 nats a latent, whatever the weights drawn."""
    net = network(seed=seed)
    x = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(seed))
    _, means, logvars = net(x, net.noise_for(x, torch.Generator().manual_seed(seed)))
    kl = [float(kl_to_prior(mean, logvar).detach().mean()) for mean, logvar in zip(means, logvars, strict=True)]
    assert all(1.4 < value < 2.2 for value in kl)


def seen_along(gradient):
    rows = gradient.abs().sum(dim=(0, 1, 3)).nonzero().flatten()
    return int(rows.min()), int(rows.max())


@pytest.mark.parametrize("config", SHAPES)
def test_halos_cover_all_that_a_tile_depends_on(config):
    """Gradients end within the halos, and nearly fill them."""
    net = network(config).double()
    step, n = config.stride, 16
    x = torch.rand(1, 1, n * step, n * step, dtype=torch.float64, requires_grad=True)
    encoded = net.encode(x)
    mid = n // 2
    for level, stride in zip(encoded, config.strides, strict=True):
        f = step // stride
        (gradient,) = torch.autograd.grad(level[:, :, mid * f : (mid + 1) * f].sum(), x, retain_graph=True)
        low, high = seen_along(gradient)
        assert max(mid * step - low, high - (mid * step + step - 1)) <= config.encoder_halo
    assert mid * step - low > config.encoder_halo - step  # the coarsest grid sees farthest

    eps = [e.double().requires_grad_() for e in net.noise_for(x)]
    features_in = [level.detach().requires_grad_() for level in encoded]
    features, _, _ = net.latents(features_in, eps)
    tile = net.decode(features)[:, :, mid * step : (mid + 1) * step].sum()
    gradients = torch.autograd.grad(tile, [*eps, *features_in])
    count = len(config.latents)
    for level, (stride, halo) in enumerate(zip(config.strides, config.decoder_halos, strict=True)):
        f = step // stride
        reach = 0
        for gradient in (gradients[level], gradients[count + level]):
            low, high = seen_along(gradient)
            reach = max(reach, mid * f - low, high - (mid + 1) * f + 1)
        assert reach <= halo
        assert halo - reach <= 3  # the even number above, and what the next grid has in excess


def test_the_divergence_is_the_one_to_the_learned_prior():
    """In units of the prior: the same as between the two normal distributions themselves."""
    net = network(HierarchicalConfig(latents=(4, 3), filters=4, width=6))
    with torch.no_grad():
        for parameter in net.levels[0].prior.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = torch.randn(1, 1, 16, 16)
    eps, encoded = net.noise_for(x), net.encode(x)
    with torch.no_grad():
        above, _, _ = net.levels[1](encoded[1], None, eps[1])
        above = net.upsample[0](above)
        _, mean, logvar = net.levels[0](encoded[0], above, eps[0])
        prior_mean, prior_logvar = net.levels[0].prior(torch.relu(above)).chunk(2, 1)
    prior_std = (0.5 * prior_logvar.clamp(-PRIOR_LOGVAR, PRIOR_LOGVAR)).exp()
    posterior = torch.distributions.Normal(prior_mean + prior_std * mean, prior_std * (0.5 * logvar).exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(prior_mean, prior_std))
    torch.testing.assert_close(kl_to_prior(mean, logvar), expected, rtol=1e-3, atol=1e-4)


def test_one_encoding_serves_many_samples():
    net = network().eval()
    x = torch.randn(1, 1, 32, 32)
    eps = net.noise_for(x.expand(3, -1, -1, -1))
    with torch.no_grad():
        together = net.decode(net.latents(net.encode(x), eps)[0])
        alone = [net(x, [e[k : k + 1] for e in eps])[0] for k in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)
    assert float((together[0] - together[1]).abs().max()) > 1e-3
