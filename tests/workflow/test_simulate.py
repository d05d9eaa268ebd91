"""Calibration without labels: images that the run's own model simulates."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tifffile
from typer.testing import CliRunner

import divseg
from divseg.cli.commands import app
from divseg.config import RunConfig
from divseg.denoise import noise
from divseg.errors import ConfigError, DivsegWarning, InputError
from divseg.io import Image, check_inputs
from divseg.results import RunStore
from divseg.results.open_run import open_run
from divseg.segment import segmenter
from divseg.workflow.comparison import read_outcomes
from divseg.workflow.finalize import finalize
from divseg.workflow.run import run
from divseg.workflow.sharing import Options
from divseg.workflow.simulate import simulate_run
from divseg.workflow.simulation import draw_noise, part_of, simulated_units, true_objects
from divseg.workflow.units import ImageUnit

SETTINGS = {
    "network": "flat,filters=8,latents=8",
    "train_steps": 150,
    "samples": 4,
    "device": "cpu",
    "segmenter": "otsu,smooth=2,split=distance,min_size=20",
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A run on three images of discs, without labels or calibration."""
    root = tmp_path_factory.mktemp("plain")
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:128, :128]
    (root / "images").mkdir()
    for i in range(3):
        clean = np.full((128, 128), 100.0)
        for cy, cx in np.ndindex(4, 4):
            centre = 16 + 32 * np.array([cy, cx]) + rng.uniform(-5, 5, 2)
            clean[np.hypot(y - centre[0], x - centre[1]) < rng.uniform(6, 10)] += 80
        noisy = np.rint(clean + rng.normal(0, 15, clean.shape)).astype(np.uint8)
        tifffile.imwrite(root / "images" / f"f{i}.tif", noisy, compression="zlib")
    run(root / "images", root / "run", report=False, simulate=0, **SETTINGS)
    return SimpleNamespace(root=root, images=root / "images", out=root / "run")


@pytest.fixture(scope="module")
def simulated(plain):
    result = simulate_run(plain.out, images=4)
    assert (result.n_images, result.n_failed) == (4, 0)
    return result


def test_a_run_is_calibrated_on_images_of_its_own_model(plain, simulated):
    assert simulated.out == plain.out / "simulated"
    made = simulated.open().calibration
    assert (made.source, made.n_images, made.risk) == ("simulated", 4, None)
    assert made.settings["segmenter"] == open_run(plain.out).record["segmenter"]
    assert made.settings["samples"] == 4
    assert f"use it: divseg run ... --calibration {simulated.out}" in simulated.text
    table = simulated.open().images_table
    assert table["image"].tolist() == ["f0_0", "f1_0", "f1_1", "f2_0"]
    assert made.n_objects == table["n_objects"].sum() > 40
    objects = simulated.open().objects
    truths = 1 + len(simulated.open().record["raters"])  # its segmenter, and others
    assert objects.groupby("image")["truth"].nunique().tolist() == [truths] * 4
    assert objects.groupby("truth").size().iloc[0] <= made.n_objects
    assert table["n_true"].between(10, 40).all()
    assert (table["n_right"] <= table["n_objects"]).all()


def test_what_was_simulated_is_not_simulated_again(plain, simulated):
    text = simulate_run(plain.out, images=4, dry_run=True).text
    assert "compare: 4 done, 0 to do\ncalibrate: 1 done, 0 to do" in text
    before = (simulated.out / "calibration.json").stat().st_mtime_ns
    simulate_run(plain.out, images=4)
    assert (simulated.out / "calibration.json").stat().st_mtime_ns == before
    assert "compare: 0 done, 4 to do" in simulate_run(plain.out, images=4, iou=0.7, dry_run=True).text


def test_a_further_run_uses_it(plain, simulated, tmp_path):
    result = run(plain.images, tmp_path / "out", model=plain.out / "model", calibration=str(simulated.out), **SETTINGS)
    objects = result.open().objects
    assert objects["p_true"].between(0, 1).all()
    assert (objects["area_low"] <= objects["area_high"]).all()
    images = result.open().images_table
    assert images[["calibrated_map", "calibrated_seg"]].stack().between(0, 1).all()
    assert (images["calibrated_count"] > 5).all()
    assert result.open().record["calibration"]["source"] == "simulated"
    page = (tmp_path / "out" / "report.html").read_text()
    assert "simulated" in page
    with pytest.raises(InputError, match="simulated images can promise nothing"):
        run(plain.images, tmp_path / "o", model=plain.out / "model", calibration=str(simulated.out), max_false=0.2)


def test_the_same_inside_a_run(plain, simulated, tmp_path):
    out = shutil.copytree(plain.out, tmp_path / "run")
    result = run(plain.images, out, report=False, simulate=4, **SETTINGS)
    inner = open_run(out / "simulated")
    assert inner.calibration == simulated.open().calibration  # the same images, and the same numbers
    objects = result.open().objects
    expected = inner.calibration.apply(objects.drop(columns=["p_true", "area_low", "area_high"]))
    assert objects["p_true"].to_numpy() == pytest.approx(expected["p_true"].to_numpy())
    assert result.open().record["calibration"]["n_images"] == 4
    expected = f"{objects['p_true'].sum():.0f} of {len(objects)} objects, mAP"
    assert f"expected right: {expected}" in result.text
    assert "(calibrated on simulated images)" in result.text
    stages = json.loads((out / "stages.json").read_text())
    assert stages["simulate"]["outcome"]["calibration"]
    again = run(plain.images, out, report=False, simulate=4, dry_run=True, **SETTINGS).text
    assert "simulate: 1 done, 0 to do" in again
    assert "fuse: 3 done, 0 to do" in again
    assert (
        "fuse: 0 done, 3 to do" in run(plain.images, out, report=False, dry_run=True, **SETTINGS | {"simulate": 0}).text
    )
    (out / "simulated" / "calibration.json").write_text("{}")
    run(plain.images, out, report=False, simulate=4, **SETTINGS)
    assert open_run(out / "simulated").calibration == inner.calibration
    assert run(plain.images, out, report=False, simulate=0, **SETTINGS).open().objects.columns.tolist() == [
        name for name in objects if name not in ("p_true", "area_low", "area_high")
    ]


def test_nothing_found_is_no_calibration_and_no_failure(plain, tmp_path, caplog):
    settings = SETTINGS | {"segmenter": "otsu,smooth=2,min_size=5000"}
    with caplog.at_level("INFO", logger="divseg"):
        result = run(plain.images, tmp_path / "out", model=plain.out / "model", report=False, simulate=2, **settings)
    assert (result.n_images, result.n_failed) == (3, 0)
    assert "note: not calibrated: 0 objects in 2 simulated images are too few" in caplog.text
    assert result.open().record["calibration"] is None
    assert "calibrated_map" not in result.open().images_table
    with pytest.raises(InputError, match="0 objects in 2 simulated images are too few"):
        simulate_run(tmp_path / "out", images=2)


def test_parts_with_too_few_objects_are_replaced_by_larger_ones(plain, tmp_path, monkeypatch):
    monkeypatch.setattr("divseg.workflow.simulate.SIDE_IN_RUN", 48)
    result = run(plain.images, tmp_path / "out", model=plain.out / "model", report=False, simulate=2, **SETTINGS)
    inner = open_run(tmp_path / "out" / "simulated")
    assert inner.images_table[["height", "width"]].to_numpy().tolist() == [[128, 128]] * 2
    assert result.open().record["calibration"]["n_objects"] == inner.images_table["n_objects"].sum() >= 20


def test_shards(plain, simulated, tmp_path):
    out = shutil.copytree(plain.out, tmp_path / "run", ignore=shutil.ignore_patterns("simulated"))
    for part in (1, 2):
        simulate_run(out, images=4, options=Options(shard=(part, 2)))
    assert not (out / "simulated" / "calibration.json").exists()
    assert finalize(out / "simulated").open().calibration == simulated.open().calibration


def test_an_image_that_cannot_be_simulated_is_a_row(plain, tmp_path):
    images, out = shutil.copytree(plain.images, tmp_path / "images"), shutil.copytree(plain.out, tmp_path / "run")
    record = json.loads((out / "run.json").read_text())
    record["invocation"]["source"] = str(images)
    (out / "run.json").write_text(json.dumps(record))
    with tifffile.TiffFile(images / "f1.tif") as file:
        place = file.pages[0].dataoffsets[0]
    data = bytearray((images / "f1.tif").read_bytes())
    data[place : place + 32] = bytes(32)
    (images / "f1.tif").write_bytes(data)
    result = simulate_run(out, tmp_path / "out", images=3)
    assert (result.n_images, result.n_failed) == (2, 1)
    assert result.open().failures["image"].tolist() == ["f1_0"]


def test_what_cannot_be_simulated_is_told(plain, tmp_path):
    with pytest.raises(InputError, match="not a run folder"):
        simulate_run(tmp_path)
    RunStore(tmp_path / "fused", "fuse")
    with pytest.raises(InputError, match="results of divseg fuse, which has no model to simulate images with"):
        simulate_run(tmp_path / "fused")
    with pytest.raises(ConfigError, match="images=1: two simulated images or more"):
        simulate_run(plain.out, images=1)
    with pytest.raises(ConfigError, match=r"simulate=1.*one simulated image is too few"):
        RunConfig.make(simulate=1)
    bare = shutil.copytree(plain.out, tmp_path / "bare", ignore=shutil.ignore_patterns("model", "simulated"))
    with pytest.raises(divseg.DivsegError, match="model"):
        simulate_run(bare)
    record = json.loads((bare / "run.json").read_text())
    (bare / "run.json").write_text(json.dumps(record | {"segmenter": "python:os:getcwd"}))
    with pytest.raises(ConfigError, match="--allow-code"):
        simulate_run(bare)
    (bare / "run.json").write_text(json.dumps({k: v for k, v in record.items() if k != "invocation"}))
    with pytest.raises(InputError, match="does not say what was run"):
        simulate_run(bare)


def test_another_segmenter_is_warned_about(plain, simulated, tmp_path):
    settings = SETTINGS | {"calibration": str(simulated.out), "model": plain.out / "model", "dry_run": True}
    run(plain.images, tmp_path / "out", **settings)  # a warning would be an error
    settings["segmenter"] = "li,smooth=2"
    with pytest.warns(DivsegWarning, match=r"was made for segmenter otsu,.* but this run segments by li,") as told:
        run(plain.images, tmp_path / "out", **settings)
    assert len(told) == 1


@pytest.mark.parametrize(
    "words",
    [[], ["--truth", "m", "--simulate"], ["--simulate", "--max-false", "0.1"], ["--truth", "m", "--images", "3"]],
)
def test_options_that_do_not_go_together(words):
    done = CliRunner().invoke(app, ["calibrate", "r", *words])
    assert done.exit_code == 2
    assert done.stderr.startswith("divseg: ")


def test_the_command(plain, simulated):
    done = CliRunner().invoke(app, ["calibrate", "--simulate", str(plain.out), "--images", "4", "-q"])
    assert done.exit_code == 0, done.stderr
    assert "objects in 4 simulated images; on left-out images D-ECE" in done.stdout


# --- one simulated image


def test_raters_draw_the_truth_as_well():
    y, x = np.mgrid[:96, :96]
    clean = np.full((96, 96), 100, np.float32)
    for cy, cx in np.ndindex(3, 3):
        clean[np.hypot(y - 32 * cy - 16, x - 32 * cx - 16) < 9] = 200
    own = segmenter("local,smooth=2,split=distance,min_size=20")
    raters = [segmenter(method).name for method in ("li", "otsu")]
    truths = true_objects([own], clean, raters)
    assert list(truths) == [own.name, *raters]
    assert [labels.max() for labels in truths.values()] == [9, 9, 9]
    assert list(true_objects([segmenter("otsu")], clean, raters)) == raters[::-1]
    several = true_objects([own, segmenter("otsu")], clean, raters)
    assert list(several) == [own.name, raters[1], raters[0]]
    valid = np.ones(clean.shape, bool)
    valid[:, :32] = False
    assert [labels.max() for labels in true_objects([own], clean, raters, valid).values()] == [6, 6, 6]


def test_raters_are_of_each_kind(simulated):
    """At most three thresholdings and three scales of StarDist, none of them the segmenter of the run."""
    record = json.loads((simulated.out / "run.json").read_text())
    raters, own = record["raters"], record["segmenter"]
    assert 1 <= sum(rater.startswith("stardist:nuclei") for rater in raters) <= 3
    assert 1 <= sum(not rater.startswith("stardist:nuclei") for rater in raters) <= 3
    assert own not in raters
    table = pd.concat(pd.read_csv(simulated.out / "objects" / f"{name}.csv") for name in simulated.open().names)
    assert set(table["truth"]) == {own, *raters}


def test_raters_that_see_something_else_are_not_asked(simulated, tmp_path):
    """Over all images together: where they differ in one alone, that is what they are asked for."""
    out = shutil.copytree(simulated.out, tmp_path / "simulated")
    names = simulated.open().names
    truths = 1 + len(json.loads((out / "run.json").read_text())["raters"])
    outcomes, images = [], []
    for first in (99, 0):  # what the first rater has of the objects of the segmenter, of all images but one
        for i, name in enumerate(names):
            file = out / "units" / f"{name}.json"
            record = json.loads(file.read_text())
            _, rater, *others = record["stages"]["compare"]["info"]["truths"].values()
            rater["agreed"] = first if i else 0
            for other in others:
                other["agreed"] = 99
            file.write_text(json.dumps(record))
        found = read_outcomes(RunStore(out, "simulate"), names)
        outcomes.append([o.map for o in found[0]])
        images.append(found[1])
    assert images[0] == [i for i in range(4) for _ in range(truths)]
    assert images[1] == [i for i in range(4) for _ in range(truths - 1)]
    assert outcomes[1] == [value for i, value in enumerate(outcomes[0]) if i % truths != 1]


@pytest.mark.parametrize(("n", "count"), [(1, 4), (3, 4), (5, 4), (40, 6), (4, 4)])
def test_units_are_spread_over_the_images(plain, n, count):
    ref = check_inputs(plain.images).images.refs[0]
    units = simulated_units([ImageUnit(replace(ref, name=f"i{k}")) for k in range(n)], count, 64)
    assert len({unit.name for unit in units}) == count
    per_image = pd.Series([unit.ref.name for unit in units]).value_counts()
    assert per_image.max() - (per_image.min() if len(per_image) == n else 0) <= 1
    if n > count:
        places = [int(unit.ref.name[1:]) for unit in units]
        assert places[0] < n / count
        assert places[-1] >= n - n / count


def test_a_part_of_a_large_image():
    data = np.arange(600 * 700).reshape(600, 700)
    valid = np.zeros(data.shape, bool)
    valid[:60, :300] = True  # most parts hold none of it
    image = Image(data, "YX", "a", valid=valid)
    parts = [part_of(image, 512, np.random.default_rng(seed)) for seed in range(8)]
    assert {part.shape for part in parts} == {(512, 512)}
    assert len({int(part.data[0, 0]) for part in parts}) > 4
    for part in parts:
        assert (part.data[part.valid] % 700 < 300).all()
    small = Image(data[:50, :60], "YX", "b", valid=valid[:50, :60])
    whole = part_of(small, 512, np.random.default_rng(0))
    assert (whole.data == small.data).all()
    assert whole.valid is None
    with pytest.raises(InputError, match="a: none of 20 parts of 512 pixels holds data"):
        part_of(Image(data, "YX", "a", valid=np.zeros(data.shape, bool)), 512, np.random.default_rng(0))


def test_noise_is_what_the_camera_writes():
    model = SimpleNamespace(noise=noise.Gaussian(10.0).with_limits(95.0, 110.0))
    clean = np.full((64, 64), 100, np.float32)
    counts = draw_noise(model, clean, np.zeros((64, 64), np.uint8), 1)
    assert counts.dtype == np.uint8
    assert (counts.min(), counts.max()) == (95, 110)
    assert (draw_noise(model, clean, np.zeros((64, 64), np.uint8), 1) == counts).all()
    assert (draw_noise(model, clean, np.zeros((64, 64), np.uint8), 2) != counts).any()
    assert (draw_noise(model, clean, np.zeros((64, 64), np.float32), 1) == counts).all()  # whole numbers all the same
    grey = draw_noise(model, clean, np.full((64, 64), 0.5, np.float32), 1)
    assert grey.dtype == np.float32
    assert (grey % 1 != 0).any()
    bright = draw_noise(SimpleNamespace(noise=noise.Gaussian(40.0)), clean + 150, np.zeros((64, 64), np.uint8), 1)
    assert bright.max() == 255


def test_a_noise_model_without_a_way_to_draw_is_told():
    class Fixed(noise.NoiseModel):
        pass

    with pytest.raises(InputError, match=r"noise model \(Fixed\) cannot be drawn from"):
        draw_noise(SimpleNamespace(noise=Fixed()), np.zeros((4, 4), np.float32), np.zeros((4, 4)), 0)
