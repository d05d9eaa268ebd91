import time

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from divseg.errors import FileProblem, InputError
from divseg.io import check_pixels, pixels, read
from divseg.io.cache import CACHE
from divseg.io.tiff import TiffSource


@pytest.fixture
def reads(monkeypatch):
    """What was read from disk: names of files and positions; nothing is in memory before."""
    done, load = [], TiffSource.load

    def counted(source, index):
        done.append((source.path.name, index))
        return load(source, index)

    monkeypatch.setattr(TiffSource, "load", counted)
    CACHE.clear()
    return done


def settle():
    """Wait until files are old enough to be kept in memory."""
    time.sleep(0.03)


def test_an_image_is_read_from_disk_once(save, reads):
    path, data = save("a.tif")
    settle()
    images = read(path)
    first = images.refs[0].load()
    assert read(path).refs[0].load() is images[0] is first
    assert reads == [("a.tif", (None, None))]
    np.testing.assert_array_equal(first.data, data)


def test_arrays_from_files_are_read_only(save):
    path, _ = save("a.tif")
    ref = read(path).refs[0]
    for image in (ref.load(), ref.load((slice(2, 5), slice(3, 9))), read(path)[0]):
        with pytest.raises(ValueError, match="read-only"):
            image.data[0, 0] = 1


def test_pixels_are_checked_at_load_and_only_then(save, monkeypatch):
    path, _ = save("a.tif", data=np.array([[0, np.nan]], np.float32))
    ref = read(path).refs[0]
    image = ref.load(check=False)
    assert np.isnan(image.data[0, 1])
    for work in (ref.load, lambda: check_pixels(image), lambda: ref.load((slice(1), slice(1, 2)))):
        with pytest.raises(InputError, match=r"a\.tif: 1 of . pixels are NaN"):
            work()
    path, _ = save("b.tif")
    good = read(path).refs[0].load()
    monkeypatch.setattr(pixels, "EXACT", None)
    check_pixels(good)
    with pytest.raises(TypeError):
        check_pixels(good.data)


def test_a_changed_file_is_read_again(save, reads):
    path, _ = save("a.tif")
    settle()
    ref = read(path).refs[0]
    before = ref.load()
    settle()
    _, data = save("a.tif")  # of the same size
    settle()
    after = ref.load()
    np.testing.assert_array_equal(after.data, data)
    assert after.fingerprint != before.fingerprint
    assert len(reads) == 2
    assert ref.stat()[0] == path.stat().st_size


def test_stat_of_a_file_that_is_gone(save):
    path, _ = save("a.tif")
    ref = read(path).refs[0]
    path.unlink()
    with pytest.raises(FileProblem, match=r"a\.tif: its pixels cannot be read"):
        ref.stat()


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"byteorder": ">"}, {"tile": (16, 16)}])
def test_region_of_a_stack(save, reads, options):
    path, data = save("a.tif", (3, 4, 16, 17), **options)
    settle()
    ref = read(path, axes="TZYX").refs[2]
    part = ref.load((slice(1, 3), slice(4, None), slice(0, 17, 2)))
    np.testing.assert_array_equal(part.data, data[2, 1:3, 4:, ::2])
    assert (part.axes, part.name, part.dtype.isnative) == ("ZYX", "a_t2", True)
    assert reads == [("a.tif", (2, slice(1, 3), slice(4, None), slice(0, 17, 2)))]
    whole = ref.load()
    cut = ref.load((slice(1, 3), slice(4, None), slice(0, 17, 2)))
    assert cut.fingerprint == part.fingerprint != whole.fingerprint
    assert len(reads) == 2  # the second part is cut out of the image in memory


def test_region_of_turned_axes_and_of_png(tmp_path, rng):
    data = rng.integers(0, 255, (8, 9, 4)).astype("uint8")
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack")
    turned = read(tmp_path / "a.tif", axes="XYZ").refs[0].load((slice(1, 3), slice(2, 7), slice(0, 5)))
    np.testing.assert_array_equal(turned.data, data.transpose()[1:3, 2:7, :5])
    iio.imwrite(tmp_path / "b.png", data[..., 0])
    CACHE.clear()
    part = read(tmp_path / "b.png").refs[0].load((slice(-3, None), slice(2, 4)))
    np.testing.assert_array_equal(part.data, data[-3:, 2:4, 0])


def test_equal_pixels_are_accepted_in_a_region(save):
    data = np.zeros((8, 8), np.uint8)
    data[0] = 1
    path, _ = save("a.tif", data=data)
    part = read(path).refs[0].load((slice(4, 8), slice(0, 8)))
    check_pixels(part)
    assert not part.data.any()


@pytest.mark.parametrize("region", [(slice(2),), (slice(2), slice(20, 30)), (slice(3, 3), slice(4))])
def test_region_that_does_not_fit(save, region):
    path, _ = save("a.tif")
    with pytest.raises(InputError, match="give a slice for each of the axes YX"):
        read(path).refs[0].load(region)
