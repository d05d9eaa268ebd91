import numpy as np
import pytest
import tifffile


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def save(tmp_path, rng):
    """Write a TIFF of random pixels and return its path and pixels."""

    def _save(name, shape=(16, 17), dtype="uint16", folder="images", data=None, **options):
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if data is None:
            data = rng.integers(0, 2 if dtype == "bool" else 200, shape).astype(dtype)
        options.setdefault("photometric", "minisblack")
        tifffile.imwrite(path, data, **options)
        return path, data

    return _save
