import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from divseg.errors import InputError
from divseg.results.overlay import (
    CONFIDENCE,
    draw,
    existence_colours,
    grey_limits,
    label_colours,
    outlines,
    to_grey,
)

label_images = hnp.arrays(
    np.int32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=st.integers(0, 4)
)


def square() -> np.ndarray:
    labels = np.zeros((9, 9), np.int32)
    labels[2:7, 2:7] = 5
    return labels


def test_outline_of_a_square_is_its_one_pixel_ring():
    expected = square() == 5
    expected[3:6, 3:6] = False
    np.testing.assert_array_equal(outlines(square()), expected)


def test_wider_outline_grows_inwards_only():
    expected = square() == 5
    expected[4, 4] = False
    np.testing.assert_array_equal(outlines(square(), width=2), expected)


def test_touching_objects_each_have_an_outline():
    labels = np.ones((4, 6), np.int32)
    labels[:, 3:] = 2
    np.testing.assert_array_equal(np.flatnonzero(outlines(labels)[0]), [2, 3])


@given(label_images, st.integers(1, 3))
def test_outlines_lie_on_objects_and_do_not_depend_on_numbering(labels, width):
    edge = outlines(labels, width)
    assert not edge[labels == 0].any()
    np.testing.assert_array_equal(edge, outlines(labels * 1000, width))


@given(label_images)
def test_drawing_changes_outline_pixels_only(labels):
    grey = np.full(labels.shape, 17, np.uint8)
    rgb = draw(grey, labels, label_colours(labels))
    edge = outlines(labels)
    assert (rgb[~edge] == 17).all()
    assert (rgb[edge] != 17).any(axis=1).all()


def test_outline_stays_one_pixel_wide_when_enlarged():
    rgb = draw(np.zeros((9, 9), np.uint8), square(), label_colours(square()), factor=4)
    assert rgb.shape == (36, 36, 3)
    coloured = rgb.any(axis=2)
    assert coloured[18].sum() == 2
    assert coloured.sum() == 4 * 19


def test_halo_darkens_background_beside_objects_only():
    rgb = draw(np.full((9, 9), 200, np.uint8), square(), label_colours(square()), halo=True)
    assert rgb[1, 4, 0] == 50
    assert rgb[0, 4, 0] == 200
    assert rgb[4, 4, 0] == 200


def test_existence_decides_the_colour_and_unknown_is_white():
    labels = np.array([[1, 0, 7], [0, 9, 0]])
    objects = pd.DataFrame({"label": [9, 1, 7], "existence": [1.0, 0.25, np.nan]})
    present, colours = existence_colours(labels, objects)
    np.testing.assert_array_equal(present, [1, 7, 9])
    np.testing.assert_array_equal(colours[0], np.rint(255 * np.array(CONFIDENCE(0.25)[:3])))
    np.testing.assert_array_equal(colours[1], [255, 255, 255])
    np.testing.assert_array_equal(colours[2], np.rint(255 * np.array(CONFIDENCE(1.0)[:3])))


def test_colours_of_existence_get_lighter_with_it():
    rgb = CONFIDENCE(np.linspace(0, 1, 32))[:, :3]
    assert (np.diff(rgb @ [0.2126, 0.7152, 0.0722]) > 0).all()


def test_the_outline_of_the_most_doubtful_object_is_seen_on_black():
    """Contrast as in WCAG 2.1, which asks for 3 of graphics and 4.5 of text."""
    linear = ((np.array(CONFIDENCE(0.0)[:3]) + 0.055) / 1.055) ** 2.4
    assert (linear @ [0.2126, 0.7152, 0.0722] + 0.05) / 0.05 > 4.5


def test_objects_table_without_columns_gives_white():
    _, colours = existence_colours(square(), pd.DataFrame())
    np.testing.assert_array_equal(colours, [[255, 255, 255]])


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2),
        elements=st.floats(-1e6, 1e6, width=32) | st.sampled_from([np.nan, np.inf, -np.inf]),
    )
)
def test_limits_are_always_usable(image):
    low, high = grey_limits(image)
    assert low < high
    assert np.isfinite([low, high]).all()
    assert to_grey(image, (low, high)).dtype == np.uint8


def test_different_shapes_are_refused_in_one_line():
    with pytest.raises(InputError, match=r"\(2, 2\).*\(3, 3\)") as caught:
        draw(np.zeros((2, 2), np.uint8), np.zeros((3, 3), int), label_colours(np.zeros((3, 3), int)))
    assert "\n" not in str(caught.value)
