import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from divseg.errors import FileProblem
from divseg.results.crops import Crop, load_crop, save_crop


@given(arrays(np.float32, (2, 3, 4), elements=st.floats(-1e4, 1e4, width=32)))
def test_a_crop_comes_back_to_half_a_step(samples):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        save_crop(path, Crop(5, 7, 2, samples))
        crop = load_crop(path)
    assert (crop.y, crop.x, crop.z) == (5, 7, 2)
    assert crop.samples.dtype == np.float32
    np.testing.assert_allclose(crop.samples, samples, atol=np.ptp(samples.astype(float)) / 509 + 1e-2)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", None])
def test_a_damaged_file_is_told(tmp_path, content):
    path = tmp_path / "a.npz"
    if content is None:
        np.savez(path, samples=np.zeros((2, 2)), limits=[0, 1], corner=[0, 0, 0])
    else:
        path.write_bytes(content)
    with pytest.raises(FileProblem, match="run again"):
        load_crop(path)


@pytest.mark.parametrize(
    ("corner", "shape", "inside"),
    [
        ((0, 0, 0), (3, 4), True),
        ((1, 2, 0), (4, 6), True),
        ((1, 2, 0), (4, 5), False),
        ((2, 2, 0), (4, 6), False),
        ((-1, 0, 0), (9, 9), False),
        ((0, 0, 1), (9, 9), False),
        ((0, 0, 1), (2, 9, 9), True),
    ],
)
def test_a_crop_lies_in_an_image_or_does_not(corner, shape, inside):
    crop = Crop(*corner, np.zeros((2, 3, 4), np.float32))
    assert crop.lies_in(shape) is inside
    if inside:
        image = np.random.default_rng(0).normal(size=shape)
        y, x, z = corner
        plane = image if image.ndim == 2 else image[z]
        np.testing.assert_array_equal(crop.part_of(image), plane[y : y + 3, x : x + 4])
