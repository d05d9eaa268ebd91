import numpy as np
import pytest

from divseg.errors import InputError
from divseg.io import Image, check_pixels, read


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int16", "uint32", "int64", "uint64", "float16", "float32", "float64"]
)
def test_accepted(dtype):
    check_pixels(np.array([[0, 1], [1, 0]], dtype))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        ([[0.0, 1.0], [np.nan, np.inf]], r"2 of 4 pixels are NaN or infinite, the first at \(1, 0\)"),
        ([[7, 7], [7, 7]], "all pixels have the value 7"),
        ([[1j, 2], [3, 4]], "complex128"),
        ([["a", "b"]], "are not intensities"),
        (np.array([[0, 2**53 + 1]]), "9007199254740993 are too large"),
        (np.array([[0, 2**64 - 1]], np.uint64), "too large"),
        (np.array([[0, -(2**63)]]), "too large"),
        ([[0, 1e39]], "do not fit 32-bit floats"),
        (np.zeros((0, 3)), "no pixels"),
    ],
)
def test_refused(pixels, message):
    with pytest.raises(InputError, match=message):
        check_pixels(np.asarray(pixels))


def test_largest_exact_integer():
    check_pixels(np.array([[-(2**53), 2**53]]))


def test_message_names_file_and_plane(save):
    data = np.ones((3, 4, 5), np.float32)
    path, _ = save("a.tif", data=data, imagej=True, metadata={"axes": "TYX"})
    with pytest.raises(InputError, match=r"a\.tif \(T=2\): all pixels") as caught:
        check_pixels(read(path)[2])
    assert str(path) in str(caught.value)
    with pytest.raises(InputError, match=r"^mine: all pixels"):
        check_pixels(Image.from_array(data[0], "mine"))


def test_an_image_is_looked_through_once():
    image = Image.from_array(np.array([[0.0, 1.0]]))
    check_pixels(image)
    image.data[0, 0] = np.nan
    check_pixels(image)  # known to be good
    with pytest.raises(InputError, match="NaN"):
        check_pixels(image.data)
    with pytest.raises(InputError, match="NaN"):
        check_pixels(Image.from_array(image.data))


def test_equal_pixels_may_be_accepted():
    check_pixels(np.ones((2, 2)), constant=True)
    with pytest.raises(InputError, match="do not fit"):
        check_pixels(np.full((2, 2), 1e39), constant=True)
