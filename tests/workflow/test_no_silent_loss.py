"""Every file of a folder is in the results, in failures.csv or in the list of files left out, with a true reason."""

import json
import os
import re
import struct
import unicodedata
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest
import tifffile

from divseg.workflow.run import run

GOOD, FAILS, LEFT = "good", "fails", "left out"
SETTINGS = {
    "network": "flat,filters=4,latents=4",
    "train_steps": 2,
    "samples": 2,
    "device": "cpu",
    "compare": (),
    "simulate": 0,
}


def noisy(seed, shape=(40, 44)):
    return np.random.default_rng(seed).normal(200, 20, shape).clip(1, 4000).astype(np.uint16)


def tif(data, **options):
    return lambda path: tifffile.imwrite(path, data, **({"photometric": "minisblack"} | options))


def content(data):
    return lambda path: Path(path).write_bytes(data)


def odd_pixels(dtype, value):
    data = noisy(1).astype(dtype)
    data[3, 4] = value
    return data


def cut(path):
    tifffile.imwrite(path, noisy(2))
    os.truncate(path, 900)


def circle(path):
    tifffile.imwrite(path, noisy(3), photometric="minisblack", metadata=None)
    data = bytearray(Path(path).read_bytes())
    (place,) = struct.unpack_from("<I", data, 4)
    (n,) = struct.unpack_from("<H", data, place)
    struct.pack_into("<I", data, place + 2 + 12 * n, place)
    Path(path).write_bytes(bytes(data))


def huge(path):
    tags = [(256, 4, 90_000), (257, 4, 90_000), (258, 3, 8), (259, 3, 8), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    tags += [(278, 4, 90_000), (279, 4, 4)]
    body = b"".join(struct.pack("<HHII", code, kind, 1, value) for code, kind, value in tags)
    Path(path).write_bytes(b"II*\0" + struct.pack("<I", 16) + bytes(8) + struct.pack("<H", len(tags)) + body + bytes(4))


def elsewhere(path):
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:a">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="44" SizeY="40" '
        'SizeZ="1" SizeC="1" SizeT="1"><TiffData IFD="0" PlaneCount="1"><UUID FileName="../x.tif">u:b</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    tifffile.imwrite(path, noisy(4), description=xml, metadata=None)


def bits(path):
    tifffile.imwrite(path, noisy(5), photometric="minisblack", metadata=None, rowsperstrip=40)
    data = Path(path).read_bytes()
    Path(path).write_bytes(data.replace(struct.pack("<HHII", 258, 3, 1, 16), struct.pack("<HHII", 258, 3, 1, 24)))


def png(data):
    return lambda path: iio.imwrite(path, data, extension=".png")


COLOURS = np.random.default_rng(0).integers(0, 255, (40, 44, 3)).astype(np.uint8)
GREY = (noisy(6) >> 1).astype(np.uint8)
ALPHA = np.stack([GREY, GREY], -1)
ODD = {
    # used as they are, or as they should be
    "white.tif": (GOOD, "", tif(GREY, photometric="miniswhite")),
    "grey_rgb.png": (GOOD, "", png(np.stack([GREY] * 3, -1))),
    "float.tif": (GOOD, "", tif(noisy(7).astype("f8"))),
    os.fsdecode(b"latin_\xe4.tif"): (GOOD, "", tif(noisy(8))),
    unicodedata.normalize("NFD", "Zelle_\u00e4.tif"): (GOOD, "", tif(noisy(9))),
    "a\x1b[31mb.tif": (GOOD, "", tif(noisy(10))),
    "=1+1.tif": (GOOD, "", tif(noisy(11))),
    # not to be used
    "empty.tif": (FAILS, "empty", content(b"")),
    "text.tif": (FAILS, "not a TIFF file despite its name", content(b"some text")),
    "text.png": (FAILS, "not a PNG file despite its name", content(b"some text")),
    "cut.tif": (FAILS, "cut off", cut),
    "circle.tif": (FAILS, "circle", circle),
    "huge.tif": (FAILS, "claims", huge),
    "elsewhere.ome.tif": (FAILS, "another folder", elsewhere),
    "24bits.tif": (FAILS, "bits|cannot be read|cut off", bits),
    "nan.tif": (FAILS, r"NaN or infinite, the first at \(0, 0\)", tif(np.full((40, 44), np.nan, np.float32))),
    "inf.tif": (FAILS, "NaN or infinite", tif(odd_pixels("f4", np.inf))),
    "constant.tif": (FAILS, "all pixels have the value 7", tif(np.full((40, 44), 7, np.uint8))),
    "colours.tif": (FAILS, "3 channels", tif(COLOURS, photometric="rgb")),
    "colours2.png": (FAILS, "3 channels", png(COLOURS)),
    "two.tif": (FAILS, "2 channels", tif(np.stack([noisy(1)] * 2), imagej=True, metadata={"axes": "CYX"})),
    "last.tif": (FAILS, "looks like 5 channels that come last", tif(noisy(1, (40, 44, 5)), metadata=None)),
    "four.tif": (FAILS, "does not say what the 4 axes", tif(noisy(1, (2, 3, 40, 44)))),
    "complex.tif": (FAILS, "not intensities", tif(noisy(1).astype("c8"))),
    "large.tif": (FAILS, "too large to be held exactly", tif(noisy(1).astype("u8") + 2**60)),
    "huge_values.tif": (FAILS, "do not fit 32-bit floats", tif(noisy(1) * 1e300)),
    "small.tif": (FAILS, "at least|smaller|fewer|pixels", tif(noisy(1, (2, 3)))),
    "l" * 210 + ".tif": (FAILS, "its name has 210 bytes", tif(noisy(1))),
    "transparent.png": (FAILS, "alpha", png(ALPHA)),
    "b.nd2": (FAILS, r"cut off|divseg\[vendor\]", content(b"x")),
    "c.jpg": (FAILS, "cannot be read as JPEG", content(b"x")),
    # not images of this folder
    "link.tif": (LEFT, "link to a file that is not there", lambda path: os.symlink("nowhere.tif", path)),
    "annex.png": (LEFT, "link to a file that is not there", lambda path: os.symlink("../.git/annex/x", path)),
    "a.oib": (LEFT, r"type \.oib", content(b"x")),
    "notes.txt": (LEFT, "not an image", content(b"x")),
    "._good00.tif": (LEFT, "hidden", content(b"x")),
    "pipe.tif": (LEFT, "not a file that can be read", os.mkfifo),
    "good00_mask.tif": (LEFT, "mask of another image", tif(GREY)),
    "good01_cp_masks.png": (LEFT, "mask of another image", png(GREY)),
    "good02_flows.tif": (LEFT, "Cellpose", tif(GREY)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("loss") / "in"
    root.mkdir()
    for k in range(20):
        tifffile.imwrite(root / f"good{k:02d}.tif", noisy(100 + k))
    for name, (_, _, write) in ODD.items():
        write(str(root / name))
    return root


def in_table(path):
    """Return a path as tables hold it."""
    return str(path).encode(errors="backslashreplace").decode()


def test_every_file_is_accounted_for(folder, tmp_path):
    assert (len(ODD), len(os.listdir(folder))) == (40, 60)
    arguments = {"segmenter": "otsu", "report": False, **SETTINGS}
    dry = run(folder, tmp_path / "out", dry_run=True, **arguments)
    result = run(folder, tmp_path / "out", **arguments)
    results = set(pd.read_csv(tmp_path / "out" / "images.csv")["file"].str.lstrip("'"))
    failures = pd.read_csv(tmp_path / "out" / "failures.csv").set_index("file")["error"].to_dict()
    left = {row["file"]: row["reason"] for row in json.loads((tmp_path / "out" / "run.json").read_bytes())["left_out"]}
    left = {in_table(file): reason for file, reason in left.items()}
    told = dict.fromkeys(results, "") | failures | left
    assert len(told) == len(results) + len(failures) + len(left) == 60
    for name in os.listdir(folder):
        kind, word, _ = ODD.get(name, (GOOD, "", None))
        where = {GOOD: results, FAILS: failures, LEFT: left}[kind]
        file = in_table(folder / name)
        assert file in where, f"{name!r} is not among those that are {kind}"
        assert re.search(word, told[file]), told[file]
    assert (result.n_images, result.n_failed) == (len(results), len(failures))

    # the dry run says the same of each
    assert (dry.n_images, dry.n_failed) == (result.n_images, result.n_failed)
    lines = dry.text.splitlines()
    for file, error in failures.items():
        assert any(line == f"left out: {file}: {error}" for line in lines), file
    for file, reason in left.items():
        assert any(file in line and line.endswith(reason) for line in lines if line.startswith("not taken: ")), file


@pytest.fixture
def plain(tmp_path):
    """A folder with two images of 80 x 80 pixels and one of 20 x 21."""
    root = tmp_path / "in"
    root.mkdir()
    for name, shape in (("a", (80, 80)), ("b", (80, 80)), ("tiny", (20, 21))):
        tifffile.imwrite(root / f"{name}.tif", noisy(len(name), shape))
    return root


def test_an_image_smaller_than_a_crop_is_done_but_not_trained_on(plain, tmp_path):
    result = run(plain, tmp_path / "out", segmenter="otsu", report=False, **SETTINGS)
    assert (result.n_images, result.n_failed) == (3, 0)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["training"]["images"] == 2
    assert "smaller than a crop of 64 pixels, and not trained on: tiny" in (tmp_path / "out" / "run.log").read_text()


def test_an_unexpected_exception_is_a_row(plain, tmp_path, monkeypatch):
    """Whatever goes wrong in reading one image, the others are done, and the dry run says the same."""
    from divseg.io.tiff import TiffSource

    load = TiffSource.load

    def strange(source, *args, **options):
        if source.path.name == "b.tif":
            raise ZeroDivisionError("strange")
        return load(source, *args, **options)

    monkeypatch.setattr(TiffSource, "load", strange)
    arguments = {"segmenter": "otsu", "report": False, **SETTINGS}
    dry = run(plain, tmp_path / "out", dry_run=True, **arguments)
    assert "b.tif: ZeroDivisionError: strange" in dry.text
    result = run(plain, tmp_path / "out", **arguments)
    assert (result.n_images, result.n_failed) == (dry.n_images, dry.n_failed) == (2, 1)
    assert "ZeroDivisionError: strange" in pd.read_csv(tmp_path / "out" / "failures.csv")["error"][0]
