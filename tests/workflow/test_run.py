"""A folder, end to end, on small synthetic images."""

import errno
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import tifffile

import divseg.denoise.training.trainer as training
import divseg.io.atomic as atomic
import divseg.workflow.image as pipeline
from divseg.config import RunConfig
from divseg.errors import ConfigError, InputError, ModelError, OutputError
from divseg.io import read_labels
from divseg.workflow.run import run_folder

CONFIG = RunConfig(train_steps=60, samples=4, device="cpu", segmenter="otsu,smooth=2,min_size=20")


@pytest.fixture(scope="module")
def plate(make_plate, tmp_path_factory):
    return make_plate(tmp_path_factory.mktemp("plate"))


@pytest.fixture(scope="module")
def finished(plate, tmp_path_factory):
    """A run of three images with truth."""
    out = tmp_path_factory.mktemp("out") / "run"
    return run_folder(plate[0], out, CONFIG, truth=plate[1])


def copy_run(finished, tmp_path):
    return shutil.copytree(finished.out, tmp_path / "run")


def test_everything_is_there(finished):
    out = finished.out
    assert (finished.n_images, finished.n_failed) == (3, 0)
    for name in ("cell0", "cell1", "cell2"):
        labels = read_labels(out / "labels" / f"{name}.tif")
        mmse = tifffile.imread(out / "denoised" / f"{name}.tif")
        assert labels.shape == mmse.shape == (72, 80)
        assert mmse.dtype == np.float32
        assert 80 < mmse.mean() < 180
        for kind in ("std", "foreground", "boundary"):
            assert tifffile.imread(out / "maps" / f"{name}_{kind}.tif").shape == (72, 80)
        assert tifffile.imread(out / "samples" / f"{name}.tif").shape == (2, 72, 80)
        table = pd.read_csv(out / "objects.csv").query("image == @name")
        assert sorted(table["label"]) == sorted(set(labels.ravel()) - {0})
        assert table["existence"].between(0, 1).all()
    images = pd.read_csv(out / "images.csv")
    assert list(images["image"]) == ["cell0", "cell1", "cell2"]
    assert pd.read_csv(out / "failures.csv").empty
    record = json.loads((out / "run.json").read_text())
    assert record["config"]["samples"] == 4
    assert record["training"]["steps"] == 60
    assert len(record["inputs"]) == 3
    assert "<html" in (out / "report.html").read_text()
    assert "trained 60 steps" in (out / "run.log").read_text()


def test_scores_stand_beside_all_baselines(finished):
    inputs = list(finished.summary["input"])
    assert inputs[0] == "noisy"
    assert inputs[1].startswith("best gaussian (sigma=")
    assert inputs[2:] == ["mmse", "single sample", "consensus clustering", "consensus mutex", "consensus majority"]
    scores = pd.read_csv(finished.out / "scores.csv")
    assert set(scores["image"]) == {"cell0", "cell1", "cell2"}
    smooth = scores[scores["input"].str.startswith("gaussian")]
    best = smooth.groupby("input")["map"].mean().max()
    assert finished.summary.set_index("input")["map"].iloc[1] == pytest.approx(best)
    assert "consensus clustering" in finished.text


def test_running_again_skips_finished_images(finished, plate, tmp_path, monkeypatch):
    out = copy_run(finished, tmp_path)

    def refuse(*_args, **_kwargs):
        raise RuntimeError("worked again")

    monkeypatch.setattr(pipeline, "process_image", refuse)
    monkeypatch.setattr(training.Trainer, "run", refuse)
    before = (out / "labels" / "cell1.tif").stat().st_mtime_ns
    again = run_folder(plate[0], out, CONFIG, truth=plate[1])
    assert (again.n_images, again.n_failed) == (3, 0)
    assert (out / "labels" / "cell1.tif").stat().st_mtime_ns == before
    pd.testing.assert_frame_equal(again.summary, finished.summary)


def test_a_lost_result_is_made_again_and_is_the_same(finished, plate, tmp_path):
    out = copy_run(finished, tmp_path)
    expected = read_labels(out / "labels" / "cell1.tif")
    (out / "labels" / "cell1.tif").unlink()
    run_folder(plate[0], out, CONFIG, truth=plate[1])
    assert np.array_equal(read_labels(out / "labels" / "cell1.tif"), expected)


def test_ctrl_c_keeps_what_is_finished(finished, plate, tmp_path, monkeypatch):
    real, calls = pipeline.process_image, []

    def interrupted(image, *args, **kwargs):
        calls.append(image.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(image, *args, **kwargs)

    monkeypatch.setattr(pipeline, "process_image", interrupted)
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run_folder(plate[0], out, CONFIG, model=finished.out / "model")
    assert list(pd.read_csv(out / "images.csv")["image"]) == ["cell0"]
    monkeypatch.setattr(pipeline, "process_image", real)
    result = run_folder(plate[0], out, CONFIG, model=finished.out / "model")
    assert result.n_images == 3
    assert calls == ["cell0", "cell1"]


def test_one_bad_image_does_not_stop_the_rest(finished, plate, tmp_path):
    folder = shutil.copytree(plate[0], tmp_path / "images")
    (folder / "text.tif").write_text("this is no image")
    whole = (folder / "cell0.tif").read_bytes()
    (folder / "cut.tif").write_bytes(whole[: len(whole) // 2])
    bad = np.full((64, 64), 7.0, np.float32)
    tifffile.imwrite(folder / "flat.tif", bad)
    bad[3, 4] = np.nan
    tifffile.imwrite(folder / "nan.tif", bad)
    tifffile.imwrite(folder / "small.tif", np.arange(64, dtype=np.uint8).reshape(8, 8))
    tifffile.imwrite(folder / "rgb.tif", np.zeros((64, 64, 3), np.uint8), photometric="rgb")
    tifffile.imwrite(folder / "deep.tif", np.zeros((2, 5, 64, 64), np.uint8), photometric="minisblack")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    result = run_folder(folder, tmp_path / "out", CONFIG)
    assert result.n_images == 3
    failures = pd.read_csv(tmp_path / "out" / "failures.csv", keep_default_na=False).set_index("image")["error"]
    assert set(failures.index) == {"text", "cut", "flat", "nan", "small", "rgb", "deep"}
    assert "NaN" in failures["nan"]
    assert "smaller than" in failures["small"]
    assert "--channel" in failures["rgb"]
    assert "--axes" in failures["deep"]
    assert not failures.str.contains("\n").any()
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_truth_that_does_not_fit(finished, plate, tmp_path):
    masks = shutil.copytree(plate[1], tmp_path / "masks")
    tifffile.imwrite(masks / "cell0.tif", np.ones((5, 5), np.uint8))
    tifffile.imwrite(masks / "cell1.tif", np.zeros((72, 80), np.float32))
    (masks / "cell2.tif").unlink()
    tifffile.imwrite(masks / "cell2.tif", np.full((72, 80), -3, np.int16))
    result = run_folder(plate[0], tmp_path / "out", CONFIG, truth=masks, model=finished.out / "model")
    failures = pd.read_csv(tmp_path / "out" / "failures.csv")
    assert result.n_failed >= 3
    text = " ".join(failures["error"])
    for word in ("shape", "float32", "negative"):
        assert word in text


@pytest.mark.parametrize("case", ["missing", "empty", "inside", "same", "twins", "file", "foreign", "model"])
def test_wrong_use_stops_before_any_work(case, finished, plate, tmp_path):
    source, out, error, model = plate[0], tmp_path / "out", InputError, None
    match case:
        case "missing":
            source = tmp_path / "nowhere"
        case "empty":
            source = tmp_path / "void"
            source.mkdir()
        case "inside":
            source = shutil.copytree(plate[0], tmp_path / "images")
            out = source / "results"
        case "same":
            source = out = shutil.copytree(plate[0], tmp_path / "images")
        case "twins":
            source = shutil.copytree(plate[0], tmp_path / "images")
            shutil.copy(source / "cell0.tif", source / "cell0.tiff")
        case "file":
            out.write_text("mine")
        case "foreign":
            out.mkdir()
            (out / "thesis.docx").write_text("mine")
            error = OutputError
        case "model":
            model, error = tmp_path / "no_model", ConfigError
    before = sorted(p.name for p in tmp_path.rglob("*"))
    with pytest.raises(error) as caught:
        run_folder(source, out, CONFIG, model=model)
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


def test_damaged_model_folder(finished, plate, tmp_path):
    model = shutil.copytree(finished.out / "model", tmp_path / "model")
    (model / "weights.pt").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"weights\.pt is damaged"):
        run_folder(plate[0], tmp_path / "out", CONFIG, model=model)


def test_a_full_disk_ends_the_run_with_one_line(finished, plate, tmp_path, monkeypatch):
    """The system call that brings a file to the disk fails as it does on a full one."""
    out, calls = tmp_path / "run", []

    def full(fd):
        calls.append(fd)
        if len(calls) > 20:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        run_folder(plate[0], out, CONFIG, model=finished.out / "model")
    monkeypatch.undo()
    assert not list(out.rglob("*.part"))
    assert run_folder(plate[0], out, CONFIG, model=finished.out / "model").n_images == 3


def test_dry_run_writes_nothing(plate, tmp_path):
    result = run_folder(plate[0], tmp_path / "out", CONFIG, dry_run=True)
    assert result.n_images == 3
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"segmenter": "otus"}, "otsu"),
        ({"method": "clusterin"}, "did you mean 'clustering'"),
        ({"compare": ("majorty",)}, "did you mean 'majority'"),
        ({"target": "ap60"}, "unknown target 'ap60'"),
        ({"noise": "white"}, "unknown noise 'white'"),
        ({"device": "tpu9"}, "tpu9"),
    ],
)
def test_wrong_settings_are_told_before_any_work(plate, tmp_path, setting, message):
    with pytest.raises(ConfigError, match=message):
        run_folder(plate[0], tmp_path / "out", CONFIG.model_copy(update=setting))
    assert not (tmp_path / "out").exists()


def test_no_default_folder_for_a_glob(plate, tmp_path):
    with pytest.raises(ConfigError, match="--out"):
        run_folder(str(plate[0] / "*.tif"), None, CONFIG)
    assert not (tmp_path / "out").exists()
