import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from divseg.errors import DivsegWarning, ExtraRequired, FileProblem, InputError
from divseg.io import ImageList, PixelSize, read
from divseg.io.tiff import _parsed


@pytest.mark.parametrize(
    "dtype",
    ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "uint64", "float32", "float64"],
)
def test_dtypes_of_plain_tiff(save, dtype):
    path, data = save("a.tif", dtype=dtype)
    image = read(path)[0]
    assert (image.name, image.axes, image.path, image.plane) == ("a", "YX", path, ())
    assert image.pixel_size is None
    assert image.dtype == dtype
    np.testing.assert_array_equal(image.data, data)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"byteorder": ">"}, {"tile": (16, 16)}])
@pytest.mark.parametrize("axes", ["TYX", "ZYX", "TZYX"])
def test_imagej_stacks(save, axes, options):
    shape = (3, 4, 16, 17)[-len(axes) :]
    path, data = save("a.tif", shape, imagej="tile" not in options, metadata={"axes": axes}, **options)
    images = read(path, axes=axes if "tile" in options else None)
    if "T" not in axes:
        assert [(i.name, i.axes) for i in images] == [("a", "ZYX")]
        np.testing.assert_array_equal(images[0].data, data)
        return
    assert len(images) == shape[0]
    assert images.names[1] == "a_t1"
    assert images[1].plane == (("T", 1),)
    for image, plane in zip(images, data, strict=True):
        assert image.dtype.isnative
        np.testing.assert_array_equal(image.data, plane)


def test_names_are_padded_to_the_width_needed(save):
    path, data = save("a.tif", (101, 4, 5), imagej=True, metadata={"axes": "TYX"})
    images = read(path)
    assert (images.names[0], images.names[100]) == ("a_t000", "a_t100")
    np.testing.assert_array_equal(images[-1].data, data[100])


def test_ome_tiff(save):
    path, data = save(
        "a.ome.tif",
        (2, 3, 16, 17),
        ome=True,
        metadata={
            "axes": "TZYX",
            "PhysicalSizeX": 108.3,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 0.2,
            "PhysicalSizeYUnit": "µm",
            "PhysicalSizeZ": 0.001,
            "PhysicalSizeZUnit": "mm",
        },
    )
    images = read(path)
    assert images.names == ["a_t0", "a_t1"]
    assert images.refs[0].shape == (3, 16, 17)
    size = images[1].pixel_size
    assert (size.z, size.y, size.x, size.unit) == (1.0, 0.2, pytest.approx(0.1083), "µm")
    np.testing.assert_array_equal(images[1].data, data[1])


def test_imagej_pixel_size(save):
    for unit in ("um", "micron", "\\u00B5m"):
        path, _ = save(
            f"{len(unit)}.tif",
            (4, 16, 17),
            imagej=True,
            resolution=(1 / 0.1083, 1 / 0.25),
            metadata={"axes": "ZYX", "unit": unit, "spacing": 0.5},
        )
        size = read(path)[0].pixel_size
        assert (size.y, size.z, size.unit) == (pytest.approx(0.25), 0.5, "µm")
        assert size.x == pytest.approx(0.1083, rel=1e-6)
        assert read(path, axes="TYX")[0].pixel_size == PixelSize(size.y, size.x)


@pytest.mark.parametrize("unit", ["", "pixel"])
def test_imagej_without_unit_has_no_pixel_size(save, unit):
    path, _ = save("a.tif", imagej=True, resolution=(2, 2), metadata={"unit": unit} if unit else {})
    assert read(path)[0].pixel_size is None


def test_tags_of_plain_and_ome_tiff_are_no_pixel_size(save):
    path, _ = save("a.tif", resolution=(72, 72), resolutionunit="INCH")
    assert read(path)[0].pixel_size is None
    path, _ = save("b.ome.tif", ome=True, resolution=(72, 72), resolutionunit="INCH")
    assert read(path)[0].pixel_size is None


@pytest.mark.parametrize(
    "options",
    [
        {"imagej": True, "resolution": ((0, 1), (10, 1)), "metadata": {"unit": "um"}},
        {"ome": True, "metadata": {"PhysicalSizeX": -1.0, "PhysicalSizeY": 0.1}},
        {"ome": True, "metadata": {"PhysicalSizeX": 0.0, "PhysicalSizeY": 0.1}},
    ],
)
def test_nonsense_pixel_size_is_ignored_with_a_warning(save, options):
    path, data = save("a.tif", **options)
    with pytest.warns(DivsegWarning, match=r"a\.tif: the pixel size .* makes no sense"):
        images = read(path)
    assert images[0].pixel_size is None
    np.testing.assert_array_equal(images[0].data, data)


@pytest.mark.parametrize("options", [{}, {"metadata": None}, {"compression": "zlib", "metadata": None}])
def test_stack_of_unknown_axes(save, options):
    path, data = save("a.tif", (5, 16, 17), **options)
    with pytest.warns(DivsegWarning, match=r"separate planes; give --axes"):
        images = read(path)
    assert images.names == [f"a_p{k}" for k in range(5)]
    np.testing.assert_array_equal(images[3].data, data[3])
    assert read(path, axes="TYX").names[3] == "a_t3"
    assert read(path, axes="syx").names[3] == "a_s3"
    depth = read(path, axes="ZYX")
    assert (depth.names, depth[0].axes) == (["a"], "ZYX")
    np.testing.assert_array_equal(depth[0].data, data)
    turned = read(path, axes="YXT")
    np.testing.assert_array_equal(turned[2].data, data[:, :, 2])
    channel = read(path, axes="CYX", channel=4)
    np.testing.assert_array_equal(channel[0].data, data[4])


def test_one_warning_for_many_stacks(save):
    for k in range(12):
        path, _ = save(f"{k}.tif", (2, 8, 8))
    with pytest.warns(DivsegWarning, match=r"0\.tif and 11 more") as caught:
        images = read(path.parent)
    assert len(caught) == 1
    assert images.names[:4] == ["0_p0", "0_p1", "1_p0", "1_p1"]


def test_planes_written_in_a_loop_are_a_stack(tmp_path, rng):
    frames = rng.integers(0, 200, (4, 8, 9)).astype("uint8")
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for frame in frames:
            writer.write(frame)
    images = read(tmp_path / "a.tif", axes="TYX")
    np.testing.assert_array_equal(np.stack([i.data for i in images]), frames)


def test_several_series(tmp_path, rng):
    frames = rng.integers(0, 200, (4, 8, 9)).astype("uint8")
    for name, options in {"a.tif": {}, "b.ome.tif": {"ome": True}}.items():
        with tifffile.TiffWriter(tmp_path / name, **options) as writer:
            writer.write(frames[0])
            writer.write(frames[:, :5, :5], photometric="minisblack", metadata={"axes": "TYX"} if "ome" in name else {})
        with nullcontext() if "ome" in name else pytest.warns(DivsegWarning, match="separate planes"):
            images = read(tmp_path / name)
        assert [len(images), images.names[0][-3:], images.refs[1].plane[0]] == [5, "_s0", ("S", 1)]
        np.testing.assert_array_equal(images[0].data, frames[0])
        np.testing.assert_array_equal(np.stack([image.data for image in images[1:]]), frames[:, :5, :5])


def test_one_part_of_an_ome_tiff_spread_over_files(tmp_path, rng):
    """Each part must give its own planes, not those of all parts."""
    parts = rng.integers(0, 200, (2, 8, 9)).astype("uint8")
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:{own}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" '
        'SizeX="9" SizeY="8" SizeZ="1" SizeC="1" SizeT="2" PhysicalSizeX="0.5" PhysicalSizeY="0.5">'
        '<Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        '<TiffData FirstT="0" IFD="0" PlaneCount="1"><UUID FileName="p0.ome.tif">urn:uuid:a</UUID></TiffData>'
        '<TiffData FirstT="1" IFD="0" PlaneCount="1"><UUID FileName="p1.ome.tif">urn:uuid:b</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    for k, own in enumerate("ab"):
        tifffile.imwrite(
            tmp_path / f"p{k}.ome.tif", parts[k], description=xml.format(own=own), metadata=None, ome=False
        )
    images = read(tmp_path)
    assert images.names == ["p0", "p1"]
    assert images[0].pixel_size == PixelSize(0.5, 0.5)
    for image, part in zip(images, parts, strict=True):
        np.testing.assert_array_equal(image.data, part)


@pytest.mark.parametrize(
    ("options", "axes", "where"),
    [
        ({"imagej": True, "metadata": {"axes": "TCYX"}}, "TCYX", np.s_[1, 2]),
        ({"imagej": True, "metadata": {"axes": "ZCYX"}}, "ZCYX", np.s_[:, 2]),
        ({"ome": True, "metadata": {"axes": "CZYX"}, "compression": "zlib"}, "CZYX", np.s_[2]),
        ({"ome": True, "metadata": {"axes": "ZCYX"}, "compression": "zlib"}, "ZCYX", np.s_[:, 2]),
    ],
)
def test_channels(save, options, axes, where):
    shape = tuple({"T": 2, "Z": 4, "C": 3, "Y": 8, "X": 9}[a] for a in axes)
    path, data = save("a.tif", shape, **options)
    with pytest.raises(InputError, match=r"a\.tif: it holds 3 channels; choose one with --channel 0"):
        read(path)
    image = read(path, channel=2)[-1]
    np.testing.assert_array_equal(image.data, data[where])
    with pytest.raises(InputError, match=r"no channel 3, they count from 0; choose --channel from 0, 1, 2"):
        read(path, channel=3)


def test_channel_of_a_file_without_channels(save):
    path, data = save("a.tif")
    np.testing.assert_array_equal(read(path, channel=0)[0].data, data)
    with pytest.raises(InputError, match="leave --channel out"):
        read(path, channel=1)


def test_colours(tmp_path, rng):
    rgb = rng.integers(0, 255, (8, 9, 3)).astype("uint8")
    rgba = rng.integers(0, 255, (8, 9, 4)).astype("uint8")
    planar = np.moveaxis(rgb, -1, 0)
    stack = np.stack([rgb, rgb[::-1]])
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb")
    tifffile.imwrite(tmp_path / "b.tif", rgba, photometric="rgb")
    tifffile.imwrite(tmp_path / "c.tif", planar, photometric="rgb", planarconfig="separate")
    iio.imwrite(tmp_path / "d.png", rgb)
    iio.imwrite(tmp_path / "e.png", rgba)
    for name, want in {"a.tif": rgb, "b.tif": rgba, "c.tif": rgb, "d.png": rgb, "e.png": rgba}.items():
        with pytest.raises(InputError, match=r"--channel red"):
            read(tmp_path / name)
        np.testing.assert_array_equal(read(tmp_path / name, channel=1)[0].data, want[..., 1])
    tifffile.imwrite(tmp_path / "f.tif", stack, photometric="rgb")
    with pytest.warns(DivsegWarning, match="separate planes"):
        images = read(tmp_path / "f.tif", channel=2)
    np.testing.assert_array_equal(images[1].data, stack[1, ..., 2])


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16"])
def test_png(tmp_path, rng, dtype):
    data = rng.integers(0, 2 if dtype == "bool" else 256, (8, 9)).astype(dtype)
    iio.imwrite(tmp_path / "a.png", data)
    images = read(tmp_path)
    assert (images.refs[0].dtype, images.refs[0].shape, images.names) == (dtype, (8, 9), ["a"])
    np.testing.assert_array_equal(images[0].data, data)


def test_four_unknown_axes(save):
    path, data = save("a.tif", (2, 3, 16, 17))
    with pytest.raises(InputError, match=r"what the 4 axes of its shape \(2, 3, 16, 17\) are; .*--axes"):
        read(path)
    images = read(path, axes="TZYX")
    np.testing.assert_array_equal(images[1].data, data[1])
    with pytest.raises(InputError, match=r"axes ZYX \(3 letters\) do not fit its shape \(2, 3, 16, 17\)"):
        read(path, axes="ZYX")


class TestBadFiles:
    def refused(self, path, message):
        with pytest.raises(InputError, match=message) as caught:
            read(path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)
        again = pickle.loads(pickle.dumps(caught.value))
        assert (str(again), again.problem) == (str(caught.value), caught.value.problem)

    @pytest.mark.parametrize("name", ["a.tif", "a.png"])
    def test_text_and_nothing(self, tmp_path, name):
        path = tmp_path / name
        path.write_text("not an image")
        self.refused(path, "despite its name")
        path.write_bytes(b"")
        self.refused(path, "empty")

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"compression": "zlib"},
            {"compression": "zlib", "metadata": None},
            {"bigtiff": True},
            {"imagej": True, "metadata": {"axes": "TYX"}},
            {"ome": True, "metadata": {"axes": "TYX"}, "compression": "zlib"},
        ],
    )
    @pytest.mark.parametrize("fraction", [0.02, 0.3, 0.6, 0.9])
    def test_cut_off_anywhere(self, save, options, fraction):
        path, _ = save("a.tif", (5, 16, 17), **options)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * fraction)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DivsegWarning)
            with pytest.raises(InputError, match=r"copy or export it again|NaN") as caught:
                read(path, axes="TYX")
        assert str(path) in str(caught.value)

    def test_png_cut_off(self, tmp_path, rng):
        path = tmp_path / "a.png"
        iio.imwrite(path, rng.integers(0, 255, (32, 32)).astype("uint8"))
        whole = path.read_bytes()
        for fraction in (0.02, 0.5, 0.95):
            path.write_bytes(whole[: int(len(whole) * fraction)])
            self.refused(path, "cut off")

    def test_png_damaged_inside(self, tmp_path, rng):
        path = tmp_path / "a.png"
        iio.imwrite(path, rng.integers(0, 255, (32, 32)).astype("uint8"))
        whole = bytearray(path.read_bytes())
        whole[200:300] = bytes(100)
        path.write_bytes(whole)
        images = read(path)
        with pytest.raises(InputError, match=r"a\.png: its pixels cannot be read"):
            images[0]

    def test_colours_of_16_bits_in_png(self, tmp_path):
        path = tmp_path / "a.png"
        iio.imwrite(path, np.zeros((4, 5, 3), np.uint8))
        data = bytearray(path.read_bytes())
        data[24] = 16
        path.write_bytes(data)
        self.refused(path, "16 bits")

    def test_circular_chain(self, save):
        path, _ = save("a.tif", metadata=None)
        data = bytearray(path.read_bytes())
        first = int.from_bytes(data[4:8], "little")
        end = first + 2 + 12 * int.from_bytes(data[first : first + 2], "little")
        data[end : end + 4] = data[4:8]
        path.write_bytes(data)
        self.refused(path, "circle")

    def test_header_only(self, tmp_path):
        path = tmp_path / "a.tif"
        path.write_bytes(b"II*\0\0\0\0\0")
        self.refused(path, "no image")

    def test_rubbish_directory(self, tmp_path):
        path = tmp_path / "a.tif"
        path.write_bytes(b"II*\0\x08\0\0\0\x01\0" + bytes(12) + bytes(4))
        self.refused(path, "it holds no image")

    @pytest.mark.parametrize("code", [5, 7, 34887])
    def test_missing_codecs(self, save, code):
        try:
            import imagecodecs  # noqa: F401
        except ImportError:
            pass
        else:
            pytest.skip("the codecs are installed")
        path, _ = save("a.tif")
        with tifffile.TiffFile(path) as tif:
            where = tif.pages[0].tags["Compression"].valueoffset
        data = bytearray(path.read_bytes())
        data[where : where + 2] = code.to_bytes(2, "little")
        path.write_bytes(data)
        self.refused(path, r'pip install "divseg\[codecs\]"')
        with pytest.raises(ExtraRequired):
            read(path)

    def test_unknown_type(self, tmp_path):
        path = tmp_path / "a.oib"
        path.write_bytes(b"x")
        self.refused(path, r"files of type \.oib are not read; convert it to TIFF")

    def test_complex_is_read_but_not_labels(self, save):
        path, _ = save("a.tif", dtype="complex64")
        assert read(path).refs[0].dtype == np.complex64

    def test_file_changed_or_gone_after_the_header(self, save):
        path, _ = save("a.tif")
        images = read(path)
        save("a.tif", (5, 6))
        with pytest.raises(FileProblem, match="changed from"):
            images[0]
        path.unlink()
        with pytest.raises(FileProblem, match=r"a\.tif: its pixels cannot be read"):
            images[0]


class TestImageList:
    def test_slices_names_and_pickling(self, save):
        for k in range(4):
            path, data = save(f"{k}.tif")
        images = read(path.parent)
        assert isinstance(images[1:3], ImageList)
        assert images[1:3].names == ["1", "2"]
        assert "ImageList(4 images" in repr(images)
        again = pickle.loads(pickle.dumps(images))
        assert again.refs == images.refs
        np.testing.assert_array_equal(again[3].data, data)
        with pytest.raises(IndexError):
            images[4]

    def test_compressed_stack_is_parsed_once(self, save):
        path, data = save("a.tif", (30, 8, 9), compression="zlib", metadata=None)
        images = read(path, axes="TYX")
        before = _parsed.cache_info().misses
        for k in (29, 3, 17):
            np.testing.assert_array_equal(images[k].data, data[k])
        assert _parsed.cache_info().misses == before + 1

    def test_same_names(self, save):
        save("a.tif")
        path, _ = save("a.ome.tif", ome=True)
        with pytest.warns(DivsegWarning, match=r"a\.ome\.tif and .*a\.tif: images of the same name 'a'"):
            assert read(path.parent).names == ["a", "a"]


def test_compressed_colours(tmp_path, rng):
    rgb = rng.integers(0, 255, (2, 16, 17, 3)).astype("uint8")
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb", compression="zlib")
    images = read(tmp_path / "a.tif", axes="TYXC", channel=1)
    np.testing.assert_array_equal(images[1].data, rgb[1, ..., 1])
    planar = np.moveaxis(rgb[0], -1, 0)
    tifffile.imwrite(tmp_path / "b.tif", planar, photometric="rgb", planarconfig="separate", compression="zlib")
    np.testing.assert_array_equal(read(tmp_path / "b.tif", channel=2)[0].data, planar[2])


def test_threads_share_a_file(save):
    path, data = save("a.tif", (40, 32, 33), compression="zlib", metadata=None)
    images = read(path, axes="TYX")
    with ThreadPoolExecutor(8) as pool:
        planes = list(pool.map(lambda k: images[k].data, list(range(40)) * 3))
    np.testing.assert_array_equal(np.stack(planes), np.concatenate([data] * 3))
