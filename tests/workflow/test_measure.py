"""After fusion: measurements, outlines, points and queues of a run."""

import json
import zlib

import numpy as np
import pandas as pd
import pytest
import roifile

import divseg
from divseg.config import RunConfig
from divseg.errors import ConfigError, ExtraRequired
from divseg.io import PixelSize, write_image
from divseg.io.parquet import write_parquet
from divseg.metrics.measurements import measure_objects
from divseg.metrics.posterior import Moments
from divseg.results import RunStore
from divseg.results.intensities import load_moments, save_moments
from divseg.results.open_run import open_run
from divseg.workflow import check

CONFIG = RunConfig.make(
    network="flat,filters=8,latents=8",
    train_steps=60,
    noise="gaussian,std=12",
    samples=4,
    device="cpu",
    segmenter="otsu,smooth=1,min_size=20",
    keep="denoised,std,stacks,rois,geojson,zarr,tracks",
)


@pytest.fixture(scope="module")
def out(make_plate, tmp_path_factory):
    """A run on a movie of two frames."""
    root = tmp_path_factory.mktemp("movie")
    images, _ = make_plate(root / "plate", n=2)
    frames = [divseg.read(images)[k].data for k in range(2)]
    write_image(root / "in" / "m.tif", np.stack(frames), PixelSize(0.5, 0.5), "TYX")
    divseg.run(root / "in", root / "run", config=CONFIG, report=False)
    return root / "run"


def test_every_object_is_measured(out):
    run = open_run(out)
    assert run.measurements[["image", "label"]].equals(run.objects[["image", "label"]])
    for name in run.names:
        mine = run.measurements[run.measurements["image"] == name].reset_index(drop=True)
        store = RunStore(out)
        stack = run.stacks[name]
        drawn = [(stack.labels(k), moments) for k, moments in enumerate(load_moments(store.intensities(name)))]
        assert len(drawn) == 4
        expected = measure_objects(
            run.labels[name],
            run.images[name][None],
            denoised=run.denoised[name][None],
            samples=drawn,
            pixel_size=PixelSize(0.5, 0.5),
        )
        pd.testing.assert_frame_equal(mine.drop(columns="image"), expected)
        np.testing.assert_allclose(mine["area_um2"], mine["area"] / 4)
    # the samples say what their mean says, up to the pixels that they take for the object
    table = run.measurements
    np.testing.assert_allclose(table["posterior_mean"], table["denoised_mean"], rtol=0.1)
    assert (table["posterior_mean_q05"] <= table["posterior_mean_q95"]).all()


def test_intensities_of_the_samples_come_back(tmp_path):
    samples = [[Moments(*np.full((2, n), c, np.float32)) for c in (1, 2)] for n in (0, 3, 1)]
    save_moments(tmp_path / "a.npz", samples)
    back = load_moments(tmp_path / "a.npz")
    assert [[len(moments.mean) for moments in sample] for sample in back] == [[0, 0], [3, 3], [1, 1]]
    assert [moments.std.tolist() for moments in back[2]] == [[1.0], [2.0]]
    (tmp_path / "a.npz").write_bytes(b"PK")
    with pytest.raises(divseg.errors.InputError, match="it cannot be read"):
        load_moments(tmp_path / "a.npz")


def test_outlines_hold_all_objects_and_what_is_known_of_them(out):
    run = open_run(out)
    for name in run.names:
        objects = run.objects[run.objects["image"] == name]
        features = json.loads((out / "geojson" / f"{name}.geojson").read_text())["features"]
        measured = [feature["properties"]["measurements"] for feature in features]
        assert [row["label"] for row in measured] == objects["label"].tolist()
        np.testing.assert_allclose([row["existence"] for row in measured], objects["existence"])
        assert [int(roi.name) for roi in roifile.roiread(out / "rois" / f"{name}.zip")] == objects["label"].tolist()


def test_the_zarr_is_that_of_the_image(out):
    run = open_run(out)
    for name in run.names:
        folder = out / "zarr" / f"{name}.zarr"
        image = zlib.decompress((folder / "0" / "0" / "0").read_bytes())
        assert image == run.denoised[name].astype("<f4").tobytes()
        labels = zlib.decompress((folder / "labels" / "consensus" / "0" / "0" / "0").read_bytes())
        assert labels == run.labels[name].astype("<u2").tobytes()


def test_points_and_queue(out):
    run = open_run(out)
    assert run.tracks["frame"].tolist() == sorted([int(name[-1]) for name in run.objects["image"]])
    assert set(run.tracks["series"]) == {"m"}
    assert set(run.tracks["unit"]) == {"µm"}
    np.testing.assert_allclose(np.sort(run.tracks["x"]), np.sort(run.objects["centroid_x"] / 2))
    assert run.review["existence"].is_monotonic_increasing
    assert len(run.review) == len(run.objects)


def test_tables_as_parquet(out, tmp_path):
    pytest.importorskip("pyarrow")
    store = RunStore(tmp_path / "run")
    tables = {"objects": open_run(out).objects, "images": open_run(out).images_table}
    store.write_tables(tables, parquet=True)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "run" / "objects.parquet"), tables["objects"])
    store.write_tables({"objects": tables["objects"]}, parquet=True)
    assert not (tmp_path / "run" / "images.parquet").exists()
    store.write_tables({"objects": tables["objects"]})
    assert not (tmp_path / "run" / "objects.parquet").exists()  # it would be of an earlier run
    assert (tmp_path / "run" / "objects.csv").exists()


def test_what_cannot_be_written_is_told_before_any_work(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="keep: unknown 'rio'"):
        check.check_settings(CONFIG.replace(keep="rio"))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ExtraRequired, match=r'pip install "divseg\[parquet\]"'):
        check.check_settings(CONFIG.replace(keep="parquet"))
    with pytest.raises(ExtraRequired, match="parquet"):
        write_parquet(tmp_path / "a.parquet", pd.DataFrame())
    monkeypatch.setitem(__import__("sys").modules, "roifile", None)
    with pytest.raises(ExtraRequired, match=r'pip install "divseg\[rois\]"'):
        check.check_settings(CONFIG.replace(keep="rois"))
