import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from divseg.denoise.latent import image_key, latent_noise


def test_statistics_and_independence():
    a = latent_noise(0, 1, 0, 8, (0, 100), (0, 100))
    b = latent_noise(0, 1, 1, 8, (0, 100), (0, 100))
    assert a.dtype == np.float32
    assert abs(a.mean()) < 0.02
    assert abs(a.std() - 1) < 0.02
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.02
    assert not np.array_equal(a[:, :32, :32], a[:, 32:64, :32])


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(0, 80)] * 2), st.tuples(*[st.integers(1, 40)] * 2), st.integers(0, 2**63))
def test_any_window_of_the_grid_is_the_same(start, size, seed):
    whole = latent_noise(seed, 5, 3, 2, (0, 120), (0, 120))
    rows, cols = (start[0], start[0] + size[0]), (start[1], start[1] + size[1])
    part = latent_noise(seed, 5, 3, 2, rows, cols)
    assert np.array_equal(part, whole[:, rows[0] : rows[1], cols[0] : cols[1]])


def test_key_depends_on_content_shape_and_dtype_not_on_layout():
    image = np.arange(12, dtype=np.uint16).reshape(3, 4)
    assert image_key(image) == image_key(np.asfortranarray(image))
    others = [image.T, image.astype(np.uint8), image + 1, image.reshape(4, 3)]
    assert len({image_key(image), *map(image_key, others)}) == 5
