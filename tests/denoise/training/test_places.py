"""Crops without pixels that are no data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divseg.denoise.training.data import TrainingData
from divseg.denoise.training.places import find_places, fitting_crop, whole_crops
from divseg.errors import InputError
from divseg.io import Image

MARK = 60000


def image(valid, seed=0):
    """Return noise of which the invalid pixels bear a mark."""
    pixels = np.random.default_rng(seed).normal(1000, 50, valid.shape).astype(np.uint16)
    return Image(np.where(valid, pixels, MARK).astype(np.uint16), "ZYX"[-valid.ndim :], "x", valid=valid)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 5))
def test_whole_crops_are_those_without_invalid_pixels(seed, a, b):
    valid = np.random.default_rng(seed).random((9, 8)) > 0.1
    whole = whole_crops(valid, (a, b))
    for y, x in np.ndindex(whole.shape):
        assert whole[y, x] == valid[y : y + a, x : x + b].all()
    assert whole.shape == (10 - a, 9 - b)


def test_places_keep_off_a_box():
    valid = np.ones((40, 40), bool)
    valid[:, :5] = False
    places = find_places(valid, (8, 8), ((0, 16), (24, 40)), 0)
    assert places.min(0).tolist() == [0, 5]
    assert not ((places[:, 0] < 16) & (places[:, 1] + 8 > 24)).any()


class TestTrainingData:
    @pytest.mark.parametrize("split", [True, False])
    @pytest.mark.parametrize("count", [1, 3, 22])
    def test_no_crop_holds_what_is_no_data(self, count, split):
        images = []
        for k in range(count):
            valid = np.ones((96, 96), bool)
            valid[:, : 5 * (k % 3)] = False
            images.append(image(valid, k) if k % 3 else image(valid, k).data)
        data = TrainingData(images, 32, 4, validation_split=split)
        limit = float(data.units.normalize(np.float32(MARK) + 0 * data.units.mean).max()) - 1
        for batch in (data.batch(200, np.random.default_rng(0)), data.validation_batch(200, np.random.default_rng(0))):
            assert float(batch.max()) < limit

    def test_statistics_are_those_of_the_data(self):
        valid = np.ones((96, 96), bool)
        valid[:30] = False
        one = image(valid)
        data = TrainingData([one], 32, 4)
        assert data.normalization.mean[0] == pytest.approx(one.data[30:].mean())
        assert data.normalization.std[0] == pytest.approx(one.data[30:].std())

    def test_volumes(self):
        valid = np.ones((8, 64, 64), bool)
        valid[2, :20] = False
        data = TrainingData([image(valid)], 32, 4, dims=3)
        assert float(data.batch(100, np.random.default_rng(0)).max()) < 10
        assert [None if m is None else bool(m.all()) for m in data.valid_planes()] == [True, True, False] + [True] * 5

    def test_crops_shrink_to_a_narrow_part(self):
        valid = np.zeros((96, 96), bool)
        valid[:, 30:55] = True
        assert fitting_crop([valid], [valid.size], (64, 64), 4) == (24, 24)

    def test_an_image_without_room_is_not_trained_on(self):
        narrow = np.zeros((96, 96), bool)
        narrow[:, :6] = True
        data = TrainingData([image(np.ones((96, 96), bool)).data, image(narrow)], 32, 4)
        assert data.crop == (32, 32)
        assert float(data.batch(100, np.random.default_rng(0)).max()) < 10

    def test_no_room_at_all(self):
        narrow = np.zeros((96, 96), bool)
        narrow[:, :6] = True
        with pytest.raises(InputError, match="--invalid none"):
            TrainingData([image(narrow)], 32, 4)
