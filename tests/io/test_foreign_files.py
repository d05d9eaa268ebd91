"""Files of other writers: pixels, axes, sizes and names are those that their makers know."""

import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from divseg.errors import DivsegWarning, ExtraRequired, FileProblem, InputError
from divseg.io import check_inputs, read
from divseg.io.jpeg import LOSSY
from divseg.io.sources import find_files
from divseg.io.vendor import VENDORS

sys.path.insert(0, str(Path(__file__).parent))

import foreign


@pytest.mark.parametrize("file", foreign.FILES, ids=str)
def test_a_file_of_another_writer(file, tmp_path):
    path, data = tmp_path / file.file, file.pixels()
    if path.suffix in VENDORS:
        pytest.importorskip(VENDORS[path.suffix], reason="needs the extra vendor")
    file.write(path, data)
    axes = file.axes.replace("S", "C")
    whole = data.transpose([axes.index(a) for a in "TCZYX" if a in axes])
    ordered = "".join(a for a in "TCZYX" if a in axes)
    for a in "TCZ":
        if a not in axes:
            whole = np.expand_dims(whole, "TCZ".index(a))
    for channel in range(whole.shape[1]):
        asked = {"channel": file.channels[channel] if file.channels else channel} if "C" in axes else {}
        images = read(path, **file.read, **asked)
        assert len(images) == whole.shape[0]
        for t, image in enumerate(images):
            assert image.axes == ("ZYX" if "Z" in ordered else "YX")
            assert image.dtype == np.dtype(file.dtype)
            np.testing.assert_array_equal(image.data, whole[t, channel] if "Z" in ordered else whole[t, channel, 0])
    ref = images.refs[0]
    size = ref.pixel_size
    if file.size is None:
        assert size is None
    else:
        assert size.unit == "µm"
        assert (size.y, size.x) == pytest.approx(file.size[1:], rel=1e-6)
        assert size.z == (None if file.size[0] is None else pytest.approx(file.size[0]))
    assert ref.source.channels == file.channels
    if "T" in axes:
        assert ref.source.interval == (None if file.interval is None else pytest.approx(file.interval))
    part = tuple(slice(n // 4, n - n // 4) for n in ref.shape)
    np.testing.assert_array_equal(ref.load(part).data, ref.load().data[part])


def test_there_are_forty_files(tmp_path):
    assert len({file.file for file in foreign.FILES}) == len(foreign.FILES) >= 40
    for name in ("a.tif", "b.png", "c.jpg", "d.nd2", "e.czi", "f.lif"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "g.zarr").mkdir()
    assert len(find_files(tmp_path).files) == 7


class TestZarr:
    @pytest.fixture
    def image(self, tmp_path):
        """Return the folder of an image C, Y, X and its pixels."""
        data = np.random.default_rng(0).integers(1, 250, (2, 18, 21)).astype("uint16")
        foreign.zarr_image("CYX")(tmp_path / "in" / "a.zarr", data)
        return tmp_path / "in" / "a.zarr", data

    def test_a_plate_by_well_and_field(self, tmp_path, rng):
        pixels = foreign.plate(tmp_path / "p.zarr", rng)
        with pytest.warns(DivsegWarning, match="wells without images: A/2"):
            images = read(tmp_path / "p.zarr", channel="GFP")
        assert images.names == ["p_A1_0", "p_A1_1", "p_B12_0", "p_B12_1"]
        for name, image in zip(pixels, images, strict=True):
            np.testing.assert_array_equal(image.data, pixels[name][1])

    def test_in_a_folder_of_images(self, image):
        path, data = image
        assert check_inputs(path.parent, channel="DAPI").images.names == ["a"]
        np.testing.assert_array_equal(read(str(path.parent / "*.zarr"), channel=1)[0].data, data[1])
        assert find_files(str(path.parent / "**" / "*")).files == [path]

    def test_results_do_not_go_into_an_image(self, image):
        with pytest.raises(InputError, match="lies inside the image"):
            check_inputs(image[0], channel=0, out=image[0] / "out")

    def test_a_missing_chunk_is_told(self, image):
        path, data = image
        chunk = next(p for p in (path / "fine").iterdir() if p.name == "0.1.1" or p.name == "0")
        chunk = chunk if chunk.is_file() else path / "fine" / "0" / "1" / "1"
        chunk.unlink()
        with pytest.warns(DivsegWarning, match=r"1 of 9 chunks are not there: their pixels are taken as 0"):
            found = read(path, channel=0)[0].data
        assert (found[8:16, 8:16] == 0).all()
        np.testing.assert_array_equal(found[:8], data[0, :8])

    def test_a_damaged_chunk(self, image):
        path, _ = image
        for chunk in (path / "fine").rglob("*"):
            if chunk.is_file() and not chunk.name.startswith("."):
                chunk.write_bytes(b"nonsense")
        with pytest.raises(FileProblem, match=r"a\.zarr: its pixels cannot be read"):
            read(path, channel=0)[0]

    def test_without_metadata(self, image):
        path, data = image
        (path / ".zattrs").unlink()
        with pytest.raises(FileProblem, match=r"not an OME-Zarr .*; give the folder of the image in it, such as") as e:
            read(path)
        assert e.value.problem.remedy.endswith("a.zarr/coarse")
        with pytest.warns(DivsegWarning) as caught:
            planes = read(path / "fine")
        texts = [str(w.message) for w in caught]
        assert any("no OME metadata: axes and pixel size are not known" in text for text in texts)
        assert any("give --axes" in text for text in texts)
        np.testing.assert_array_equal(planes[1].data, data[1])

    @pytest.mark.parametrize("place", ["../../secret", "/etc", "c:\\x"])
    def test_no_other_folder_is_opened(self, image, place):
        path, _ = image
        foreign.edit_json(path / ".zattrs", lambda a: a["multiscales"][0]["datasets"][0].update(path=place))
        with pytest.raises(FileProblem, match="its metadata point out of its folder"):
            read(path, channel=0)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda a: a["multiscales"][0]["datasets"][0].update(path="gone"), "its array 'gone' is not there"),
            (lambda a: a.update(multiscales=[]), "no multiscales"),
            (lambda a: a.update(multiscales=[{}]), "its metadata cannot be read"),
            (lambda a: a.update(plate={"wells": [{"path": "Z/9"}]}), "none of its 1 wells has an image"),
        ],
    )
    def test_damaged_metadata(self, image, change, message):
        path, _ = image
        foreign.edit_json(path / ".zattrs", change)
        with pytest.raises(FileProblem, match=message):
            read(path, channel=0)

    def test_a_unit_that_is_not_known(self, image):
        path, _ = image

        def change(a):
            for axis in a["multiscales"][0]["axes"]:
                axis.pop("unit", None)

        foreign.edit_json(path / ".zattrs", change)
        assert read(path, channel=0)[0].pixel_size is None

    def test_without_the_package(self, image, monkeypatch):
        monkeypatch.setitem(sys.modules, "zarr", None)
        with pytest.raises(ExtraRequired, match=r'a\.zarr: reading OME-Zarr needs zarr; .*"divseg\[zarr\]"'):
            read(image[0], channel=0)


class TestJpeg:
    def test_it_is_read_with_a_warning(self, tmp_path, rng):
        grey = rng.integers(0, 255, (24, 33)).astype("uint8")
        iio.imwrite(tmp_path / "a.jpg", grey)
        with pytest.warns(DivsegWarning, match=LOSSY):
            image = read(tmp_path / "a.jpg")[0]
        np.testing.assert_array_equal(image.data, iio.imread(tmp_path / "a.jpg"))
        iio.imwrite(tmp_path / "b.jpeg", np.stack([grey, grey.T[:24, :24].repeat(2, 1)[:, :33], grey], -1))
        with pytest.warns(DivsegWarning, match=LOSSY):
            image = read(tmp_path / "b.jpeg", channel="green")[0]
        np.testing.assert_array_equal(image.data, iio.imread(tmp_path / "b.jpeg")[..., 1])

    def test_a_better_file_is_taken(self, save):
        path, _ = save("a.tif")
        iio.imwrite(path.with_suffix(".jpg"), np.zeros((9, 9), np.uint8))
        found = find_files(path.parent)
        assert found.files == [path]
        assert "a JPEG beside a file of the same name" in found.left_out[0].reason

    def test_it_is_not_a_mask(self, save, tmp_path):
        path, data = save("a.tif")
        (tmp_path / "truth").mkdir()
        iio.imwrite(tmp_path / "truth" / "a.jpg", (data > 99).astype("uint8"))
        report = check_inputs(path, truth=tmp_path / "truth")
        assert "JPEG changes the numbers of labels" in report.problems[0].problem


@pytest.mark.parametrize(("suffix", "package"), [(".nd2", "nd2"), (".czi", "pylibCZIrw"), (".lif", "liffile")])
class TestMakers:
    def test_what_is_not_one(self, suffix, package, tmp_path):
        pytest.importorskip(package, reason="needs the extra vendor")
        for content in (b"", b"not an image", bytes(range(256)) * 40):
            (tmp_path / f"a{suffix}").write_bytes(content)
            with pytest.raises(FileProblem, match=rf"a\{suffix}: it cannot be read: it is damaged or cut off"):
                read(tmp_path / f"a{suffix}")

    def test_without_the_package(self, suffix, package, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "pylibCZIrw.czi" if suffix == ".czi" else package, None)
        (tmp_path / f"a{suffix}").write_bytes(b"x")
        with pytest.raises(ExtraRequired, match=rf'{suffix} files need {package}; .*"divseg\[vendor\]"'):
            read(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("name", ["a.nd2", "a.czi", "a.lif"])
def test_a_file_that_is_cut_off(name, tmp_path):
    file = next(f for f in foreign.FILES if f.file == name)
    pytest.importorskip(VENDORS[Path(name).suffix], reason="needs the extra vendor")
    file.write(tmp_path / name, file.pixels())
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(FileProblem, match="it cannot be read: it is damaged or cut off"):
        read(tmp_path / name, channel=1)[-1]
