from pathlib import Path

import numpy as np
import pytest

from divseg.errors import InputError
from divseg.io import Image, ImageList, PixelSize, as_images, fingerprint, read


def test_image_is_an_array():
    pixels = np.arange(12, dtype=np.uint16).reshape(3, 4)
    image = Image.from_array(pixels, "a", pixel_size=PixelSize(0.1, 0.2))
    assert image.axes == "YX"
    assert image.shape == image.spatial_shape == (3, 4)
    assert image.dtype == np.uint16
    assert np.asarray(image) is pixels
    np.testing.assert_array_equal(np.asarray(image, dtype=np.float32), pixels.astype(np.float32))
    copy = np.array(image, copy=True)
    copy[0, 0] = 99
    assert pixels[0, 0] == 0
    with pytest.raises(ValueError, match="without a copy"):
        np.array(image, dtype=np.float32, copy=False)


def test_spatial_shape_leaves_channels_out():
    assert Image.from_array(np.zeros((2, 3, 4, 5)), axes="CZYX").spatial_shape == (3, 4, 5)
    assert Image.from_array(np.zeros((2, 4, 5)), axes="CYX").spatial_shape == (4, 5)
    assert Image.from_array(np.zeros((2, 4, 5)), axes="ZYX").spatial_shape == (2, 4, 5)


def test_big_endian_becomes_native():
    image = Image.from_array(np.arange(6, dtype=">u2").reshape(2, 3))
    assert image.dtype.isnative
    np.testing.assert_array_equal(image.data, [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize(
    ("shape", "axes", "message"),
    [
        ((3, 4, 5), None, "not a 2-D image"),
        ((3, 4), "XY", "not one of"),
        ((3, 4), "ZYX", "do not fit"),
        ((0, 4), None, "no pixels"),
    ],
)
def test_wrong_axes(shape, axes, message):
    with pytest.raises(InputError, match=message):
        Image.from_array(np.zeros(shape), axes=axes)


@pytest.mark.parametrize("size", [0, -1.0, float("inf"), float("nan")])
def test_nonsense_pixel_size(size):
    with pytest.raises(InputError, match="not a positive number"):
        PixelSize(size, 1)
    with pytest.raises(InputError, match="not a positive number"):
        PixelSize(1, 1, size)


class TestAsImages:
    def test_arrays(self):
        plane = np.ones((4, 5))
        assert [i.shape for i in as_images(plane)] == [(4, 5)]
        stack = as_images(np.arange(24).reshape(2, 3, 4))
        assert [(i.name, i.plane, i.axes) for i in stack] == [
            ("image_p0", (("P", 0),), "YX"),
            ("image_p1", (("P", 1),), "YX"),
        ]
        np.testing.assert_array_equal(stack[1].data, np.arange(12, 24).reshape(3, 4))

    def test_sequences_of_different_sizes(self):
        images = as_images([np.ones((4, 5)), Image.from_array(np.ones((6, 7)), "mine"), [[1, 2], [3, 4]]])
        assert [(i.name, i.shape) for i in images] == [
            ("image_0", (4, 5)),
            ("mine", (6, 7)),
            ("image_2", (2, 2)),
        ]
        assert [i.shape for i in as_images(np.ones((2, 2)) for _ in range(2))] == [(2, 2), (2, 2)]

    def test_image_and_list_pass_through(self, save):
        image = Image.from_array(np.ones((2, 3, 4)), axes="ZYX")
        assert as_images(image)[0] is image
        path, data = save("a.tif")
        images = read(path)
        assert as_images(images) is images
        for given in (path, str(path), [path], path.parent):
            found = as_images(given)
            assert isinstance(found, ImageList)
            np.testing.assert_array_equal(found[0].data, data)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (np.ones(5), "neither an image"),
            (np.ones((2, 2, 2, 2)), "neither an image"),
            (np.ones((0, 2, 2)), "neither an image"),
            ([], "there are no images"),
            (3, "int is not an image"),
            ([np.ones((2, 2)), None], "item 1"),
            ([np.ones((2, 2, 2))], "not a 2-D image"),
            (Path("/nowhere/at/all"), "no such file"),
        ],
    )
    def test_what_is_no_image(self, given, message):
        with pytest.raises(InputError, match=message):
            as_images(given)


def test_fingerprint_is_computed_once(monkeypatch):
    image = Image.from_array(np.arange(6).reshape(2, 3))
    first = image.fingerprint
    assert first == fingerprint(image) == fingerprint(image.data)
    monkeypatch.setattr("divseg.io.image.hash_array", None)
    assert (image.fingerprint, fingerprint(image)) == (first, first)
