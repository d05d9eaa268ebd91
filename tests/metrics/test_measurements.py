"""Measurements are those of scikit-image, in pixels and in micrometres; intensities know their background."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import regionprops_table
from skimage.segmentation import expand_labels

from divseg.errors import InputError
from divseg.io import PixelSize
from divseg.metrics.intensity import RING
from divseg.metrics.measurements import measure_objects
from divseg.metrics.posterior import object_moments

STATISTICS = ("mean", "median", "std", "sum", "background", "corrected", "corrected_sum")


def scene(seed=0):
    """Return labels with a gap in their numbers, and an image of two channels."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((60, 70), np.int32)
    for k, (y, x, r) in enumerate([(15, 15, 8), (40, 20, 5), (22, 48, 11), (22, 62, 4)], start=1):
        yy, xx = np.indices(labels.shape)
        labels[((yy - y) ** 2 + (xx - x) ** 2 <= r**2) & (labels == 0)] = k if k < 4 else 6
    return labels, rng.normal(100, 10, (2, *labels.shape)) + 50 * (labels > 0)


def test_values_are_those_of_scikit_image():
    labels, image = scene()
    ours = measure_objects(labels, image, channels=["DAPI", ""], pixel_size=PixelSize(0.5, 0.5))
    theirs = regionprops_table(
        labels,
        np.moveaxis(image, 0, -1),
        properties=("label", "area", "centroid", "perimeter", "axis_major_length", "intensity_mean", "intensity_std"),
        extra_properties=[lambda mask, pixels: np.median(pixels[mask], axis=0)],
        spacing=(0.5, 0.5),
    )
    assert ours["label"].tolist() == [1, 2, 3, 6]
    pairs = {
        "area_um2": "area",
        "centroid_y_um": "centroid-0",
        "centroid_x_um": "centroid-1",
        "perimeter_um": "perimeter",
        "axis_major_um": "axis_major_length",
        "raw_DAPI_mean": "intensity_mean-0",
        "raw_mean": "intensity_mean-1",
        "raw_DAPI_std": "intensity_std-0",
        "raw_DAPI_median": "<lambda>-0",
    }
    for name, other in pairs.items():
        np.testing.assert_allclose(ours[name], theirs[other], err_msg=name)
    np.testing.assert_allclose(ours["area"], np.array(theirs["area"]) / 0.25)
    np.testing.assert_allclose(ours["raw_sum"], ours["raw_mean"] * ours["area"])


def test_the_background_is_a_ring_that_no_other_object_is_in():
    labels, image = scene()
    table = measure_objects(labels, image, channels=["a", "b"]).set_index("label")
    reach = [expand_labels(labels, distance) for distance in RING]
    for label in table.index:
        ring = (reach[1] == label) & (reach[0] == 0)
        assert table["raw_a_background"][label] == pytest.approx(image[0][ring].mean())
    np.testing.assert_allclose(table["raw_a_corrected"], table["raw_a_mean"] - table["raw_a_background"])
    np.testing.assert_allclose(table["raw_a_corrected_sum"], table["raw_a_corrected"] * table["area"])


def test_pixels_without_data_are_left_out():
    labels, image = scene()
    valid = np.ones(labels.shape, bool)
    valid[:, 15:] = False
    image[:, ~valid] = np.nan
    table = measure_objects(labels, image, channels=["a", "b"], valid=valid).set_index("label")
    assert table["raw_a_mean"][1] == pytest.approx(image[0][(labels == 1) & valid].mean())
    assert np.isfinite(table["raw_a_background"][1])
    assert table.loc[3].filter(like="raw").isna().all()
    assert table["area"][3] == (labels == 3).sum()


def test_an_object_that_fills_the_image_has_no_background():
    table = measure_objects(np.ones((6, 7), int), np.full((1, 6, 7), 3.0))
    assert table["raw_mean"].tolist() == [3]
    assert table["raw_background"].isna().all()
    assert table["raw_corrected"].isna().all()


def test_columns_follow_the_pixel_size():
    labels, image = scene()
    plain = measure_objects(labels, image, channels=["a", "b"])
    assert not [name for name in plain if "um" in name.split("_")]
    assert measure_objects(labels, image, channels=["a", "b"], pixel_size=PixelSize(1, 1, unit="px")).equals(plain)
    oblong = measure_objects(labels, image, channels=["a", "b"], pixel_size=PixelSize(0.5, 0.25))
    assert "perimeter_um" not in oblong
    np.testing.assert_allclose(oblong["area_um2"], plain["area"] / 8)
    big = oblong.set_index("label").loc[3]
    assert big["axis_major_um"] / big["axis_minor_um"] == pytest.approx(2, rel=0.1)
    assert list(plain.columns[:3]) == ["label", "area", "perimeter"]


def test_without_objects_there_are_columns_without_rows():
    nothing = np.zeros((4, 5), int)
    samples = [(nothing, [object_moments(nothing, np.zeros((4, 5)))])]
    table = measure_objects(nothing, np.zeros((1, 4, 5)), denoised=np.zeros((1, 4, 5)), samples=samples)
    assert len(table) == 0
    assert {f"raw_{name}" for name in STATISTICS} <= set(table)
    assert {"posterior_mean_q05", "denoised_median"} <= set(table)


def test_other_shapes_are_refused():
    with pytest.raises(InputError, match=r"image \(4, 5\) for 1 channels and labels \(4, 5\)"):
        measure_objects(np.zeros((4, 5), int), np.zeros((4, 5)))


@given(
    arrays(np.int32, (6, 7), elements=st.integers(0, 3)),
    arrays(np.float32, (6, 7), elements=st.floats(-100, 100, width=32)),
)
def test_any_objects_and_intensities(labels, image):
    table = measure_objects(labels, image[None])
    for row in table.itertuples():
        pixels = image[labels == row.label].astype(float)
        expected = (pixels.mean(), np.median(pixels), pixels.std(), pixels.sum())
        np.testing.assert_allclose((row.raw_mean, row.raw_median, row.raw_std, row.raw_sum), expected, atol=1e-9)
