"""Calibration of one run, applied in another."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile
from typer.testing import CliRunner

import divseg
from divseg.cli.commands import app
from divseg.config import RunConfig
from divseg.errors import ConfigError, DivsegWarning, InputError, OutputError
from divseg.io import read_labels, write_labels
from divseg.metrics import Calibration
from divseg.metrics.calibration import object_score
from divseg.metrics.calibrator import fit_outcomes, outcome
from divseg.metrics.risk import RiskCurve
from divseg.results import Marker, RunStore
from divseg.results.open_run import open_run
from divseg.workflow.calibrate import calibrate_run
from divseg.workflow.finalize import finalize
from divseg.workflow.progress import LogReporter
from divseg.workflow.run import run
from divseg.workflow.sharing import Options

CONFIG = RunConfig.make(
    train_steps=40,
    simulate=0,
    network="flat,filters=8,latents=8",
    samples=4,
    device="cpu",
    segmenter="otsu,smooth=2,min_size=20",
    baseline_sigmas=(1.0,),
)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """A result folder of twelve images whose objects are right in two of three cases, and its calibration."""
    folder = tmp_path_factory.mktemp("calibrated")
    store = RunStore(folder / "run")
    sections = {
        "fusion": {"method": "clustering"},
        "segmentation": {"segmenter": CONFIG.segmentation.segmenter},
        "sampling": {"samples": 6},
    }
    store.write_run({"config": sections})
    rng = np.random.default_rng(0)
    sites = np.kron(np.arange(1, 26).reshape(5, 5), np.ones((8, 8), int))
    sites[(np.indices(sites.shape) % 8 < 2).any(axis=0)] = 0
    (folder / "masks").mkdir()
    names = [f"field{i}" for i in range(12)]
    for name in names:
        real = rng.random(26) < 2 / 3
        write_labels(folder / "masks" / f"{name}.tif", np.where(real[sites], sites, 0))
        result = divseg.fuse([np.where((rng.random(26) < 0.95)[sites], sites, 0) for _ in range(6)])
        writer = store.writer(Marker(name), "fuse")
        writer.labels(result.labels)
        writer.objects(result.objects)
        writer.row = {f"count_q{q:02}": float(np.quantile(result.counts, q / 100)) for q in (5, 95)}
        writer.row |= {f"expected_{score}": result.expected[score] for score in ("map", "seg")}
        writer.commit("key")
    tables = store.collect(names, ["fuse"])
    store.write_tables({name: tables[name] for name in ("images", "objects")})
    result = calibrate_run(folder / "run", folder / "masks", folder / "calibration")
    assert (result.n_images, result.n_failed) == (12, 0)
    return folder, result.open().calibration


def test_a_run_with_truth_gives_a_calibration(calibrated):
    folder, made = calibrated
    assert made.n_images == 12
    assert made.n_objects > 250
    assert made.settings["segmenter"] == CONFIG.segmentation.segmenter
    assert made.p_true(0.9) == pytest.approx(2 / 3, abs=0.1)
    assert made.check["d_ece_after"] < 0.1 < made.check["d_ece_before"]
    assert Calibration.load(folder / "calibration") == Calibration.load(folder / "calibration" / "calibration.json")


def test_it_is_the_same_as_in_python(calibrated):
    """Objects and counts come back exactly from their tables."""
    folder, made = calibrated
    run = open_run(folder / "run")
    outcomes = []
    for row in run.images_table.to_dict("records"):
        name = row["image"]
        objects = run.objects[run.objects["image"] == name]
        true = read_labels(folder / "masks" / f"{name}.tif")
        outcomes.append(outcome(run.labels[name], objects, true, row))
    expected = fit_outcomes(outcomes, method="clustering", settings=made.settings)
    assert made == expected
    kept = open_run(folder / "calibration")
    assert kept.command == "calibrate"
    assert kept.objects["hit"].sum() == kept.images_table["n_right"].sum() == sum(o.hit.sum() for o in outcomes)
    assert kept.record["calibration"]["n_objects"] == len(kept.objects) == made.n_objects


def test_a_run_applies_it(calibrated, make_plate, tmp_path):
    images, masks = make_plate(tmp_path)
    config = CONFIG.replace(calibration=str(calibrated[0] / "calibration"))
    done = run(images, tmp_path / "out", config=config, truth=masks)
    assert done.n_failed == 0
    objects = pd.read_csv(tmp_path / "out" / "objects.csv")
    assert objects["p_true"].between(0, 1).all()
    held = objects[objects["existence"] >= 0.5]  # what smoothed images alone show, samples may not hold
    assert (held["p_true"] < held["existence"]).mean() > 0.9
    assert (held["area_low"] <= held["area_high"]).all()
    assert objects["area_low"][objects["existence"] == 0].isna().all()
    table = pd.read_csv(tmp_path / "out" / "images.csv")
    assert (table["count_low"] <= table["count_high"]).all()
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["calibration"]["n_images"] == 12
    page = (tmp_path / "out" / "report.html").read_text()
    assert "p_true is calibrated on" in page
    assert "objects expected right" in page


def test_a_promise_about_false_objects(calibrated, make_plate, tmp_path):
    """A third of the objects is false, whatever their score: only the best may be kept."""
    folder, _ = calibrated
    words = ["calibrate", str(folder / "run"), "--truth", str(folder / "masks"), "-q", "--out", str(tmp_path / "c")]
    for asked, least in (("0.05", 19), ("0.01", 99)):
        done = CliRunner().invoke(app, [*words, "--max-false", asked])
        assert done.exit_code == 2
        assert (
            f"12 labelled images cannot promise at most {asked} of false objects: that takes at least {least}"
            in done.stderr
        )
    assert not (tmp_path / "c").exists()
    done = CliRunner().invoke(app, [*words, "--max-false", "0.4"])
    assert done.exit_code == 0, done.stderr
    assert "at most 40.0% of those kept of a new image are expected to be false" in done.stdout
    made = Calibration.load(tmp_path / "c")
    images, masks = make_plate(tmp_path)
    options = {"config": CONFIG, "truth": masks, "calibration": str(tmp_path / "c"), "report": False}
    whole = run(images, tmp_path / "out", **options).open()
    cut = float(np.median(object_score(whole.objects)))
    risk = RiskCurve(12, [-1.0, cut], [0.5, 0.0])
    replace(made, risk=risk).save(tmp_path / "c" / "calibration.json")
    kept = run(images, tmp_path / "out", max_false=0.1, **options).open()
    assert (object_score(kept.objects) > cut).all()
    assert len(kept.objects) == (object_score(whole.objects) > cut).sum() > 0
    assert kept.objects.columns.tolist() == whole.objects.columns.tolist()
    for name in kept.names:
        table = kept.objects[kept.objects["image"] == name]
        assert (
            sorted(set(kept.labels[name].ravel().tolist()) - {0})
            == table["label"].tolist()
            == list(range(1, len(table) + 1))
        )
        before = whole.objects[whole.objects["image"] == name]
        before = before[object_score(before) > cut]
        for column in ("existence", "p_true", "area", "snr"):
            assert table[column].tolist() == before[column].tolist()
    assert kept.scores.query("input == 'consensus clustering'")["n_pred"].sum() == len(kept.objects)
    with pytest.raises(ConfigError, match=r"max_false=0\.1 needs a calibration"):
        run(images, tmp_path / "o", config=CONFIG, max_false=0.1)


def test_another_method_is_warned_about(calibrated, make_plate, tmp_path):
    images, _ = make_plate(tmp_path, n=1)
    path = str(calibrated[0] / "calibration")
    config = CONFIG.replace(calibration=path, method="majority")
    with pytest.warns(DivsegWarning, match="made for method 'clustering'") as told:
        run(images, tmp_path / "out", config=config, dry_run=True)
    assert len(told) == 1


def test_a_missing_file_is_told_before_any_work(make_plate, tmp_path):
    images, _ = make_plate(tmp_path, n=1)
    config = CONFIG.replace(calibration=str(tmp_path / "none.json"))
    with pytest.raises(InputError, match=r"none\.json"):
        run(images, tmp_path / "out", config=config)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("where", ["header", "pixels"])
def test_one_damaged_truth_is_a_row_and_the_rest_is_calibrated(where, calibrated, tmp_path):
    folder, made = calibrated
    masks = shutil.copytree(folder / "masks", tmp_path / "masks")
    damaged = masks / "field3.tif"
    damage(damaged, where)
    out = tmp_path / "out"
    for dry_run in (True, False):
        result = calibrate_run(folder / "run", masks, out, dry_run=dry_run)
        assert (result.n_images, result.n_failed) == (11, 1)
    row = pd.read_csv(out / "failures.csv").iloc[0]
    assert row["image"] == "field3"
    assert str(damaged) in row["file"] + row["error"]
    assert result.open().calibration.n_images == 11
    shutil.copy(folder / "masks" / "field3.tif", damaged)
    again = calibrate_run(folder / "run", masks, out)
    assert again.n_failed == 0
    assert again.open().calibration == made


def test_what_was_compared_is_not_compared_again(calibrated, tmp_path, caplog):
    folder, made = calibrated
    source, out = shutil.copytree(folder / "run", tmp_path / "run"), tmp_path / "out"
    calibrate_run(source, folder / "masks", out)
    (out / "calibration.json").write_text("{}")
    assert (
        "compare: 12 done, 0 to do\ncalibrate: 0 done, 1 to do"
        in calibrate_run(source, folder / "masks", out, dry_run=True).text
    )
    with caplog.at_level("INFO", logger="divseg"):
        assert calibrate_run(source, folder / "masks", out).open().calibration == made
    assert "12 of 12 images were finished before" in caplog.text
    written = (out / "calibration.json").stat().st_mtime_ns
    calibrate_run(source, folder / "masks", out)
    assert (out / "calibration.json").stat().st_mtime_ns == written
    table = pd.read_csv(source / "objects" / "field1.csv")
    table.assign(existence=0.5).to_csv(source / "objects" / "field1.csv", index=False)
    counts = pd.read_csv(source / "images.csv")
    counts.loc[counts["image"] == "field2", "count_q05"] -= 1
    counts.to_csv(source / "images.csv", index=False)
    caplog.clear()
    assert calibrate_run(source, folder / "masks", out).open().calibration != made
    assert "10 of 12 images were finished before" in caplog.text


def test_shards_and_the_default_folder(calibrated, tmp_path):
    folder, made = calibrated
    source = shutil.copytree(folder / "run", tmp_path / "run")
    for part in (1, 2):
        calibrate_run(source, folder / "masks", options=Options(shard=(part, 2)))
    assert not (tmp_path / "run_calibration" / "calibration.json").exists()
    assert finalize(tmp_path / "run_calibration").open().calibration == made


def test_what_cannot_be_calibrated_is_told(calibrated, tmp_path):
    folder, _ = calibrated
    masks = folder / "masks"
    with pytest.raises(InputError, match="not a run folder"):
        calibrate_run(tmp_path, masks, tmp_path / "c")
    with pytest.raises(InputError, match="holds the results of divseg calibrate, which have no existence"):
        calibrate_run(folder / "calibration", masks, tmp_path / "c")
    with pytest.raises(ConfigError, match=r"c\.json: results go to a folder"):
        calibrate_run(folder / "run", masks, tmp_path / "c.json")
    with pytest.raises(InputError, match="lies inside the output folder"):
        calibrate_run(folder / "run", masks, folder / "run")
    RunStore(tmp_path / "other", "segment")
    with pytest.raises(OutputError, match="holds the results of divseg segment"):
        calibrate_run(folder / "run", masks, tmp_path / "other")
    with pytest.raises(InputError, match="threshold 2 is impossible"):
        calibrate_run(folder / "run", masks, tmp_path / "c", iou=2)
    (tmp_path / "masks").mkdir()
    write_labels(tmp_path / "masks" / "field3.tif", np.ones((40, 40), int))
    write_labels(tmp_path / "masks" / "other.tif", np.ones((40, 40), int))
    for dry_run in (False, True):
        with pytest.raises(InputError, match=r"1 image of .*: too few .* without a mask, .*: field0, field1"):
            calibrate_run(folder / "run", tmp_path / "masks", tmp_path / "c", dry_run=dry_run)
    assert not (tmp_path / "c").exists()


def test_too_few_are_left(calibrated, tmp_path):
    folder, _ = calibrated
    masks, out, notes = tmp_path / "masks", tmp_path / "c", Notes()
    masks.mkdir()
    for i in range(5):
        shutil.copy(folder / "masks" / f"field{i}.tif", masks)
    shutil.copy(folder / "masks" / "field5.tif", masks / "other.tif")
    damage(masks / "field3.tif", "pixels")
    with pytest.raises(InputError, match="in 4 images are too few"):
        calibrate_run(folder / "run", masks, out, reporter=notes)
    assert "note: masks without an image: other.tif" in notes.lines
    assert "images without a mask, which get no scores: field5, field6" in "\n".join(notes.lines)
    assert not (out / "calibration.json").exists()
    assert len(pd.read_csv(out / "images.csv")) == 4
    assert pd.read_csv(out / "failures.csv")["image"].tolist() == ["field3"]


def damage(path, where):
    """Overwrite a part of a TIFF with zeros."""
    with tifffile.TiffFile(path) as file:
        place = 8 if where == "header" else file.pages[0].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[place : place + 32] = bytes(32)
    path.write_bytes(data)


class Notes(LogReporter):
    def __init__(self):
        super().__init__()
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def test_the_command(calibrated, tmp_path):
    folder, made = calibrated
    words = ["calibrate", str(folder / "run"), "--truth", str(folder / "masks"), "-q", "--out"]
    done = CliRunner().invoke(app, [*words, str(tmp_path / "c")])
    assert done.exit_code == 0, done.stderr
    assert f"calibrated on {made.n_objects} objects in 12 images; on left-out images D-ECE" in done.stdout
    assert "divseg: --out c.json: results go to a folder" in CliRunner().invoke(app, [*words, "c.json"]).stderr
