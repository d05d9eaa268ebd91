import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from divseg.denoise.training import data as data_module
from divseg.denoise.training.data import TrainingData, structure, validation_boxes, validation_images
from divseg.denoise.training.settings import TrainSettings
from divseg.errors import ConfigError, DivsegWarning, InputError


def ramp(shape, dtype=np.uint16, offset=0):
    return (np.arange(shape[0] * shape[1]).reshape(shape) % 1000 + offset).astype(dtype)


def test_normalised_by_all_pixels_of_all_sizes():
    images = [ramp((40, 50)), ramp((64, 33), np.uint8), ramp((70, 70), np.float32)]
    data = TrainingData(images, patch=64, multiple=4)
    pixels = np.concatenate([im.ravel().astype(float) for im in images])
    assert data.normalization.mean == pytest.approx((pixels.mean(),))
    assert data.normalization.std == pytest.approx((pixels.std(),))
    assert data.crop == (32, 32)  # the smallest side, 33, cut to a multiple of 4
    batch = data.batch(5, np.random.default_rng(0))
    assert batch.shape == (5, 1, 32, 32)
    assert batch.dtype == torch.float32


def test_crops_are_crops_in_all_eight_positions():
    image = np.arange(64.0).reshape(8, 8)
    data = TrainingData([np.tile(image, (2, 2))[:16, :16]], patch=16, multiple=4)
    seen = set()
    rng = np.random.default_rng(0)
    for _ in range(20):
        for crop in data.batch(8, rng):
            seen.add(tuple(np.rint(data.normalization.denormalize(crop[None]).numpy()).ravel().astype(int)))
    assert len(seen) == 8
    assert all(sorted(s) == sorted(np.tile(image, (2, 2)).ravel()) for s in seen)


def test_same_generator_same_crops():
    data = TrainingData([ramp((50, 50))], 16, 4)
    a, b = (data.batch(4, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(a, b)


def test_too_large_collections_are_thinned_with_a_warning(monkeypatch):
    monkeypatch.setattr(data_module, "MAX_BYTES", 5 * 32 * 32 * 2)
    with pytest.warns(DivsegWarning, match="of 16 images"):
        data = TrainingData([ramp((32, 32), offset=i) for i in range(16)], 16, 4)
    assert [int(im[0, 0, 0]) for im in data.images] == [0, 4, 8, 12]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "no images"),
        ([ramp((64, 64)), ramp((8, 64))], "8x64 pixels is smaller than the network's tile of 16x16"),
        ([np.full((32, 32), 5)], "same value"),
        ([np.zeros((3, 2, 32, 32))], "2-D"),
        ([np.zeros((3, 32, 32)), np.zeros((2, 32, 32))], "same channels"),
    ],
)
def test_unusable_images(images, message):
    with pytest.raises(InputError, match=message):
        TrainingData(images, 64, 4)


def test_thin_volumes_are_told_to_be_taken_plane_by_plane():
    with pytest.raises(InputError, match=r"3x64x64 pixels is smaller .* 4x16x16 pixels; give its planes"):
        TrainingData([np.stack([ramp((64, 64))] * 3)[None]], 64, 4, dims=3)


@given(st.integers(0, 2000))
def test_every_twentieth_image_of_many(count):
    numbers = validation_images(count)
    assert len(numbers) == (0 if count < 20 else min(32, round(0.05 * count)))
    assert numbers == sorted(set(numbers))
    assert all(0 <= i < count for i in numbers)


@given(st.lists(st.tuples(st.integers(16, 300), st.integers(16, 300)), min_size=1, max_size=5), st.integers(4, 16))
def test_boxes_hold_a_crop_are_small_and_leave_room(shapes, side):
    for i, box in validation_boxes(shapes, (side, side)).items():
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
    checked = {v for _ in range(20) for v in pixels(data, data.validation_batch(8, rng))}
    assert checked
    if expected != "training crops":
        assert not trained & checked
        assert len(trained) > 0.9 * (sum(im.size for im in images) - len(checked))  # and nothing else is left out
    else:
        assert checked & trained


def pixels(data, batch):
    return set(np.rint(data.normalization.denormalize(batch).numpy().astype(float)).astype(int).ravel().tolist())


def test_the_validation_split_can_be_switched_off():
    images = [np.arange(96 * 96).reshape(96, 96)]
    assert TrainingData(images, 32, 4, validation_split=False).validation == "training crops"


def test_volumes_are_split_too():
    data = TrainingData([np.random.default_rng(0).random((20, 100, 100))], 64, 4, dims=3)
    assert data.crop == (16, 32, 32)
    assert data.validation == "held-out corners"
    assert data.batch(2, np.random.default_rng(0)).shape == (2, 1, 16, 32, 32)


@pytest.fixture
def corner():
    rng = np.random.default_rng(0)
    image = rng.normal(0, 1, (128, 128)).astype(np.float32)
    image[:32, :32] += 50  # one bright corner in an empty image
    return TrainingData([image], 32, 4, validation_split=False)


def test_chosen_crops_hold_more_structure(corner):
    even = structure(corner.batch(200, np.random.default_rng(1))).mean()
    chosen = structure(corner.batch(200, np.random.default_rng(1), 1.0)).mean()
    assert chosen > 1.5 * even


def test_shape_and_fraction_of_even_crops(corner):
    batch = corner.batch(4, np.random.default_rng(2), 0.5)
    assert batch.shape == (4, 1, 32, 32)
    even = corner.batch(2 + 2 * 4, np.random.default_rng(2))[:2]
    torch.testing.assert_close(batch[:2], even)


def test_structure_is_blind_to_pixel_noise_and_knows_volumes():
    flat = torch.zeros(1, 2, 32, 32)
    assert structure(flat).item() == 0
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 1, 64, 64)))
    assert structure(noise).item() < 0.2
    assert structure(torch.zeros(3, 1, 4, 16, 16)).shape == (3,)


def test_a_fraction_is_between_0_and_1():
    with pytest.raises(ConfigError, match="structure_sampling=2"):
        TrainSettings(structure_sampling=2)
