"""A grain of dust that shines does not move what is found elsewhere."""

import numpy as np
import pytest

from divseg.metrics import evaluate
from divseg.segment import segmenter
from divseg.segment.outlying import outlying_limits, without_outlying
from divseg.segment.thresholds import TAIL

CENTRES = [(20, 25), (30, 90), (60, 50), (75, 110), (100, 20), (105, 75)]
METHODS = ("otsu", "li", "isodata", "triangle", "yen", "local", "sauvola", "hysteresis")


def cells(seed=0):
    """Return a denoised field of six cells, and its truth."""
    y, x = np.indices((128, 128))
    labels = np.zeros((128, 128), np.int32)
    for k, (cy, cx) in enumerate(CENTRES, start=1):
        labels[np.hypot(y - cy, x - cx) < 9] = k
    light = np.where(labels > 0, 200 + 15 * (labels % 3), 100)
    return (light + np.random.default_rng(seed).normal(0, 6, labels.shape)).astype(np.float32), labels


def disc(share):
    """Return the pixels of a grain of dust far from all cells, which takes a share of all pixels."""
    y, x = np.indices((128, 128))
    return np.hypot(y - 60, x - 80) < (share * 128**2 / np.pi) ** 0.5


@pytest.mark.parametrize("value", [600, 2000, 65535, 1e9, -1e6])
@pytest.mark.parametrize("share", [0.001, 0.005])
@pytest.mark.parametrize("method", METHODS)
def test_cells_beside_a_grain_are_found_as_without_it(method, share, value):
    image, truth = cells()
    dusty = np.where(disc(share), np.float32(value), image)
    for options in ("smooth=1,split=distance,min_size=20", "smooth=3,split=intensity,min_size=20"):
        segment = segmenter(f"{method},{options}")
        for fitted in (segment, segmenter(f"{segment.name},threshold=image").fit(dusty)):
            found = np.where(truth > 0, np.asarray(fitted(dusty)), 0)
            assert evaluate(found, np.where(truth > 0, np.asarray(segment(image)), 0)).map > 0.9


def test_nothing_changes_without_outlying_pixels():
    image, _ = cells()
    for valid in (None, image > 90):
        got, counted = without_outlying(image, valid, 4.0)
        assert got is image
        assert counted is valid


def test_few_bright_cells_on_noise_are_no_outliers():
    """What is bright is all that the image shows: it is where the level must lie."""
    y, x = np.indices((128, 128))
    image = np.random.default_rng(1).normal(100, 5, (128, 128)).astype(np.float32)
    image[np.hypot(y - 40, x - 50) < 4] += 300
    assert outlying_limits(image) is None
    assert np.asarray(segmenter("otsu,smooth=1,min_size=20")(image)).max() == 1


def test_what_lies_around_a_grain_is_not_counted():
    image, _ = cells()
    grain = disc(0.002)
    got, counted = without_outlying(np.where(grain, 1e5, image).astype(np.float32), None, 3.0)
    assert not counted[grain].any()
    assert np.count_nonzero(~counted) > 1.5 * np.count_nonzero(grain)
    np.testing.assert_array_equal(got[~grain], image[~grain])
    assert got.max() < 1000


def test_scattered_outlying_pixels_leave_something_to_count():
    image, _ = cells()
    places = np.random.default_rng(2).random(image.shape) < TAIL / 2
    _, counted = without_outlying(np.where(places, 1e5, image).astype(np.float32), None, 16.0)
    np.testing.assert_array_equal(counted, ~places)


def test_only_data_counts():
    image, _ = cells()
    valid = np.ones(image.shape, bool)
    valid[:40] = False
    grain = disc(0.003)
    image[:40] = 1e7
    image[grain] = 1e5
    _, counted = without_outlying(image, valid, 0.0)
    np.testing.assert_array_equal(counted, valid & ~grain)
