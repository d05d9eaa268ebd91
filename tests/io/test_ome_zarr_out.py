"""OME-Zarr out: read again by the specification, chunk by chunk."""

import json
import zlib

import numpy as np
import pandas as pd
import pytest

from divseg.io import PixelSize
from divseg.io.ome_zarr_out import ome_zarr_files


def write(folder, files):
    for name, content in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def read(folder):
    """Read an array of Zarr 2 whose chunks are deflated."""
    described = json.loads((folder / ".zarray").read_text())
    assert (described["zarr_format"], described["compressor"]["id"], described["order"]) == (2, "zlib", "C")
    whole, chunk = np.zeros(described["shape"], described["dtype"]), described["chunks"]
    for i in range(-(-whole.shape[0] // chunk[0])):
        for j in range(-(-whole.shape[1] // chunk[1])):
            data = np.frombuffer(zlib.decompress((folder / str(i) / str(j)).read_bytes()), whole.dtype).reshape(chunk)
            target = whole[i * chunk[0] : (i + 1) * chunk[0], j * chunk[1] : (j + 1) * chunk[1]]
            target[:] = data[: target.shape[0], : target.shape[1]]
    return whole


def scene(shape, high=3):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, shape)
    labels.flat[0] = high
    return rng.normal(size=shape).astype(np.float32), labels


@pytest.mark.parametrize(("shape", "levels"), [((30, 40), 1), ((1024, 7), 1), ((1030, 2500), 3)])
def test_image_and_labels_come_back(tmp_path, shape, levels):
    image, labels = scene(shape)
    write(tmp_path, ome_zarr_files(image, labels, pd.DataFrame({"label": [1]}), PixelSize(0.5, 0.25), "a"))
    for place, expected in ((tmp_path, image), (tmp_path / "labels" / "consensus", labels)):
        (scales,) = json.loads((place / ".zattrs").read_text())["multiscales"]
        assert [axis["unit"] for axis in scales["axes"]] == ["micrometer"] * 2
        assert len(scales["datasets"]) == levels
        for level, dataset in enumerate(scales["datasets"]):
            (step,) = dataset["coordinateTransformations"]
            assert step == {"type": "scale", "scale": [0.5 * 2**level, 0.25 * 2**level]}
            np.testing.assert_array_equal(read(place / dataset["path"]), expected[:: 2**level, :: 2**level])


def test_labels_have_colours_and_properties(tmp_path):
    image, labels = scene((9, 9), high=70_000)
    objects = pd.DataFrame(
        {"label": [1, 2, 70_000], "existence": [0.5, np.nan, 1], "p_true": [0.25, 1, 0], "class": ["dim", "", "x"]}
    )
    write(tmp_path, ome_zarr_files(image, labels, objects))
    assert json.loads((tmp_path / "labels" / ".zattrs").read_text()) == {"labels": ["consensus"]}
    place = tmp_path / "labels" / "consensus"
    described = json.loads((place / ".zattrs").read_text())["image-label"]
    assert described["source"] == {"image": "../../"}
    assert [colour["label-value"] for colour in described["colors"]] == [1, 2, 70_000]
    assert described["properties"] == [
        {"label-value": 1, "existence": 0.5, "p_true": 0.25, "class": "dim"},
        {"label-value": 2, "p_true": 1},
        {"label-value": 70_000, "existence": 1, "p_true": 0, "class": "x"},
    ]
    assert read(place / "0").dtype == np.uint32
    np.testing.assert_array_equal(read(place / "0"), labels)


def test_zarr_reads_it(tmp_path):
    zarr = pytest.importorskip("zarr")
    image, labels = scene((1100, 50))
    write(tmp_path, ome_zarr_files(image, labels, pd.DataFrame({"label": [1], "area": [3]})))
    group = zarr.open_group(tmp_path, mode="r")
    np.testing.assert_array_equal(group["0"][:], image)
    np.testing.assert_array_equal(group["labels/consensus/0"][:], labels)
    np.testing.assert_array_equal(group["labels/consensus/1"][:], labels[::2, ::2])
