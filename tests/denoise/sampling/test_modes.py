import torch

from divseg.denoise.sampling.modes import mode_reach, seek_mode


def scene(share, k=64, side=24, sd=0.05):
    """Samples that show a bright square in `share` of the cases, with a little scatter."""
    generator = torch.Generator().manual_seed(0)
    samples = sd * torch.randn(k, 1, side, side, generator=generator)
    samples[: round(share * k), :, 8:16, 8:16] += 1.0
    return samples


def test_goes_to_the_larger_group():
    for share, level in ((0.7, 1.0), (0.3, 0.0)):
        inner = seek_mode(scene(share))[0, 10:14, 10:14]
        assert float((inner - level).abs().max()) < 0.06
        assert float((scene(share).mean(0)[0, 10:14, 10:14] - level).abs().min()) > 0.2


def test_stays_near_the_mean_of_one_group():
    samples = torch.randn(256, 2, 20, 20, generator=torch.Generator().manual_seed(1))
    assert float((seek_mode(samples) - samples.mean(0)).square().mean().sqrt()) < 0.2


def test_does_not_depend_on_unit_or_offset():
    samples = scene(0.6)
    torch.testing.assert_close(
        seek_mode(300.0 * samples + 50.0), 300.0 * seek_mode(samples) + 50.0, rtol=1e-3, atol=1.0
    )


def test_equal_samples_and_one_sample():
    flat = torch.ones(5, 1, 9, 9)
    torch.testing.assert_close(seek_mode(flat), flat[0])
    one = torch.randn(1, 1, 9, 9)
    torch.testing.assert_close(seek_mode(one), one[0])


def test_reach_is_enough_in_volumes_too():
    samples = torch.randn(8, 1, 5, 60, 60, generator=torch.Generator().manual_seed(2))
    reach = mode_reach()
    whole = seek_mode(samples)
    part = seek_mode(samples[..., : 20 + reach, :])
    torch.testing.assert_close(part[..., :20, :], whole[..., :20, :], rtol=1e-4, atol=1e-4)
