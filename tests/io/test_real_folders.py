"""Files as microscopes, cameras, viewers and other programs leave them."""

import os
import struct
import unicodedata

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from divseg.errors import DivsegWarning, FileProblem, InputError
from divseg.io import check_inputs, read, read_labels
from divseg.metrics import evaluate


@pytest.fixture
def picture(rng):
    return rng.integers(0, 200, (20, 24)).astype(np.uint8)


@pytest.fixture
def labels():
    out = np.zeros((20, 24), np.uint8)
    out[2:6, 2:9], out[9:15, 3:8], out[8:16, 12:20] = 1, 2, 3
    return out


def same(images, wanted):
    np.testing.assert_array_equal(images[0].data, wanted)


class TestMinIsWhite:
    @pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}, {"bigtiff": True}])
    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "bool"])
    def test_larger_is_brighter(self, tmp_path, picture, options, dtype):
        shown = picture.astype(dtype)
        stored = ~shown if dtype == "bool" else np.iinfo(dtype).max - shown
        tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite", **options)
        with pytest.warns(DivsegWarning, match="smallest value means white: it is inverted"):
            images = read(tmp_path)
        same(images, shown)
        np.testing.assert_array_equal(images.refs[0].load((slice(3, 9), slice(2, 5))).data, shown[3:9, 2:5])

    @pytest.mark.parametrize("dtype", ["int16", "float32"])
    def test_signed(self, tmp_path, picture, dtype):
        data = picture.astype(dtype)
        tifffile.imwrite(tmp_path / "a.tif", data, photometric="miniswhite")
        with pytest.warns(DivsegWarning, match="inverted"):
            order = read(tmp_path)[0].data.astype(float)
        assert np.corrcoef(order.ravel(), data.ravel())[0, 1] == pytest.approx(-1)

    def test_masks(self, tmp_path, labels):
        tifffile.imwrite(tmp_path / "a.tif", 255 - labels, photometric="miniswhite")
        np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), labels)

    def test_a_file_that_does_not_say(self, tmp_path):
        """Without the tag nothing is turned round."""
        tags = [(256, 4, 3), (257, 4, 2), (258, 3, 8), (259, 3, 1), (273, 4, 8), (277, 3, 1), (278, 4, 2), (279, 4, 6)]
        body = b"".join(struct.pack("<HHII", code, kind, 1, value) for code, kind, value in tags)
        content = b"II*\0" + struct.pack("<I", 14) + bytes(range(6)) + struct.pack("<H", 8) + body + bytes(4)
        (tmp_path / "a.tif").write_bytes(content)
        same(read(tmp_path), [[0, 1, 2], [3, 4, 5]])


def packed(path, values, bits, rows=None, compression=1):
    """Write values of some bits each, rows beginning on whole bytes."""
    height, width = values.shape
    single = (values[:, :, None].astype(np.uint16) >> np.arange(bits - 1, -1, -1)) & 1
    strips = np.packbits(single.reshape(height, -1).astype(np.uint8), axis=1)
    rows = rows or height
    parts = [strips[i : i + rows].tobytes() for i in range(0, height, rows)]
    if compression == 8:
        import zlib

        parts = [zlib.compress(part) for part in parts]
    offsets = np.cumsum([8, *map(len, parts)])
    n, end = len(parts), int(offsets[-1])
    at = (end, end + 4 * n) if n > 1 else (8, len(parts[0]))
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, bits), (259, 3, 1, compression), (262, 3, 1, 1)]
    tags += [(273, 4, n, at[0]), (277, 3, 1, 1), (278, 4, 1, rows), (279, 4, n, at[1])]
    lists = struct.pack(f"<{n}I", *offsets[:-1]) + struct.pack(f"<{n}I", *map(len, parts)) if n > 1 else b""
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", end + len(lists)) + b"".join(parts) + lists + directory)


class TestPacked:
    @pytest.mark.parametrize("bits", [2, 4, 6, 10, 12, 14])
    @pytest.mark.parametrize("shape", [(5, 8), (7, 9), (1, 1)])
    @pytest.mark.parametrize("options", [{}, {"rows": 2}, {"compression": 8}])
    def test_bits(self, tmp_path, rng, bits, shape, options):
        values = rng.integers(0, 2**bits, shape)
        packed(tmp_path / "a.tif", values, bits, **options)
        same(read(tmp_path), values)

    def test_cut_off_and_unknown(self, tmp_path, rng):
        values = rng.integers(0, 1024, (6, 7))
        packed(tmp_path / "a.tif", values, 10)
        data = (tmp_path / "a.tif").read_bytes()
        place = data.rfind(struct.pack("<HHII", 279, 4, 1, 54))
        (tmp_path / "b.tif").write_bytes(data[: place + 8] + struct.pack("<I", 30) + data[place + 12 :])
        (tmp_path / "c.tif").write_bytes(
            data.replace(struct.pack("<HHII", 258, 3, 1, 10), struct.pack("<HHII", 258, 3, 1, 24))
        )
        with pytest.raises(FileProblem, match="pixels cannot be read"):
            read(tmp_path / "b.tif")[0]
        with pytest.raises(FileProblem, match=r"cannot be read|24 bits"):
            read(tmp_path / "c.tif")


class TestSeries:
    def test_positions(self, tmp_path, rng):
        frames = rng.integers(0, 200, (3, 20, 24)).astype(np.uint16)
        with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
            for frame in frames:
                writer.write(frame, photometric="minisblack")
        images = read(tmp_path)
        assert images.names == ["a_s0", "a_s1", "a_s2"]
        assert [ref.plane for ref in images.refs] == [(("S", k),) for k in range(3)]
        np.testing.assert_array_equal(np.stack([image.data for image in images]), frames)

    def test_positions_of_several_sizes_with_time(self, tmp_path, rng):
        with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
            for side in (20, 10):
                writer.write(rng.integers(0, 9, (2, side, side)).astype(np.uint8), metadata={"axes": "TYX"})
        assert read(tmp_path).names == ["a_s0_t0", "a_s0_t1", "a_s1_t0", "a_s1_t1"]

    def test_pyramids_are_one_image(self, tmp_path, rng):
        big = rng.integers(0, 200, (64, 96)).astype(np.uint8)
        for name, options in (("a.ome.tif", {"ome": True}), ("b.tif", {})):
            with tifffile.TiffWriter(tmp_path / name, **options) as writer:
                writer.write(big, subifds=2, tile=(16, 16), photometric="minisblack")
                for step in (2, 4):
                    writer.write(big[::step, ::step], subfiletype=1, tile=(16, 16), photometric="minisblack")
            images = read(tmp_path / name)
            assert len(images) == 1
            same(images, big)

    @pytest.mark.parametrize(
        ("preview", "options"),
        [
            ((16, 24), {}),
            ((16, 24, 3), {"photometric": "rgb"}),
            ((10, 10, 3), {"photometric": "rgb"}),
            ((50, 90), {"subfiletype": 1}),
        ],
    )
    @pytest.mark.parametrize("first", [False, True])
    def test_previews_are_named(self, tmp_path, rng, preview, options, first):
        big = rng.integers(0, 200, (64, 96)).astype(np.uint16)
        small = rng.integers(0, 200, preview).astype(np.uint8)
        parts = [(small, {"metadata": None, **options}), (big, {"metadata": None, "photometric": "minisblack"})]
        with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
            for data, how in parts if first else parts[::-1]:
                writer.write(data, **how)
        with pytest.warns(DivsegWarning, match=r"a (preview|reduced copy) and is left out"):
            images = read(tmp_path)
        assert images.names == ["a"]
        same(images, big)

    def test_masks_of_several_series_are_told(self, tmp_path, labels):
        with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
            writer.write(labels, photometric="minisblack")
            writer.write(labels, photometric="minisblack")
        with pytest.raises(FileProblem, match="2 series of label images"):
            read_labels(tmp_path / "a.ome.tif")


class TestGreyInColour:
    def test_png(self, tmp_path, picture):
        opaque = np.full_like(picture, 255)
        for name, parts in {"rgb": [picture] * 3, "rgba": [picture] * 3 + [opaque], "la": [picture, opaque]}.items():
            iio.imwrite(tmp_path / f"{name}.png", np.stack(parts, -1))
            same(read(tmp_path / f"{name}.png"), picture)
            same(read(tmp_path / f"{name}.png", channel=len(parts) - 1), picture)
        Pillow.fromarray(picture).convert("P").save(tmp_path / "p.png")
        same(read(tmp_path / "p.png"), picture)

    @pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"planarconfig": "separate"}])
    def test_tiff(self, tmp_path, picture, options):
        rgb = np.stack([picture] * 3, -1)
        rgba = np.stack([picture] * 3 + [np.full_like(picture, 255)], -1)
        for name, data, extra in (("a", rgb, None), ("b", rgba, ["unassalpha"])):
            if "planarconfig" in options:
                data = np.moveaxis(data, -1, 0)
            tifffile.imwrite(tmp_path / f"{name}.tif", data, photometric="rgb", extrasamples=extra, **options)
            same(read(tmp_path / f"{name}.tif"), picture)

    def test_stacks(self, tmp_path, picture):
        movie = np.stack([np.stack([picture + k] * 3, -1) for k in range(3)])
        tifffile.imwrite(tmp_path / "a.tif", movie, photometric="rgb", metadata={"axes": "TYXS"})
        images = read(tmp_path)
        assert images.names == ["a_t0", "a_t1", "a_t2"]
        np.testing.assert_array_equal(images[2].data, movie[2, ..., 0])

    def test_one_pixel_makes_it_colour(self, tmp_path, picture):
        rgb = np.stack([picture] * 3, -1)
        rgb[-1, -1, 2] += 1
        tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb")
        iio.imwrite(tmp_path / "b.png", rgb)
        for name in ("a.tif", "b.png"):
            with pytest.raises(FileProblem, match=r"holds 3 channels; choose one with --channel red"):
                read(tmp_path / name)

    def test_transparent(self, tmp_path, picture):
        alpha = np.full_like(picture, 255)
        alpha[0, 0] = 9
        iio.imwrite(tmp_path / "la.png", np.stack([picture, alpha], -1))
        with pytest.raises(FileProblem, match="grey with an alpha channel"):
            read(tmp_path / "la.png")
        iio.imwrite(tmp_path / "rgba.png", np.stack([picture] * 3 + [alpha], -1))
        with pytest.raises(FileProblem, match="4 channels"):
            read(tmp_path / "rgba.png")

    @pytest.mark.parametrize("n", [2, 3, 5])
    def test_channels_last_without_a_word(self, tmp_path, rng, n):
        tifffile.imwrite(
            tmp_path / "a.tif", rng.integers(0, 9, (60, 60, n)).astype("u2"), metadata=None, photometric=0 + 1
        )
        with pytest.raises(FileProblem, match=rf"looks like {n} channels that come last.*--axes YXC --channel N"):
            read(tmp_path)
        assert read(tmp_path, axes="YXC", channel=1)[0].shape == (60, 60)


class TestMasks:
    def scores(self, tmp_path, labels, write):
        for folder in ("pred", "truth"):
            (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / "pred" / "a.tif", labels)
        write(tmp_path / "truth")
        return evaluate(tmp_path / "pred", tmp_path / "truth").images["ap50"].tolist()

    @pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint32", "int8"])
    def test_whole_numbers_of_any_type(self, tmp_path, labels, dtype):
        assert self.scores(tmp_path, labels, lambda p: tifffile.imwrite(p / "a.tif", labels.astype(dtype))) == [1.0]

    def test_palettes(self, tmp_path, labels, rng):
        def png(folder):
            indexed = Pillow.fromarray(labels)
            indexed.putpalette(rng.integers(0, 255, 768).astype(np.uint8).tobytes())
            indexed.save(folder / "a.png")

        assert self.scores(tmp_path, labels, png) == [1.0]
        table = rng.integers(0, 65535, (3, 256)).astype(np.uint16)
        tifffile.imwrite(tmp_path / "t.tif", labels, photometric="palette", colormap=table)
        np.testing.assert_array_equal(read_labels(tmp_path / "t.tif"), labels)

    @pytest.mark.parametrize(
        ("value", "dtype"), [(1, "uint8"), (1, "bool"), (255, "uint8"), (65535, "uint16"), (1, "float32")]
    )
    def test_foreground_alone(self, tmp_path, labels, value, dtype):
        mask = ((labels > 0) * value).astype(dtype)
        with pytest.warns(DivsegWarning, match="each of its 3 connected pieces is taken as an object"):
            assert self.scores(tmp_path, labels, lambda p: tifffile.imwrite(p / "a.tif", mask)) == [1.0]

    def test_one_object_stays_one(self, tmp_path, labels):
        one = (labels == 2).astype(np.uint8) * 255
        assert self.scores(tmp_path, one, lambda p: tifffile.imwrite(p / "a.tif", one)) == [1.0]

    @pytest.mark.parametrize("options", [{"photometric": "rgb"}, {"photometric": "rgb", "compression": "zlib"}])
    def test_grey_in_colour(self, tmp_path, labels, options):
        def write(folder):
            tifffile.imwrite(folder / "a.tif", np.stack([labels] * 3, -1), **options)

        assert self.scores(tmp_path, labels, write) == [1.0]

    def test_no_background(self, tmp_path, labels):
        with pytest.warns(DivsegWarning, match="no pixel is 0, and label 1 has .* of the border"):
            self.scores(tmp_path, labels, lambda p: tifffile.imwrite(p / "a.tif", labels + 1))

    def test_dense_tissue_has_no_background_either(self, tmp_path):
        cells = np.kron(np.arange(1, 17, dtype=np.uint8).reshape(4, 4), np.ones((6, 6), np.uint8))
        assert self.scores(tmp_path, cells, lambda p: tifffile.imwrite(p / "a.tif", cells)) == [1.0]

    def test_a_plane_for_each_object(self, tmp_path, picture, labels):
        (tmp_path / "in").mkdir()
        tifffile.imwrite(tmp_path / "in" / "a.tif", picture)
        planes = np.stack([(labels == k) * np.uint8(255) for k in (1, 2, 3)])
        for name, data in (("ok", planes), ("overlap", planes), ("several", np.stack([labels, labels, labels]))):
            (tmp_path / name).mkdir()
            data = data.copy()
            data[1, 2, 2] = 255 if name == "overlap" else data[1, 2, 2]
            tifffile.imwrite(tmp_path / name / "a.tif", data, photometric="minisblack")
        np.testing.assert_array_equal(check_inputs(tmp_path / "in", truth=tmp_path / "ok").truth["a"].load(), labels)
        overlap = check_inputs(tmp_path / "in", truth=tmp_path / "overlap").truth["a"]
        with pytest.warns(DivsegWarning, match="overlap in 1 pixels"):
            overlap.load()
        with pytest.raises(FileProblem, match="several labels each"):
            check_inputs(tmp_path / "in", truth=tmp_path / "several").truth["a"].load()


class TestNames:
    def test_masks_of_cellpose(self, tmp_path, picture, labels):
        tifffile.imwrite(tmp_path / "w.tif", picture)
        iio.imwrite(tmp_path / "w_cp_masks.png", labels)
        np.save(tmp_path / "w_seg.npy", labels)
        tifffile.imwrite(tmp_path / "w_flows.tif", picture)
        report = check_inputs(tmp_path, truth=tmp_path)
        assert report.images.names == ["w"]
        assert report.truth["w"].path.name == "w_cp_masks.png"
        left = {f.file.name: f.reason for f in report.left_out}
        assert left["w_cp_masks.png"] == "named as the mask of another image"
        assert set(left) == {"w_cp_masks.png", "w_seg.npy", "w_flows.tif"}
        (tmp_path / "w_cp_masks.png").unlink()
        truth = check_inputs(tmp_path, truth=tmp_path).truth["w"]
        assert truth.path.name == "w_seg.npy"
        np.testing.assert_array_equal(truth.load(), labels)

    @pytest.mark.parametrize("ending", ["_mask", "_masks", "_label", "_labels", "_gt", "_seg", "_cp_masks"])
    def test_masks_are_never_images(self, tmp_path, picture, labels, ending):
        tifffile.imwrite(tmp_path / "a.tif", picture)
        tifffile.imwrite(tmp_path / f"a{ending}.tif", labels)
        tifffile.imwrite(tmp_path / f"b{ending}.tif", picture)
        assert read(tmp_path).names == ["a", f"b{ending}"]
        assert read(tmp_path / f"a{ending}.tif").names == [f"a{ending}"]

    @pytest.mark.parametrize("name", ["Zelle_ä", "Küvette 2 µm", "がんさいぼう", "é̂x"])
    @pytest.mark.parametrize("forms", [("NFD", "NFC"), ("NFC", "NFD"), ("NFKD", "NFKD")])
    def test_unicode_forms(self, tmp_path, picture, labels, name, forms):
        for folder, data, form in zip(("in", "gt"), (picture, labels), forms, strict=True):
            (tmp_path / folder).mkdir()
            tifffile.imwrite(tmp_path / folder / (unicodedata.normalize(form, name) + ".tif"), data)
        report = check_inputs(tmp_path / "in", truth=tmp_path / "gt")
        assert len(report.truth) == 1

    @pytest.mark.parametrize("truth", ["01_GT/SEG", "01_GT"])
    def test_cell_tracking_challenge(self, tmp_path, picture, labels, truth):
        for folder in ("01", "01_GT/SEG", "01_GT/TRA"):
            (tmp_path / folder).mkdir(parents=True)
        for k in range(3):
            tifffile.imwrite(tmp_path / "01" / f"t{k:03d}.tif", picture)
            tifffile.imwrite(tmp_path / "01_GT/TRA" / f"man_track{k:03d}.tif", labels * 0)
            if k != 1:
                tifffile.imwrite(tmp_path / "01_GT/SEG" / f"man_seg{k:03d}.tif", labels)
        report = check_inputs(tmp_path / "01", truth=tmp_path / truth)
        assert {n: r.path.name for n, r in report.truth.items()} == {"t000": "man_seg000.tif", "t002": "man_seg002.tif"}
        assert len(check_inputs(tmp_path / "01", truth=tmp_path / "01_GT/TRA").truth) == 3
        (tmp_path / "out").mkdir()
        for k in range(3):
            tifffile.imwrite(tmp_path / "out" / f"t{k:03d}.tif", labels)
        assert evaluate(tmp_path / "out", tmp_path / truth).images["ap50"].tolist() == [1.0, 1.0]

    def test_wells_with_equal_names(self, tmp_path, picture, labels):
        for k, well in enumerate(("A01", "A02", "B/B01")):
            for folder, data in (("in", picture + k), ("gt", labels + 0)):
                (tmp_path / folder / well).mkdir(parents=True)
                tifffile.imwrite(tmp_path / folder / well / "field_0.tif", data)
        with pytest.raises(InputError, match=r"subfolders are not searched"):
            check_inputs(tmp_path / "in")
        report = check_inputs(str(tmp_path / "in/**/*.tif"), truth=str(tmp_path / "gt/**/*.tif"))
        assert report.images.names == ["A01/field_0", "A02/field_0", "B/B01/field_0"]
        for name, ref in report.truth.items():
            assert ref.path == tmp_path / "gt" / f"{name}.tif"
        tifffile.imwrite(tmp_path / "in" / "A01" / "Field_0.TIF", picture)
        with pytest.raises(InputError, match="same name"):
            check_inputs(str(tmp_path / "in/**/*.[tT]*"))

    @pytest.mark.parametrize("name", ["b" * 201, "ä" * 101, "細" * 70])
    def test_long_names_are_rows(self, tmp_path, picture, name):
        for each in ("a", name):
            tifffile.imwrite(tmp_path / f"{each}.tif", picture)
        report = check_inputs(tmp_path)
        assert (report.images.names, report.n_unusable) == (["a"], 1)
        assert "shorten it to 200 or less" in str(report.problems[0])

    def test_what_is_not_taken_is_named(self, tmp_path, picture):
        tifffile.imwrite(tmp_path / "a.tif", picture)
        os.symlink("nowhere.tif", tmp_path / "link.tif")
        os.mkfifo(tmp_path / "pipe.tif")
        for name in ("b.oib", "c.vsi", "notes.txt", "._a.tif"):
            (tmp_path / name).write_bytes(b"x")
        (tmp_path / "sub").mkdir()
        report = check_inputs(tmp_path)
        left = {f.file.name: f.reason for f in report.left_out}
        assert "a link to a file that is not there" in left["link.tif"]
        assert left["pipe.tif"] == "not a file that can be read"
        assert left["b.oib"] == "files of type .oib are not read; convert it to TIFF"
        assert (left["notes.txt"], left["._a.tif"]) == ("not an image", "hidden")
        assert "is not searched" in left["sub"]
        text = "\n".join(report.lines())
        assert all(name in text for name in left)
        (tmp_path / "a.tif").unlink()
        with pytest.raises(InputError, match=r"convert its \.oib, \.vsi files"):
            check_inputs(tmp_path)
        with pytest.raises(InputError, match="link to a file that is not there"):
            check_inputs(tmp_path / "link.tif")
