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
from divseg.config import RunConfig
from divseg.errors import ConfigError, InputError, ModelError, OutputError
from divseg.io import read_labels
from divseg.results.open_run import open_run
from divseg.workflow import image_stages
from divseg.workflow.run import run

CONFIG = RunConfig.make(
    train_steps=60,
    simulate=0,
    network="flat,filters=8,latents=8",
    noise="gaussian,std=12",
    samples=4,
    device="cpu",
    segmenter="otsu,smooth=2,min_size=20",
)


@pytest.fixture(scope="module")
def plate(make_plate, tmp_path_factory):
    return make_plate(tmp_path_factory.mktemp("plate"))


@pytest.fixture(scope="module")
def finished(plate, tmp_path_factory):
    """A run of three images with truth."""
    out = tmp_path_factory.mktemp("out") / "run"
    return run(plate[0], out, config=CONFIG, truth=plate[1])


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
        table = pd.read_csv(out / "objects.csv").query("image == @name")
        assert sorted(table["label"]) == sorted(set(labels.ravel()) - {0})
        assert table["existence"].between(0, 1).all()
    assert not (out / "samples").exists()  # --keep samples
    for name in ("objects", "measurements", "review"):
        assert len(pd.read_csv(out / f"{name}.csv")) == len(pd.read_csv(out / "objects.csv")) > 0
    images = pd.read_csv(out / "images.csv")
    assert list(images["image"]) == ["cell0", "cell1", "cell2"]
    assert pd.read_csv(out / "failures.csv").empty
    record = json.loads((out / "run.json").read_text())
    assert record["config"]["sampling"]["samples"] == 4
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

    for name in ("denoise", "segment_samples", "fuse_samples", "score_baselines", "score_consensus"):
        monkeypatch.setattr(image_stages, name, refuse)
    monkeypatch.setattr(training.Trainer, "run", refuse)
    before = (out / "labels" / "cell1.tif").stat().st_mtime_ns
    again = run(plate[0], out, config=CONFIG, truth=plate[1])
    assert (again.n_images, again.n_failed) == (3, 0)
    assert (out / "labels" / "cell1.tif").stat().st_mtime_ns == before
    pd.testing.assert_frame_equal(again.summary, finished.summary)


def test_a_lost_result_is_made_again_and_is_the_same(finished, plate, tmp_path):
    out = copy_run(finished, tmp_path)
    expected = read_labels(out / "labels" / "cell1.tif")
    (out / "labels" / "cell1.tif").unlink()
    run(plate[0], out, config=CONFIG, truth=plate[1])
    assert np.array_equal(read_labels(out / "labels" / "cell1.tif"), expected)


def test_ctrl_c_keeps_what_is_finished(finished, plate, tmp_path, monkeypatch):
    real, calls = image_stages.segment_samples, []

    def interrupted(context):
        calls.append(context.unit.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(context)

    monkeypatch.setattr(image_stages, "segment_samples", interrupted)
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(plate[0], out, config=CONFIG, model=finished.out / "model")
    assert list(pd.read_csv(out / "images.csv")["image"]) == ["cell0"]
    assert json.loads((out / "run.json").read_text())["interrupted"]
    assert "interrupted: writing the tables" in (out / "run.log").read_text()
    assert (out / "units" / "cell1.json").is_file(), "it was denoised"
    denoised = (out / "denoised" / "cell1.tif").stat().st_mtime_ns
    monkeypatch.setattr(image_stages, "segment_samples", real)
    result = run(plate[0], out, config=CONFIG, model=finished.out / "model")
    assert result.n_images == 3
    assert calls == ["cell0", "cell1"]
    assert (out / "denoised" / "cell1.tif").stat().st_mtime_ns == denoised
    assert not json.loads((out / "run.json").read_text())["interrupted"]


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
    tifffile.imwrite(folder / "rgb.tif", np.arange(12288, dtype=np.uint8).reshape(64, 64, 3), photometric="rgb")
    tifffile.imwrite(folder / "deep.tif", np.zeros((2, 5, 64, 64), np.uint8), photometric="minisblack")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    result = run(folder, tmp_path / "out", config=CONFIG)
    assert result.n_images == 3
    failures = pd.read_csv(tmp_path / "out" / "failures.csv", keep_default_na=False).set_index("image")["error"]
    assert set(failures.index) == {"text", "cut", "flat", "nan", "small", "rgb", "deep"}
    assert "nothing to see" in failures["nan"]  # what is NaN is no data, and the rest is one value
    assert "smaller than" in failures["small"]
    assert "--channel" in failures["rgb"]
    assert "--axes" in failures["deep"]
    assert not failures.str.contains("\n").any()
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_truth_that_does_not_fit(finished, plate, tmp_path):
    masks = shutil.copytree(plate[1], tmp_path / "masks")
    tifffile.imwrite(masks / "cell0.tif", np.ones((5, 5), np.uint8))
    tifffile.imwrite(masks / "cell1.tif", np.full((72, 80), 0.5, np.float32))
    (masks / "cell2.tif").unlink()
    tifffile.imwrite(masks / "cell2.tif", np.full((72, 80), -3, np.int16))
    out = copy_run(finished, tmp_path)
    result = run(plate[0], out, config=CONFIG, truth=masks)
    failures = pd.read_csv(out / "failures.csv").set_index("image")
    assert failures["stage"].to_dict() == {"cell0": "check", "cell1": "read", "cell2": "read"}
    for name, word in {"cell0": "shape", "cell1": "whole numbers", "cell2": "negative"}.items():
        assert word in failures["error"][name]
    assert (result.n_images, result.n_failed) == (1, 3), "those whose mask is left out have results without scores"
    assert "1 of 3 images done" in result.text
    assert list(pd.read_csv(out / "images.csv")["image"]) == ["cell0"]
    assert result.summary.empty
    assert (out / "labels" / "cell2.tif").is_file(), "the mask says nothing of the image"
    again = run(plate[0], out, config=CONFIG, truth=plate[1])
    assert (again.n_images, again.n_failed) == (3, 0)
    pd.testing.assert_frame_equal(again.summary, finished.summary)


CASES = (
    "missing",
    "empty",
    "inside",
    "same",
    "duplicates",
    "file",
    "foreign",
    "model",
    "damaged",
    "redo",
    "shard",
    "jobs",
)


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_wrong_use_stops_before_anything_is_written(case, dry_run, finished, plate, tmp_path):
    source, out, error, options = plate[0], tmp_path / "out", InputError, {}
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
        case "duplicates":
            source = shutil.copytree(plate[0], tmp_path / "images")
            shutil.copy(source / "cell0.tif", source / "cell0.tiff")
        case "file":
            out.write_text("mine")
        case "foreign":
            out.mkdir()
            (out / "thesis.docx").write_text("mine")
            error = OutputError
        case "model":
            options, error = {"model": tmp_path / "no_model"}, ConfigError
        case "damaged":
            options, error = {"model": shutil.copytree(finished.out / "model", tmp_path / "model")}, ModelError
            (tmp_path / "model" / "weights.pt").write_bytes(b"nothing")
        case "redo":
            options, error = {"redo": ["fuze"]}, ConfigError
        case "shard":
            options, error = {"shard": (4, 3)}, ConfigError
        case "jobs":
            options, error = {"jobs": 0}, ConfigError
    before = sorted(p.name for p in tmp_path.rglob("*"))
    with pytest.raises(error) as caught:
        run(source, out, config=CONFIG, dry_run=dry_run, **options)
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


def test_a_damaged_model_in_the_run_folder_is_made_again(finished, plate, tmp_path):
    out = copy_run(finished, tmp_path)
    weights = out / "model" / "weights.pt"
    weights.write_bytes(weights.read_bytes()[:-10])
    assert run(plate[0], out, config=CONFIG).n_failed == 0
    assert open_run(out).model.training["steps"] == 60


def test_a_full_disk_ends_the_run_with_one_line(finished, plate, tmp_path, monkeypatch):
    """The system call that brings a file to the disk fails as it does on a full one."""
    out, calls = tmp_path / "run", []

    def full(fd):
        calls.append(fd)
        if len(calls) > 20:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        run(plate[0], out, config=CONFIG, model=finished.out / "model")
    monkeypatch.undo()
    assert len(calls) > 20
    assert not list(out.rglob("*.part"))
    assert run(plate[0], out, config=CONFIG, model=finished.out / "model").n_images == 3
    assert sorted(path.name for path in (out / "units").iterdir()) == [f"cell{i}.json" for i in range(3)]


def test_what_a_killed_run_left_is_removed(finished, plate, tmp_path):
    out = copy_run(finished, tmp_path)
    for stage in ("fuse", "score"):
        (out / "units" / f".cell1.{stage}").mkdir()
        (out / "units" / f".cell1.{stage}" / ".labels_cell1.tif.7.part").write_text("half")
    run(plate[0], out, config=CONFIG.replace(method="majority"), truth=plate[1])
    assert sorted(path.name for path in (out / "units").iterdir()) == [f"cell{i}.json" for i in range(3)]


def test_a_damaged_marker_costs_its_image_alone(finished, plate, tmp_path):
    out = copy_run(finished, tmp_path)
    marker = out / "units" / "cell1.json"
    marker.write_text(marker.read_text()[:200])
    times = {path.name: path.stat().st_mtime_ns for path in (out / "labels").iterdir()}
    assert run(plate[0], out, config=CONFIG, truth=plate[1]).n_images == 3
    changed = {path.name for path in (out / "labels").iterdir() if path.stat().st_mtime_ns != times[path.name]}
    assert changed == {"cell1.tif"}
    assert (out / "labels" / "cell1.tif").read_bytes() == (finished.out / "labels" / "cell1.tif").read_bytes()


def test_names_that_look_like_numbers_or_missing_values(finished, plate, tmp_path):
    folder, names = tmp_path / "images", ["007", "NA", "1e3"]
    folder.mkdir()
    for i, name in enumerate(names):
        shutil.copy(plate[0] / f"cell{i}.tif", folder / f"{name}.tif")
    for _ in range(2):  # what is recalled from the folder is named like what was made
        result = run(folder, tmp_path / "out", config=CONFIG, model=finished.out / "model")
        assert (result.n_images, result.n_failed) == (3, 0)
        folder_of_run = open_run(result.out)
        assert sorted(folder_of_run.names) == sorted(names)
        assert set(folder_of_run.objects["image"]) == set(names)
    assert "007" in (result.out / "report.html").read_text()


def test_a_run_of_which_everything_fails_keeps_no_table_of_earlier_results(finished, plate, tmp_path):
    folder, out = shutil.copytree(plate[0], tmp_path / "images"), copy_run(finished, tmp_path)
    for path in folder.iterdir():
        tifffile.imwrite(path, np.full((72, 80), np.nan, np.float32))
    result = run(folder, out, config=CONFIG, model=finished.out / "model")
    assert (result.n_images, result.n_failed) == (0, 3)
    assert not list((out / "labels").iterdir())
    assert {path.name for path in out.glob("*.csv")} == {"images.csv", "failures.csv"}
    assert "0 of 3 images done, 0 objects" in result.text
    assert (out / "report.html").is_file()


def test_shards_part_the_images_alike_if_some_cannot_be_used(plate, tmp_path):
    """The process that trains finds out which images are unusable, the other ones do not."""
    folder, out = shutil.copytree(plate[0], tmp_path / "images"), tmp_path / "out"
    tifffile.imwrite(folder / "a_small.tif", np.arange(64, dtype=np.uint8).reshape(8, 8))
    for part in (1, 2):
        run(folder, out, config=CONFIG, shard=(part, 2))
    result = run(folder, out, config=CONFIG, finalize=True)
    assert (result.n_images, result.n_failed) == (3, 1)
    failures = pd.read_csv(out / "failures.csv")
    assert failures["image"].tolist() == ["a_small"]
    assert "smaller than" in failures["error"][0]


def test_finalize_before_any_shard(plate, tmp_path):
    with pytest.raises(InputError, match="stage model is not done yet"):
        run(plate[0], tmp_path / "out", config=CONFIG, finalize=True)


def test_a_dry_run_tells_what_will_be_left_out(finished, plate, tmp_path):
    folder = shutil.copytree(plate[0], tmp_path / "images")
    tifffile.imwrite(folder / "a_small.tif", np.arange(64, dtype=np.uint8).reshape(8, 8))
    (folder / "text.tif").write_text("not an image")
    for options in ({}, {"model": finished.out / "model"}):
        result = run(folder, tmp_path / "out", config=CONFIG, dry_run=True, **options)
        assert (result.out, result.n_images, result.n_failed) == (None, 3, 2)
        left_out = [line for line in result.text.splitlines() if line.startswith("left out: ")]
        assert [name in line for name, line in zip(("text.tif", "smaller than"), left_out, strict=True)] == [True, True]
        assert "measured on the first image" in result.text
        assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="dry run has no results"):
        result.open()


def test_a_dry_run_of_another_truth_plans_the_scores_alone(finished, plate, tmp_path):
    out, masks = copy_run(finished, tmp_path), shutil.copytree(plate[1], tmp_path / "masks")
    text = run(plate[0], out, config=CONFIG, truth=masks, dry_run=True).text
    for stage in ("denoise", "segment", "fuse"):
        assert f"{stage}: 3 done, 0 to do" in text
    assert "score: 0 done, 3 to do" in text
    assert "score: 3 done" in run(plate[0], out, config=CONFIG, truth=plate[1], dry_run=True, redo=["report"]).text


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"segmenter": "otus"}, "otsu"),
        ({"method": "clusterin"}, "did you mean 'clustering'"),
        ({"compare": ("majorty",)}, "did you mean 'majority'"),
        ({"objective": "ap60"}, "unknown objective 'ap60'"),
        ({"network": "flt"}, "did you mean 'flat'"),
        ({"noise": "white"}, "unknown noise 'white'"),
        ({"device": "tpu9"}, "tpu9"),
    ],
)
def test_wrong_settings_are_told_before_any_work(plate, tmp_path, setting, message):
    with pytest.raises(ConfigError, match=message):
        run(plate[0], tmp_path / "out", config=CONFIG.replace(**setting))
    assert not (tmp_path / "out").exists()


def test_no_default_folder_for_a_glob(plate, tmp_path):
    with pytest.raises(ConfigError, match="--out"):
        run(str(plate[0] / "*.tif"), None, config=CONFIG)
    assert not (tmp_path / "out").exists()
