"""Volumes, channels and frames all the way through."""

import importlib.util
import json

import numpy as np
import pandas as pd
import pytest
import tifffile

from divseg import open_run
from divseg.errors import ConfigError, FileProblem, InputError
from divseg.io import read
from divseg.io.ome_zarr_out import ome_zarr_files
from divseg.workflow.channels import other_channels
from divseg.workflow.denoise import DenoiseSettings, denoise_folder
from divseg.workflow.run import run
from divseg.workflow.segment import segment_folder
from divseg.workflow.volumes import in_3d

SHAPE = (8, 40, 44)


def balls(rng):
    """Return a label image of three balls, and two noisy channels that show them; planes are two pixels apart."""
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    labels = np.zeros(SHAPE, np.uint16)
    for k, (a, b, c) in enumerate([(4, 12, 12), (3, 28, 14), (4, 20, 32)], start=1):
        labels[(2 * (z - a)) ** 2 + (y - b) ** 2 + (x - c) ** 2 <= 36] = k
    clean = np.stack([50 + 400.0 * (labels > 0), 20 + 30.0 * labels])
    return labels, rng.normal(clean, 15).clip(0).astype(np.uint16)


@pytest.fixture
def rng():
    return np.random.default_rng(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of two volumes of two channels, and one of their truth."""
    root, rng = tmp_path_factory.mktemp("volumes"), np.random.default_rng(0)
    (root / "images").mkdir()
    (root / "truth").mkdir()
    metadata = {"axes": "CZYX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.2, "PhysicalSizeZ": 0.4}
    metadata["Channel"] = {"Name": ["nuclei", "marker"]}
    for name in "ab":
        labels, image = balls(rng)
        tifffile.imwrite(root / "images" / f"{name}.ome.tif", image, metadata=metadata, photometric="minisblack")
        tifffile.imwrite(root / "truth" / f"{name}.tif", labels, photometric="minisblack")
    return root


KEPT = "all" if importlib.util.find_spec("pyarrow") else "denoised,std,foreground,boundary,crops,stacks,samples,zarr"
"""Everything, which takes pyarrow."""


@pytest.fixture(scope="module")
def done(folder):
    """Return the run of the folder; a network that has hardly seen them."""
    quick = {"network": "flat,depth=1,filters=4,latents=4", "train_steps": 1, "samples": 2, "fuse_with": "samples"}
    quick |= {"baseline_sigmas": (1.0,), "compare": (), "keep": KEPT, "existence": 0.0, "snr": 0.0}
    asked = {"channel": "nuclei", "measure": "all", "volume": True, "segmenter": "otsu,smooth=1,split=distance"}
    return run(folder / "images", folder / "out", truth=folder / "truth", **quick, **asked)


def test_a_run_of_volumes(done):
    assert (done.n_images, done.n_failed) == (2, 0)
    opened = open_run(done.out)
    assert opened.labels["a"].shape == opened.denoised["a"].shape == opened.foreground["b"].shape == SHAPE
    assert opened.samples["a"].shape == (2, *SHAPE)
    assert opened.images["a"].shape == SHAPE
    row = opened.images_table.iloc[0]
    assert (row["depth"], row["pixel_size_z"], row["channel"]) == (8, 0.4, "nuclei")
    assert json.loads((done.out / "run.json").read_text())["segmenter"] == "otsu,smooth=1,split=distance,ndim=3"
    assert "network" in json.loads((done.out / "model" / "config.json").read_text())
    assert opened.model.network.config.dims == 3
    assert "p_true" not in opened.objects


def test_scores_are_those_of_volumes(done):
    scores = pd.read_csv(done.out / "scores.csv")
    noisy = scores[scores["input"] == "noisy"]
    assert (noisy["ap50"] == 1.0).all()
    assert (noisy["n_true"] == 3).all()


def test_objects_are_measured_in_every_channel(done):
    table = pd.read_csv(done.out / "measurements.csv")
    assert len(table)
    np.testing.assert_allclose(table["volume_um3"], table["volume"] * 0.4 * 0.2 * 0.2)
    names = [name for name in table if name.endswith("_mean") and name.startswith("raw_")]
    assert names == ["raw_mean", "raw_marker_mean"]
    opened = open_run(done.out)
    labels = opened.labels["a"]
    marker = read(done.out.parent / "images" / "a.ome.tif", channel="marker", invalid="auto")[0].data
    first = table[table["image"] == "a"].iloc[0]
    assert first["raw_marker_mean"] == pytest.approx(marker[labels == first["label"]].mean())


def test_the_report_shows_a_plane_and_projections(done):
    assert (done.out / "plots" / "a_projections.png").is_file()
    html = (done.out / "report.html").read_text()
    assert "of the volume, in the middle of its objects" in html
    assert "8 \u00d7 40 \u00d7 44 px" in html


def test_outlines_are_of_planes(done, folder):
    assert not (done.out / "rois").exists()
    assert (done.out / "zarr" / "a.zarr" / "0").is_dir()
    with pytest.raises(ConfigError, match="keep=rois: outlines are of planes, not of volumes; keep zarr"):
        run(folder / "images", folder / "no", channel=0, volume=True, keep="rois", segmenter="otsu")


def test_the_model_denoises_volumes_without_being_asked(done, folder):
    settings = DenoiseSettings(samples=1)
    result = denoise_folder(folder / "images" / "a.ome.tif", done.out / "model", folder / "d", settings, channel="0")
    assert (result.n_images, result.n_failed) == (1, 0)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"volume": True, "segmenter": "stardist:nuclei"}, "takes planes: give --planes in place of --volume"),
        ({"planes": True, "segmenter": "otsu,ndim=3"}, "takes volumes: give --volume"),
        ({"planes": True, "volume": True}, "volume and planes exclude each other"),
        ({}, "8 planes along Z; give --volume"),
        ({"measure": "all,DAPI", "volume": True}, "has no channel 'all'"),
        ({"measure": "DAPI", "volume": True}, "has no channel 'DAPI'; choose --measure from 0 nuclei, 1 marker"),
    ],
)
def test_what_a_run_cannot_do(folder, asked, message):
    with pytest.raises((ConfigError, InputError), match=message):
        run(folder / "images", folder / "no", channel="nuclei", **{"segmenter": "otsu", **asked})
    assert not (folder / "no").exists()


def test_spacing_changes_what_is_found(folder, tmp_path):
    """Of two balls above each other that touch, planes far apart make two objects, planes close to each other one."""
    z, y, x = np.ogrid[:16, :33, :33]
    both = [((2 * (z - a)) ** 2 + (y - 16) ** 2 + (x - 16) ** 2 <= 64) for a in (4, 11)]
    image = np.random.default_rng(0).normal(20 + 200 * (both[0] | both[1]), 2).astype(np.float32)
    found = {}
    for spacing in (0.02, 2.0):
        path = tmp_path / f"{spacing}" / "a.tif"
        path.parent.mkdir()
        tifffile.imwrite(
            path, image, imagej=True, resolution=(1, 1), metadata={"axes": "ZYX", "unit": "um", "spacing": spacing}
        )
        result = segment_folder(path, tmp_path / f"out{spacing}", "otsu,smooth=0.5,split=distance", volume=True)
        found[spacing] = pd.read_csv(result.out / "images.csv")["n_objects"][0]
    assert found == {0.02: 1, 2.0: 2}


def test_planes_and_projections(folder, tmp_path):
    planes = segment_folder(folder / "images", tmp_path / "p", "otsu,smooth=1", channel="nuclei", planes=True)
    assert planes.n_images == 16
    assert (tmp_path / "p" / "labels" / "a_z3.tif").is_file()
    most = segment_folder(folder / "images", tmp_path / "m", "otsu,smooth=1", channel="nuclei", project="max")
    assert pd.read_csv(most.out / "images.csv")["n_objects"].tolist() == [3, 3]
    assert open_run(most.out).images["a"].shape == SHAPE[1:]


def test_frames_become_a_stack_of_labels(tmp_path, rng):
    movie = np.zeros((3, 32, 40), np.uint16)
    for t in range(3):
        movie[t, 8:16, 4 + 8 * t : 12 + 8 * t] = 200
    movie += rng.integers(0, 9, movie.shape).astype(np.uint16)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(
        tmp_path / "in" / "movie.tif",
        movie,
        imagej=True,
        resolution=(2, 2),
        metadata={"axes": "TYX", "finterval": 30.0, "unit": "um"},
    )
    tifffile.imwrite(tmp_path / "in" / "one.tif", movie[0], photometric="minisblack")
    result = segment_folder(tmp_path / "in", tmp_path / "out", "otsu")
    table = pd.read_csv(result.out / "images.csv")
    assert table["image"].tolist() == ["movie_t0", "movie_t1", "movie_t2", "one"]
    assert table["frame_interval_s"].tolist()[:3] == [30.0] * 3
    assert [path.name for path in (result.out / "series").iterdir()] == ["movie.tif"]
    stack = result.out / "series" / "movie.tif"
    labels = tifffile.imread(stack)
    for t in range(3):
        np.testing.assert_array_equal(labels[t], open_run(result.out).labels[f"movie_t{t}"])
    ref = read(stack).refs[0]
    assert (ref.source.interval, ref.pixel_size.x) == (30.0, pytest.approx(0.5))


def test_channels_to_measure(folder):
    ref = read(folder / "images" / "a.ome.tif", channel=0).refs[0]
    assert other_channels(ref, (), "--measure") == {}
    assert other_channels(ref, ("all",), "--measure") == {"marker": 1}
    assert other_channels(ref, ("1", "nuclei"), "--measure") == {"marker": 1, "nuclei": 0}
    with pytest.raises(FileProblem, match="no channel 'DAPI'; choose --measure from"):
        other_channels(ref, ("DAPI",), "--measure")


def test_strings_of_segmenters_for_volumes():
    assert in_3d("otsu,smooth=1") == "otsu,smooth=1,ndim=3"
    assert in_3d("otsu,ndim=3") == "otsu,ndim=3"
    assert in_3d("otsu,smooth=1 + li") == "otsu,smooth=1,ndim=3 + li,ndim=3"
    assert in_3d("stardist:3D_demo") == "stardist:3D_demo"
    assert in_3d("auto:otsu|li,smooth=2") == "auto:otsu,ndim=3|li,smooth=2,ndim=3"
    assert in_3d("auto") == "auto"


def test_a_volume_as_ome_zarr_comes_back(tmp_path, rng):
    zarr = pytest.importorskip("zarr", reason="needs the extra zarr")
    labels, image = balls(rng)
    table = pd.DataFrame({"label": [1, 2, 3], "existence": [1.0, 0.5, 0.2]})
    for name, content in ome_zarr_files(image[0].astype(np.float32), labels, table, None, "a"):
        path = tmp_path / "a.zarr" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    np.testing.assert_array_equal(zarr.open_array(str(tmp_path / "a.zarr" / "labels/consensus/0"), mode="r")[:], labels)
    found = read(tmp_path / "a.zarr")
    assert found[0].axes == "ZYX"
    np.testing.assert_array_equal(found[0].data, image[0])
