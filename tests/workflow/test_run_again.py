"""Runs after a run: only what changed is done again, and it gives what a fresh run gives."""

import json
import shutil
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pandas as pd
import pytest
import tifffile

import divseg
import divseg.io.image as image_module
import divseg.io.pixels as pixels
from divseg.config import RunConfig
from divseg.device import count_gpus
from divseg.errors import ConfigError, OutputError
from divseg.io import read_labels
from divseg.io.tiff import TiffSource
from divseg.results import RunStore
from divseg.workflow import image_stages

CONFIG = RunConfig.make(
    network="flat,filters=8,latents=8",
    train_steps=80,
    simulate=0,
    noise="gaussian,std=12",
    samples=8,
    device="cpu",
    segmenter="otsu,smooth=1,min_size=20",
    baseline_sigmas=(1.0,),
    compare=("majority",),
    keep="denoised,std,foreground,boundary,stacks,samples",
)
run = partial(divseg.run, report=False)
RESULTS = (
    "labels",
    "denoised",
    "maps",
    "samples",
    "objects",
    "measurements",
    "alternatives",
    "stacks",
    "intensities",
)


@pytest.fixture(scope="module")
def plate(make_plate, tmp_path_factory):
    return make_plate(tmp_path_factory.mktemp("plate"))


@pytest.fixture(scope="module")
def finished(plate, tmp_path_factory):
    return divseg.run(plate[0], tmp_path_factory.mktemp("out") / "run", config=CONFIG, truth=plate[1])


@pytest.fixture
def again(finished, plate, tmp_path):
    """Return a function that runs on a copy of the finished run with other settings."""
    out = shutil.copytree(finished.out, tmp_path / "run")

    def again(config=CONFIG, truth=plate[1], images=plate[0], report=False, **options):
        return divseg.run(images, out, config=config, truth=truth, report=report, **options)

    again.out = out
    return again


def stages_done_since(out, before):
    """Return the stages whose record changed, of all images."""
    store = RunStore(out)
    return {
        stage
        for name, earlier in before.items()
        for stage, record in store.read_marker(name).stages.items()
        if earlier.stages.get(stage) != record
    }


def markers(out):
    return {path.stem: RunStore(out).read_marker(path.stem) for path in (out / "units").glob("*.json")}


def same_results(one, other, *kinds):
    for kind in kinds or RESULTS:
        files = sorted(path.name for path in (one / kind).iterdir())
        assert files == sorted(path.name for path in (other / kind).iterdir())
        for file in files:
            assert (one / kind / file).read_bytes() == (other / kind / file).read_bytes(), f"{kind}/{file}"
    tables = [pd.read_csv(out / "images.csv").drop(columns="seconds") for out in (one, other)]
    pd.testing.assert_frame_equal(*tables)


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ({"method": "mutex"}, {"fuse", "measure", "score"}),
        ({"existence": 0.6}, {"fuse", "measure", "score"}),
        ({"compare": ("medoid",)}, {"score"}),
        ({"baseline_sigmas": (2.0,)}, {"baselines"}),
        ({"segmenter": "li,smooth=1,min_size=20"}, {"segment", "fuse", "measure", "baselines", "score"}),
        ({"precision": "bf16"}, {"denoise", "segment", "fuse", "measure", "baselines", "score"}),
        ({"samples": 6}, {"denoise", "segment", "fuse", "measure", "baselines", "score"}),
    ],
)
def test_a_setting_redoes_what_depends_on_it_and_gives_what_a_fresh_run_gives(
    again, finished, plate, tmp_path, change, stages
):
    before = markers(again.out)
    config = CONFIG.replace(**change)
    result = again(config)
    assert result.n_failed == 0
    assert stages_done_since(again.out, before) == stages
    fresh = run(plate[0], tmp_path / "fresh", config=config, truth=plate[1], model=finished.out / "model")
    same_results(again.out, fresh.out)
    assert (again.out / "scores.csv").read_bytes() == (fresh.out / "scores.csv").read_bytes()


def test_the_size_of_tiles_redoes_nothing(again):
    before = markers(again.out)
    again(CONFIG.replace(tile=64))
    assert stages_done_since(again.out, before) == set()


def test_without_truth_there_are_no_scores_and_nothing_is_done_again(again):
    before = markers(again.out)
    result = again(truth=None)
    assert stages_done_since(again.out, before) == set()
    assert result.summary.empty
    assert not (again.out / "scores.csv").exists()


def test_another_truth_costs_the_scores_alone(again, plate, tmp_path):
    masks = shutil.copytree(plate[1], tmp_path / "masks")
    tifffile.imwrite(masks / "cell1.tif", np.roll(tifffile.imread(masks / "cell1.tif"), 3))
    before = markers(again.out)
    again(truth=masks)
    assert stages_done_since(again.out, before) == {"baselines", "score"}


def test_a_damaged_stack_is_made_again_with_a_note(again, finished):
    stack = again.out / "stacks" / "cell1.npz"
    stack.write_bytes(stack.read_bytes()[:-100])
    again(CONFIG.replace(method="mutex"))
    assert (again.out / "run.log").read_text().count("cell1.npz is damaged or of other settings") == 1
    assert stack.read_bytes() == (finished.out / "stacks" / "cell1.npz").read_bytes()


def test_a_stack_of_other_settings_is_not_taken(again):
    shutil.copy(again.out / "stacks" / "cell0.npz", again.out / "stacks" / "cell1.npz")
    again(CONFIG.replace(method="mutex"))
    assert "cell1.npz is damaged or of other settings" in (again.out / "run.log").read_text()


def test_nothing_kept_gives_the_same_labels_and_tables(plate, finished, tmp_path):
    config = CONFIG.replace(keep="none")
    out = tmp_path / "out"
    shared = {"model": finished.out / "model", "truth": plate[1]}
    run(plate[0], out, config=config, **shared)
    assert not any((out / kind).exists() for kind in ("stacks", "denoised", "maps", "samples"))
    same_results(out, finished.out, "labels", "objects", "alternatives")
    run(plate[0], out, config=config.replace(method="mutex", compare="voting"), **shared)
    fresh = run(plate[0], tmp_path / "f", config=CONFIG.replace(method="mutex", compare="voting"), **shared)
    same_results(out, fresh.out, "labels", "objects")
    before = markers(out)
    run(plate[0], out, config=config.replace(method="mutex", compare="medoid"), **shared)
    assert "score" in stages_done_since(out, before)
    assert divseg.open_run(out).failures.empty


def test_what_is_kept_later_is_made_later_and_changes_nothing_else(again, finished):
    kept = ",".join(CONFIG.output.keep)
    again(CONFIG.replace(keep="stacks"))
    assert (again.out / "denoised" / "cell0.tif").is_file()  # nothing is removed
    before = markers(again.out)
    again(CONFIG.replace(keep=kept + "=3"))
    assert stages_done_since(again.out, before) == {"denoise"}
    assert len(divseg.open_run(again.out).samples["cell0"]) == 3
    same_results(again.out, finished.out, "labels", "denoised", "maps", "objects", "stacks")


@pytest.mark.slow
def test_processes_and_shards_give_the_same_bytes(plate, finished, tmp_path):
    model = finished.out / "model"
    parallel = run(plate[0], tmp_path / "two", config=CONFIG, truth=plate[1], model=model, jobs=2)
    same_results(finished.out, parallel.out)
    for part in (2, 1):
        run(plate[0], tmp_path / "parts", config=CONFIG, truth=plate[1], model=model, shard=(part, 2))
    from divseg.workflow.finalize import finalize

    done = finalize(tmp_path / "parts")
    assert (done.n_images, done.n_failed) == (3, 0)
    same_results(finished.out, done.out)
    assert (done.out / "report.html").is_file()


def test_shards_may_be_given_relative_paths(plate, finished, tmp_path, monkeypatch):
    from divseg.workflow.finalize import finalize

    monkeypatch.chdir(plate[0].parent)
    for part in (1, 2):
        run("images", tmp_path / "parts", config=CONFIG, model=finished.out / "model", shard=(part, 2))
    monkeypatch.chdir(tmp_path)
    assert finalize("parts").n_images == 3


def test_an_image_replaced_under_its_name_is_done_again(again, plate, finished, tmp_path):
    images = shutil.copytree(plate[0], tmp_path / "images")
    model = finished.out / "model"
    out = tmp_path / "out"
    run(images, out, config=CONFIG, model=model)
    before = read_labels(out / "labels" / "cell0.tif")
    time.sleep(0.05)
    shutil.copyfile(images / "cell1.tif", images / "cell0.tif")
    marks = markers(out)
    run(images, out, config=CONFIG, model=model)
    assert stages_done_since(out, marks) == {"denoise", "segment", "fuse", "measure"}
    labels = [read_labels(out / "labels" / f"cell{i}.tif") for i in range(2)]
    assert not np.array_equal(labels[0], before)
    assert np.array_equal(*labels)


def test_objects_that_too_few_samples_hold_are_not_kept(again, finished):
    objects = pd.read_csv(finished.out / "objects.csv")
    limit = float(objects["existence"].median()) + 1e-6
    assert (objects["existence"] < limit).any()
    again(CONFIG.replace(existence=min(limit, 1.0)))
    kept = pd.read_csv(again.out / "objects.csv")
    assert len(kept)
    assert (kept["existence"] >= min(limit, 1.0) - 1e-9).all()
    for name, table in kept.groupby("image"):
        assert sorted(table["label"]) == sorted(set(read_labels(again.out / "labels" / f"{name}.tif").ravel()) - {0})


def test_images_unlike_the_training_ones_are_told(finished, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    tifffile.imwrite(images / "strange.tif", (3000 + rng.normal(0, 400, (72, 80))).astype(np.uint16))
    result = run(images, tmp_path / "out", config=CONFIG, model=finished.out / "model")
    text = str(pd.read_csv(result.out / "images.csv")["warnings"][0])
    assert "nats per pixel" in text
    assert text.splitlines()[0] in (result.out / "run.log").read_text()


def test_an_image_is_read_checked_and_hashed_once(plate, finished, tmp_path, monkeypatch):
    counts = {"read": 0, "check": 0, "hash": 0}

    def counted(what, function):
        def call(*args, **kwargs):
            counts[what] += 1
            return function(*args, **kwargs)

        return call

    images = shutil.copytree(plate[0], tmp_path / "images")
    time.sleep(0.05)  # the cache does not trust files that have just been written
    monkeypatch.setattr(TiffSource, "load", counted("read", TiffSource.load))
    monkeypatch.setattr(pixels, "_scan", counted("check", pixels._scan))
    monkeypatch.setattr(image_module, "hash_array", counted("hash", image_module.hash_array))
    run(images, tmp_path / "out", config=CONFIG)
    n_images = 3
    assert counts["read"] <= 3 * n_images
    assert counts["check"] <= counts["read"]
    assert counts["hash"] == n_images


def test_a_dry_run_tells_the_plan_and_writes_nothing(again, plate, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in again.out.rglob("*")}
    text = again(CONFIG.replace(method="mutex"), dry_run=True).text
    assert "segment: 3 done, 0 to do" in text
    assert "fuse: 0 done, 3 to do" in text
    assert "of an earlier run" in text
    assert {path: path.stat().st_mtime_ns for path in again.out.rglob("*")} == before
    images = shutil.copytree(plate[0], tmp_path / "images")
    (images / "text.tif").write_text("not an image")
    tifffile.imwrite(images / "nan.tif", np.full((72, 80), np.nan, np.float32))
    result = run(images, tmp_path / "new", config=CONFIG, dry_run=True)
    assert (result.n_images, result.n_failed) == (3, 2)
    assert "nan.tif" in result.text
    assert "text.tif" in result.text
    assert "denoise: 0 done, 3 to do" in result.text
    assert "measured on the first image" in result.text
    assert not (tmp_path / "new").exists()


def test_a_dry_run_refuses_what_the_run_refuses(again, plate, tmp_path):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.docx").write_text("mine")
    with pytest.raises(OutputError, match="not of a divseg run"):
        run(plate[0], tmp_path / "foreign", config=CONFIG, dry_run=True)
    with pytest.raises(ConfigError, match="unknown stage 'fused'"):
        again(redo=("fused",), dry_run=True)
    with pytest.raises(ConfigError, match="no model folder"):
        run(plate[0], tmp_path / "out", config=CONFIG, model=tmp_path / "none", dry_run=True)


def test_samples_that_do_not_fit_are_drawn_twice_with_the_same_result(plate, finished, tmp_path, monkeypatch):
    from divseg.workflow import samples

    monkeypatch.setattr(samples, "SAMPLE_MEMORY", 0)
    drawn = run(plate[0], tmp_path / "out", config=CONFIG, truth=plate[1], model=finished.out / "model")
    same_results(finished.out, drawn.out)


def test_the_report_is_written_again_only_for_other_results(again):
    page = again.out / "report.html"
    before = page.stat().st_mtime_ns
    again(report=True)
    assert page.stat().st_mtime_ns == before
    again(redo=("report",), report=True)
    assert page.stat().st_mtime_ns > before


def test_run_json_tells_what_was_done(finished):
    record = json.loads((finished.out / "run.json").read_text())
    assert (record["command"], record["format"], record["interrupted"]) == ("run", 2, False)
    assert record["config"]["fusion"]["method"] == "clustering"
    assert record["segmenter"] == "otsu,smooth=1,min_size=20"
    assert record["training"]["steps"] == 80
    assert len({row["fingerprint"] for row in record["inputs"]}) == 3
    assert finished.open().objects["image"].nunique() == 3


def test_views_hold_samples_and_the_mmse(finished):
    info = RunStore(finished.out).read_marker("cell0").stages["segment"].info
    assert list(info["views"])[:3] == ["samples", "means", "mmse"]
    assert sum(info["weights"][:8]) == pytest.approx(image_stages.SAMPLES_FRACTION)


def test_another_method_needs_neither_torch_nor_the_model(plate, tmp_path):
    model, out = tmp_path / "model", tmp_path / "run"
    divseg.run(plate[0], tmp_path / "trained", config=CONFIG, report=False)
    shutil.copytree(tmp_path / "trained" / "model", model)
    words = ["run", plate[0], "--out", out, "--model", model, "--samples", 8, "--segmenter", "otsu,smooth=1", "-q"]
    words += ["--simulate", 0]  # a method is calibrated anew, on samples that the model draws
    divseg_main(words)
    assert "torch" not in divseg_main([*words, "--method", "mutex"])
    assert json.loads((out / "run.json").read_text())["device"] == ("cuda" if count_gpus() else "cpu")


def divseg_main(words):
    """Run a command in a process of its own; return the names of the modules that it imported."""
    code = """
import sys, divseg.cli
try:
    divseg.cli.main()
except SystemExit as end:
    assert not end.code, end.code
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=True)
    return done.stdout.split()
