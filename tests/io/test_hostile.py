"""Damaged and hostile files: one line, little memory, no other file, no code."""

import io
import json
import os
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import tifffile

from divseg.errors import ConfigError, DivsegError, FileProblem, InputError, printable
from divseg.io import check_inputs, read, read_labels, write_csv, write_json
from divseg.io.arrays import read_arrays
from divseg.io.atomic import as_text, from_text
from divseg.io.json_file import parse_json, read_json_object, real, whole
from divseg.io.limits import check_claim, limit_bytes

OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" {root}>'
    '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="9" SizeY="8" '
    'SizeZ="1" SizeC="1" SizeT="{t}"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
)


def ome(path, data="", root="", t=1):
    pixels = np.full((8, 9), 7, np.uint8)
    pixels[0, 0] = 8
    tifffile.imwrite(path, pixels, description=OME.format(data=data, root=root, t=t), metadata=None)
    return path


class TestOtherFiles:
    @pytest.mark.parametrize(
        "name", ["../secret.tif", "/etc/secret.tif", "..\\secret.tif", "c:secret.tif", "sub/s.tif"]
    )
    def test_a_path_is_refused(self, tmp_path, name):
        folder = tmp_path / "in"
        folder.mkdir()
        tifffile.imwrite(tmp_path / "secret.tif", np.full((8, 9), 99, np.uint8))
        data = f'<TiffData IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:b</UUID></TiffData>'
        path = ome(folder / "a.ome.tif", data, 'UUID="urn:uuid:a"')
        with pytest.raises(FileProblem, match="another folder"):
            read(path)

    @pytest.mark.parametrize("root", ['UUID="urn:uuid:a"', ""])
    def test_a_sibling_is_not_read(self, tmp_path, root):
        tifffile.imwrite(tmp_path / "secret.tif", np.full((8, 9), 99, np.uint8))
        data = '<TiffData IFD="0" PlaneCount="1"><UUID FileName="secret.tif">urn:uuid:b</UUID></TiffData>'
        image = read(ome(tmp_path / "a.ome.tif", data, root))[0]
        assert int(image.data.max()) == 8

    def test_micro_manager_and_ndtiff_read_no_sibling(self, tmp_path):
        """Their formats make tifffile look for an index or for parts beside the file."""
        path = ome(tmp_path / "a_NDTiffStack.tif")
        (tmp_path / "NDTiff.index").write_bytes(b"\xff" * 64)
        assert len(read(path)) == 1

    @pytest.mark.parametrize(
        "data", ['<TiffData IFD="0" PlaneCount="9999999999"/>', '<TiffData NumPlanes="2000000"/>', "<TiffData/>"]
    )
    def test_counts_of_planes(self, tmp_path, data):
        path = ome(tmp_path / "a.ome.tif", data, t=1 if "Count" in data or "Num" in data else 10**10)
        with pytest.raises(FileProblem, match=r"claims .* planes"):
            read(path)


def header_only(width, height, compression=1, tile=None, bits=8):
    """Return a TIFF of a few bytes that claims a size."""
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, compression), (262, 3, 1), (277, 3, 1)]
    tags += [(322, 4, tile), (323, 4, tile), (324, 4, 8), (325, 4, 4)] if tile else []
    tags += [] if tile else [(273, 4, 8), (278, 4, height), (279, 4, 4)]
    body = b"".join(struct.pack("<HHII", code, kind, 1, value) for code, kind, value in sorted(tags))
    return b"II*\0" + struct.pack("<I", 16) + bytes(8) + struct.pack("<H", len(tags)) + body + bytes(4)


class TestSizes:
    @pytest.mark.parametrize(
        "content",
        [
            header_only(100_000, 100_000),
            header_only(100_000, 100_000, compression=8),
            header_only(2**31, 2**31, compression=5),
            header_only(64, 64, compression=8, tile=2**20),
            header_only(20_000, 20_000, compression=32773, bits=16),
        ],
    )
    def test_a_small_file_claims_no_memory(self, tmp_path, content):
        path = tmp_path / "a.tif"
        path.write_bytes(content)
        tracemalloc.start()
        with pytest.raises(FileProblem):
            read(path)[0]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**26

    def test_png(self, tmp_path):
        import zlib

        head = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
        data = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data + b"\0\0\0\0IEND\xaeB`\x82")
        with pytest.raises(FileProblem, match=r"claims 2\.5 GB"):
            read(tmp_path / "a.png")

    def test_the_limit_is_a_setting(self, tmp_path, monkeypatch):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, np.arange(10_000, dtype=np.uint16).reshape(100, 100))
        monkeypatch.setenv("DIVSEG_MAX_GB", "1e-5")
        with pytest.raises(FileProblem, match="raise the limit: set the environment variable DIVSEG_MAX_GB"):
            read(path)
        monkeypatch.setenv("DIVSEG_MAX_GB", "1")
        assert read(path)[0].shape == (100, 100)
        for wrong in ("0", "-1", "many", "nan"):
            monkeypatch.setenv("DIVSEG_MAX_GB", wrong)
            with pytest.raises(ConfigError, match="a number above 0"):
                limit_bytes()

    def test_what_a_file_may_claim(self, tmp_path):
        path = tmp_path / "a"
        path.write_bytes(bytes(100_000))
        check_claim(path, 2**26)
        check_claim(path, 200_000_000)
        with pytest.raises(FileProblem, match="only 100000 bytes"):
            check_claim(path, 200_000_001)
        with pytest.raises(FileProblem, match="only 100000 bytes"):
            check_claim(path, 2**26 + 1, compressed=False)


class TestArrays:
    def npy(self, shape, dtype="<f8", data=b""):
        header = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
        header += b" " * (-(len(header) + 11) % 64) + b"\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data

    @pytest.mark.parametrize(
        ("shape", "dtype"),
        [
            ((2**20, 2**20), "<f8"),
            ((10**30,), "<f8"),
            ((-1,), "<f8"),
            ((3, 4), "<f8"),
            ((2,), "|O"),
            ((1,), "<U9999999"),
        ],
    )
    def test_a_header_is_not_believed(self, tmp_path, shape, dtype):
        (tmp_path / "a.npy").write_bytes(self.npy(shape, dtype, bytes(16)))
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
            file.writestr("a.npy", self.npy(shape, dtype, bytes(16)))
        for name in ("a.npy", "a.npz"):
            with pytest.raises(ValueError, match=r"claims|pickle"):
                read_arrays(tmp_path / name)

    def test_pickles_are_not_opened(self, tmp_path):
        class Trap:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "trap"),)

        np.save(tmp_path / "a_seg.npy", np.array({"masks": Trap()}, dtype=object), allow_pickle=True)
        with pytest.raises(FileProblem, match=r"pickle\), which are not opened") as caught:
            read_labels(tmp_path / "a_seg.npy")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "trap").exists()
        (tmp_path / "b_seg.npy").write_bytes(pickle.dumps(Trap()))
        with pytest.raises(FileProblem, match="not a whole archive"):
            read_labels(tmp_path / "b_seg.npy")
        assert not (tmp_path / "trap").exists()

    def test_a_bomb(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("a.npy", self.npy((2**27,), "|u1", bytes(2**27)))
        data = bytearray((tmp_path / "a.npz").read_bytes())
        assert read_arrays(tmp_path / "a.npz")["a"].size == 2**27
        data[-2:-2] = b""
        place = data.rfind(b"PK\x01\x02")
        data[place + 24 : place + 28] = struct.pack("<I", 2**32 - 2)
        (tmp_path / "b.npz").write_bytes(bytes(data))
        with pytest.raises(FileProblem, match="claims"):
            read_arrays(tmp_path / "b.npz")


class TestJson:
    @pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000, "1" * 5000, "{", b"\xff\xfe", ""])
    def test_one_line(self, text):
        with pytest.raises(ValueError, match=r"\w") as caught:
            parse_json(text)
        assert "\n" not in str(caught.value)

    def test_other_than_an_object(self, tmp_path):
        for text in ("[]", "1", '"a"', "null", "true"):
            (tmp_path / "a.json").write_text(text)
            with pytest.raises(ValueError, match="not an object"):
                read_json_object(tmp_path / "a.json")

    @pytest.mark.parametrize("value", [True, None, "1", [1], {}, float("nan"), float("inf"), 1.5, -1, 10**400])
    def test_numbers(self, value):
        with pytest.raises(ValueError, match="is not"):
            whole(value)
        if value not in (1.5, -1):
            with pytest.raises(ValueError, match="is not"):
                real(value)
        assert (whole(3.0), whole(4), real(2)) == (3, 4, 2.0)


class TestText:
    @pytest.mark.parametrize("text", ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "'=1", "''@x", "=", "-"])
    def test_formulas_are_text_and_come_back(self, text):
        written = as_text(text)
        assert written[0] == "'"
        assert from_text(written) == text

    @pytest.mark.parametrize(
        "value", ["-1.5", "+3", "-inf", "1e-5", "-1e9", "a=1", "it's", "'quoted'", "", 3, -1.5, None]
    )
    def test_others_stay(self, value):
        assert as_text(value) == value
        assert from_text(value) == value

    def test_a_table(self, tmp_path):
        import pandas as pd

        from divseg.results.reader import read_table

        table = pd.DataFrame({"image": ["=cmd|' /C calc'!A0", "-2", "plain"], "x": [-1.5, 2.0, float("nan")]})
        write_csv(tmp_path / "a.csv", table)
        text = (tmp_path / "a.csv").read_text()
        assert text.splitlines() == ["image,x", "'=cmd|' /C calc'!A0,-1.5", "-2,2.0", "plain,"]
        assert read_table(tmp_path / "a.csv")["image"].tolist() == table["image"].tolist()

    def test_names_that_are_not_utf8(self, tmp_path):
        name = os.fsdecode(b"cell_\xe4.tif")
        path = tmp_path / name
        tifffile.imwrite(path, np.arange(12, dtype=np.uint8).reshape(3, 4))
        image = read(tmp_path)[0]
        assert image.name == "cell_%E4"
        write_json(tmp_path / "a.json", {"path": str(path)})
        assert json.loads((tmp_path / "a.json").read_bytes().decode("utf-8"))["path"] == str(path)
        path.write_bytes(b"")
        with pytest.raises(FileProblem, match=r"cell_\\udce4\.tif") as caught:
            read(tmp_path)
        str(caught.value).encode()

    @pytest.mark.parametrize("code", ["\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "\r", "\x08", "\u202e", "\x7f"])
    def test_escape_codes_in_names(self, tmp_path, code):
        path = tmp_path / f"a{code}b.tif"
        path.write_bytes(b"")
        tifffile.imwrite(tmp_path / "good.tif", np.arange(12, dtype=np.uint8).reshape(3, 4))
        report = check_inputs(tmp_path)
        with pytest.raises(InputError) as caught:
            read(path)
        for text in (str(caught.value), str(DivsegError(f"a{code}"))):
            assert code not in text
        assert code not in printable("\n".join(report.lines()), lines=True)
        assert printable("a\nb\x1b", lines=True) == "a\nb\\x1b"


def test_a_message_is_not_endless():
    text = str(DivsegError("begin" + "x" * 10_000 + "end"))
    assert (text[:5], text[-3:], len(text) <= 2000) == ("begin", "end", True)


def test_an_unexpected_exception_is_a_row(tmp_path, monkeypatch):
    """Whatever a library raises on one file, the others are read."""
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.arange(12, dtype=np.uint8).reshape(3, 4))
    opened = tifffile.TiffFile

    def strange(path, *args, **options):
        if str(path).endswith("a.tif"):
            raise RecursionError
        return opened(path, *args, **options)

    monkeypatch.setattr(tifffile, "TiffFile", strange)
    report = check_inputs(tmp_path)
    assert report.images.names == ["b"]
    assert "RecursionError" in str(report.problems[0])


def test_a_full_disk_says_so():
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    from divseg.io.atomic import output_error

    with pytest.raises(OSError, match="No space") as full, io.FileIO("/dev/full", "w") as file:
        file.write(b"x")
    text = str(output_error("/out/labels/a.tif", full.value))
    assert text.startswith("/out/labels/a.tif: it could not be written (No space left on device); free some space")
