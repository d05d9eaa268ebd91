import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from divseg.denoise.sampling import latent_noise as latent
from divseg.denoise.sampling.latent_noise import LatentNoise, image_key
from divseg.denoise.sampling.philox import philox_on_device, philox_words
from divseg.io import Image

CPU = torch.device("cpu")


def noise(seed=0, key=1, channels=8, dims=2):
    return LatentNoise(seed, key, channels, dims, CPU)


def test_standard_normal_and_independent():
    a = noise().window(0, (0, 0), (100, 100)).numpy()
    b = noise().window(1, (0, 0), (100, 100)).numpy()
    assert a.dtype == np.float32
    assert stats.kstest(a.ravel(), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(a[:4].ravel(), a[4:].ravel())[0, 1]) < 0.02  # both numbers of a Box-Muller pair
    assert not np.array_equal(a[:, :32, :32], a[:, 32:64, :32])
    assert not np.array_equal(a[:, :32, 32:64], a[:, 32:64, :32])


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(0, 80)] * 2), st.tuples(*[st.integers(1, 40)] * 2), st.integers(0, 2**63))
def test_any_window_of_the_grid_is_the_same(start, size, seed):
    whole = noise(seed, 5, 2).window(3, (0, 0), (120, 120))
    stop = (start[0] + size[0], start[1] + size[1])
    part = noise(seed, 5, 2).window(3, start, stop)
    assert torch.equal(part, whole[:, start[0] : stop[0], start[1] : stop[1]])


def test_windows_in_three_dimensions():
    whole = noise(dims=3, channels=3).window(2, (0, 0, 0), (20, 34, 18))
    part = noise(dims=3, channels=3).window(2, (15, 3, 16), (18, 33, 18))
    assert torch.equal(part, whole[:, 15:18, 3:33, 16:18])


def test_a_small_cache_changes_nothing(monkeypatch):
    whole = noise().window(0, (0, 0), (90, 90))
    monkeypatch.setattr(latent, "CACHE_BYTES", 1)
    field = noise()
    for _ in range(2):
        assert torch.equal(field.window(0, (10, 20), (70, 80)), whole[:, 10:70, 20:80])
    assert len(field._blocks) == 1


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=2),
    st.lists(st.integers(0, 2**40), min_size=2, max_size=3),
    st.integers(1, 50),
)
def test_the_device_generator_gives_numpys_bits(key, place, count):
    words = np.array(key, np.uint64)
    assert torch.equal(philox_on_device(words, place, count, CPU), philox_words(words, place, count, CPU))


def test_the_key_of_an_image_is_the_beginning_of_its_fingerprint():
    image = Image.from_array(np.arange(12, dtype=np.uint16).reshape(3, 4))
    assert image_key(image.fingerprint) == int(np.frombuffer(bytes.fromhex(image.fingerprint)[:8], "<u8")[0])
    assert image_key(Image.from_array(image.data + 1).fingerprint) != image_key(image.fingerprint)
