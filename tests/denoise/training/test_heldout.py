import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divseg.denoise.training.data import TrainingData
from divseg.denoise.training.heldout import held_out_boxes, held_out_images


@given(st.integers(0, 2000))
def test_every_twentieth_image_of_many(count):
    held = held_out_images(count)
    assert len(held) == (0 if count < 20 else min(32, round(0.05 * count)))
    assert held == sorted(set(held))
    assert all(0 <= i < count for i in held)


@given(st.lists(st.tuples(st.integers(16, 300), st.integers(16, 300)), min_size=1, max_size=5), st.integers(4, 16))
def test_boxes_hold_a_crop_are_small_and_leave_room(shapes, side):
    for i, box in held_out_boxes(shapes, (side, side)).items():
        sizes = [b - a for a, b in box]
        assert all(0 <= a < b <= n for (a, b), n in zip(box, shapes[i], strict=True))
        assert min(sizes) >= side
        assert np.prod(sizes) <= np.prod(shapes[i]) / 8
        assert any(n - s >= side for n, s in zip(shapes[i], sizes, strict=True))


@pytest.mark.parametrize(
    ("count", "side", "expected"), [(3, 96, "held-out corners"), (25, 40, "held-out images"), (3, 40, "training crops")]
)
def test_nothing_held_out_is_ever_trained_on(count, side, expected):
    images = [np.arange(side * side).reshape(side, side) + 10_000 * i for i in range(count)]
    data = TrainingData(images, 32, 4)
    assert data.validation == expected
    rng = np.random.default_rng(0)
    trained = {v for _ in range(60) for v in pixels(data, data.batch(8, rng))}
    checked = {v for _ in range(20) for v in pixels(data, data.check_batch(8, rng))}
    assert checked
    if expected != "training crops":
        assert not trained & checked
    else:
        assert checked & trained


def pixels(data, batch):
    return set(np.rint(data.intensity.restore(batch).numpy().astype(float)).astype(int).ravel().tolist())


def test_holding_out_can_be_switched_off():
    images = [np.arange(96 * 96).reshape(96, 96)]
    assert TrainingData(images, 32, 4, held_out=False).validation == "training crops"


def test_volumes():
    data = TrainingData([np.random.default_rng(0).random((20, 100, 100))], 64, 4, dims=3)
    assert data.crop == (16, 32, 32)
    assert data.validation == "held-out corners"
    assert data.batch(2, np.random.default_rng(0)).shape == (2, 1, 16, 32, 32)
