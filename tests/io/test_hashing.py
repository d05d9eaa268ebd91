import numpy as np
import pytest

from divseg.io import Image, config_hash, fingerprint


def test_fingerprint_tells_pixels_shape_and_dtype_apart():
    pixels = np.arange(12, dtype=np.uint16).reshape(3, 4)
    changed = pixels.copy()
    changed[2, 3] += 1
    prints = [fingerprint(x) for x in (pixels, changed, pixels.reshape(4, 3), pixels.astype(np.int16))]
    assert len(set(prints)) == 4
    assert all(len(p) == 64 for p in prints)


def test_fingerprint_ignores_how_pixels_are_stored():
    pixels = np.arange(12, dtype=np.uint16).reshape(3, 4)
    for other in (pixels.astype(">u2"), np.asfortranarray(pixels), Image.from_array(pixels, "other name")):
        assert fingerprint(other) == fingerprint(pixels)
    assert fingerprint(pixels > 3) == fingerprint(np.asfortranarray(pixels > 3))


def test_config_hash():
    one = {"a": 1, "b": {"c": (1, 2), "d": np.float64(0.5)}}
    same = {"b": {"d": 0.5, "c": [1, 2]}, "a": np.int32(1)}
    assert config_hash(one) == config_hash(same)
    assert config_hash(one) != config_hash({**one, "a": 2})
    with pytest.raises(TypeError):
        config_hash({"a": object()})
