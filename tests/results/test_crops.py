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
        save_crop(path, Crop(5, 7, samples))
        crop = load_crop(path)
    assert (crop.y, crop.x) == (5, 7)
    assert crop.samples.dtype == np.float32
    np.testing.assert_allclose(crop.samples, samples, atol=np.ptp(samples.astype(float)) / 509 + 1e-2)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", None])
def test_a_damaged_file_is_told(tmp_path, content):
    path = tmp_path / "a.npz"
    if content is None:
        np.savez(path, samples=np.zeros((2, 2)), limits=[0, 1], corner=[0, 0])
    else:
        path.write_bytes(content)
    with pytest.raises(FileProblem, match="run again"):
        load_crop(path)
