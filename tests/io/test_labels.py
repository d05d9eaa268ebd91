import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from divseg.errors import InputError, OutputError
from divseg.io import PixelSize, read, read_labels, write_image, write_labels
from divseg.io.labels import load_labels


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    labels=hnp.arrays(
        st.sampled_from(["bool", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]),
        hnp.array_shapes(min_dims=2, max_dims=3, max_side=6),
        elements={"min_value": 0},
    ).filter(lambda a: int(a.max()) < 2**32)
)
def test_what_is_written_is_read(tmp_path, labels):
    write_labels(tmp_path / "a.tif", labels)
    again = read_labels(tmp_path / "a.tif")
    np.testing.assert_array_equal(again.reshape(labels.shape), labels)
    assert again.dtype == (np.int32 if int(labels.max()) < 2**31 else np.int64)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize(
    ("high", "dtype", "imagej"),
    [(0, "uint16", True), (300, "uint16", True), (65535, "uint16", True), (65536, "uint32", False)],
)
@pytest.mark.parametrize("shape", [(6, 7), (3, 6, 7)])
def test_file_type_by_largest_label(tmp_path, high, dtype, imagej, shape):
    labels = np.zeros(shape, np.int64)
    labels[..., 2, 3] = high
    size = PixelSize(0.25, 0.1083, 0.5 if len(shape) == 3 else None)
    write_labels(tmp_path / "a.tif", labels, size)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert (tif.is_imagej, tif.is_ome) == (imagej, not imagej)
        assert tif.series[0].dtype == dtype
        assert tif.series[0].axes == ("YX" if len(shape) == 2 else "ZYX")
        assert tif.pages[0].compression.name == "ADOBE_DEFLATE"
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), labels)
    found = read(tmp_path / "a.tif").refs[0].pixel_size
    assert (found.y, found.x, found.z, found.unit) == (
        pytest.approx(size.y, rel=1e-6),
        pytest.approx(size.x, rel=1e-6),
        size.z,
        "µm",
    )


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_other_units_survive(tmp_path, dtype):
    labels = np.array([[0, 70000 if dtype == "uint32" else 1]])
    write_labels(tmp_path / "a.tif", labels, PixelSize(2, 2, unit="nm"))
    size = read(tmp_path / "a.tif").refs[0].pixel_size
    assert (size.y, size.unit) == (pytest.approx(0.002), "µm")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((2, 3)), "float64"),
        (np.array([[0, -3]]), "label -3 is negative"),
        (np.array([[0, 2**32]]), "label 4294967296 is larger"),
        (np.zeros(3, int), r"shape \(3,\)"),
        (np.zeros((0, 3), int), r"shape \(0, 3\)"),
    ],
)
def test_what_cannot_be_written(tmp_path, labels, message):
    with pytest.raises(InputError, match=message):
        write_labels(tmp_path / "a.tif", labels)
    assert not list(tmp_path.iterdir())


class TestReadLabels:
    def test_png_stack_and_big_values(self, tmp_path, save):
        labels = np.arange(12).reshape(3, 4)
        iio.imwrite(tmp_path / "a.png", labels.astype(np.uint16))
        np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), labels)
        path, data = save("b.tif", (3, 5, 6))
        np.testing.assert_array_equal(read_labels(path), data)
        path, data = save("c.tif", data=np.array([[0, 2**31]], np.int64))
        assert read_labels(path).dtype == np.int64
        np.testing.assert_array_equal(read_labels(path), data)
        path, data = save("d.tif", dtype="bool")
        np.testing.assert_array_equal(read_labels(str(path)), data.astype(int))

    def test_imagej_stack_tagged_as_channels(self, save):
        """Stacks are often written without saying what the axis is; ImageJ files then say channels."""
        path, data = save("a.tif", (3, 5, 6), imagej=True)
        np.testing.assert_array_equal(read_labels(path), data)

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (np.array([[0.5, 1]], np.float32), r"value 0\.5 at \(0, 0\); labels are whole numbers"),
            (np.array([[0.0, np.nan]]), r"value nan at \(0, 1\)"),
            (np.array([[0.0, np.inf]]), r"value inf at \(0, 1\)"),
            (np.array([[0.0, -1]]), r"negative value -1\.0 at \(0, 1\)"),
            (np.array([[0j, 1]]), "dtype complex128; save the mask as integers"),
            (np.array([[0, 0], [1, -2]], np.int16), r"negative value -2 at \(1, 1\)"),
            (np.array([[0, 2**63]], np.uint64), "9223372036854775808; renumber"),
            (np.zeros((2, 2, 4, 5), np.uint8), "more than three dimensions"),
        ],
    )
    def test_refused(self, save, data, message):
        path, _ = save("a.tif", data=data)
        with pytest.raises(InputError, match=message) as caught:
            read_labels(path)
        assert str(caught.value).startswith(str(path))

    def test_colours(self, tmp_path, save):
        colours = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
        path, _ = save("a.tif", data=colours, photometric="rgb")
        iio.imwrite(tmp_path / "b.png", colours)
        for file in (path, tmp_path / "b.png"):
            with pytest.raises(InputError, match="mask with colours"):
                read_labels(file)


@pytest.mark.parametrize(
    ("axes", "shape"), [("YX", (5, 6)), ("ZYX", (3, 5, 6)), ("SYX", (3, 5, 6)), ("CYX", (2, 5, 6))]
)
def test_write_image(tmp_path, rng, axes, shape):
    data = rng.normal(size=shape)
    write_image(tmp_path / "new" / "a.tif", data, PixelSize(0.1, 0.2, 0.3), axes)
    with tifffile.TiffFile(tmp_path / "new" / "a.tif") as tif:
        assert tif.series[0].axes == axes.replace("S", "T")
        assert tif.series[0].dtype == np.float32
        np.testing.assert_array_equal(tif.asarray(), data.astype(np.float32))
        assert tif.imagej_metadata["unit"] == "um"


def test_write_image_refused(tmp_path):
    for axes, shape in [("YX", (2, 3, 4)), ("XY", (2, 3)), ("ZYX", (0, 3, 4))]:
        with pytest.raises(InputError, match="cannot be written"):
            write_image(tmp_path / "a.tif", np.zeros(shape), axes=axes)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="could not be written"):
        write_image(tmp_path / "file" / "a.tif", np.zeros((2, 3)))


@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (3, 1, 4, 5), (1, 4, 5), (1, 1, 4, 5)])
def test_leading_axes_of_length_one_are_dropped(save, shape):
    path, data = save("a.tif", shape, "uint8")
    stack = data.squeeze()
    np.testing.assert_array_equal(read_labels(path), stack)
    if stack.ndim == 3:
        np.testing.assert_array_equal(load_labels(path, shape, (2,)), stack[2])
