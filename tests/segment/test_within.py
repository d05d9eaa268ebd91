"""Segmenters of images of which only a part is data."""

from __future__ import annotations

import numpy as np
import pytest

from divseg import segmenter
from divseg.errors import InputError

METHODS = ("otsu", "li", "triangle", "yen", "isodata", "local", "sauvola", "hysteresis")


def picture():
    """Return a picture of cells with a part that is no data: brighter than all, and darker than all."""
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:96, :96]
    cells = np.zeros((96, 96), bool)
    for cy, cx in ((20, 45), (60, 40), (70, 80), (20, 80)):
        cells |= np.hypot(y - cy, x - cx) < 9
    valid = np.ones((96, 96), bool)
    valid[:, :24] = False
    return rng.normal(np.where(cells, 200, 100), 5).astype(np.float32), cells, valid


@pytest.mark.parametrize("value", [-5000.0, 5000.0])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_no_data_does_not_count(method, value):
    image, cells, valid = picture()
    image[~valid] = value
    if method in ("local", "sauvola"):  # a filter with a window sees what is filled in
        image[~valid] = 100
    labels = np.asarray(segmenter(f"{method},min_size=20").within(valid)(image))
    assert not labels[~valid].any()
    assert ((labels > 0) == (cells & valid))[valid].mean() > 0.98


@pytest.mark.parametrize("threshold", ["image", "sample"])
def test_fitted_and_stacks(threshold):
    image, _, valid = picture()
    image[~valid] = 9000
    segment = segmenter(f"otsu,threshold={threshold}").within(valid).fit(image)
    for labels in segment(np.stack([image, image])):
        assert labels.max() == 4
        assert not labels[~valid].any()


def test_all_valid_is_the_segmenter_itself():
    for spec in ("otsu", "stardist:nuclei"):
        segment = segmenter(spec)
        assert segment.within(None) is segment


def test_another_shape_is_refused():
    image, _, valid = picture()
    with pytest.raises(InputError, match=r"within\(\)"):
        segmenter("otsu").within(valid[:50])(image)


@pytest.mark.parametrize("mask", [True, False])
def test_functions_of_the_user_are_cut(mask):
    image, cells, valid = picture()
    image[~valid] = 9000

    def bright(pixels):
        return pixels > 150 if mask else (pixels > 150).astype(np.int32)

    labels = np.asarray(segmenter(bright).within(valid)(image))
    assert not labels[~valid].any()
    np.testing.assert_array_equal(labels > 0, cells & valid)


class TestStarDist:
    def test_objects_are_cut(self):
        image, _, valid = picture()
        image[~valid] = 100
        inside = valid.copy()
        inside[:, :40] = False
        assert (np.asarray(segmenter("stardist:nuclei")(image)) > 0)[~inside].any()
        assert not (np.asarray(segmenter("stardist:nuclei").within(inside)(image)) > 0)[~inside].any()

    def test_percentiles_are_of_the_data(self):
        image, _, valid = picture()
        segment = segmenter("stardist:nuclei,normalize=image")
        limits = []
        for value in (-900, 100, 60000):
            image[~valid] = value
            fitted = segment.within(valid).fit(image)
            limits.append((float(fitted._limits.low[0, 0]), float(fitted._limits.high[0, 0])))
        assert limits[0] == limits[1] == limits[2]
        assert limits[0] == pytest.approx(tuple(np.percentile(image[valid], (1, 99.8))), rel=1e-5)

    def test_a_stack_shares_what_is_data(self):
        image, _, valid = picture()
        image[~valid] = 100
        segment = segmenter("stardist:nuclei").within(valid)
        for labels in segment(np.stack([image, image])):
            np.testing.assert_array_equal(labels, segment(image))
