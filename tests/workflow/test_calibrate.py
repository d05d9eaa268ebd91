"""Calibration of one run, applied in another."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest

import divseg
from divseg.config import RunConfig
from divseg.errors import DivsegWarning, InputError
from divseg.io import write_labels
from divseg.metrics import Calibration
from divseg.results import Marker, RunStore
from divseg.workflow.calibrate import calibrate_run
from divseg.workflow.run import run

CONFIG = RunConfig.make(
    train_steps=40,
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
    sections = {"fusion": {"method": "clustering"}, "segmentation": {"segmenter": "otsu"}, "sampling": {"samples": 6}}
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
        writer.commit("key")
    tables = store.collect(names, ["fuse"])
    store.write_tables({name: tables[name] for name in ("images", "objects")})
    return folder, calibrate_run(folder / "run", folder / "masks", folder / "calibration.json")


def test_a_run_with_truth_gives_a_calibration(calibrated):
    folder, made = calibrated
    assert made.n_images == 12
    assert made.n_objects > 250
    assert made.settings["segmenter"] == "otsu"
    assert made.confidence(0.9) == pytest.approx(2 / 3, abs=0.1)
    assert made.check["d_ece_after"] < 0.1 < made.check["d_ece_before"]
    assert Calibration.load(folder / "calibration.json") == made


def test_a_run_applies_it(calibrated, make_plate, tmp_path):
    images, masks = make_plate(tmp_path)
    config = CONFIG.replace(calibration=str(calibrated[0] / "calibration.json"))
    done = run(images, tmp_path / "out", config=config, truth=masks)
    assert done.n_failed == 0
    objects = pd.read_csv(tmp_path / "out" / "objects.csv")
    assert objects["confidence"].between(0, 1).all()
    held = objects[objects["existence"] >= 0.5]  # what smoothed images alone show, samples may not hold
    assert (held["confidence"] < held["existence"]).mean() > 0.9
    assert (held["area_low"] <= held["area_high"]).all()
    assert objects["area_low"][objects["existence"] == 0].isna().all()
    table = pd.read_csv(tmp_path / "out" / "images.csv")
    assert (table["count_low"] <= table["count_high"]).all()
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["calibration"]["n_images"] == 12
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Confidence is calibrated on" in page
    assert "objects expected right" in page


def test_another_method_is_warned_about(calibrated, make_plate, tmp_path):
    images, _ = make_plate(tmp_path, n=1)
    path = str(calibrated[0] / "calibration.json")
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


def test_what_cannot_be_calibrated_is_told(calibrated, tmp_path):
    folder, _ = calibrated
    with pytest.raises(InputError, match=r"no run|not a"):
        calibrate_run(tmp_path, folder / "masks", tmp_path / "c.json")
    (tmp_path / "masks").mkdir()
    write_labels(tmp_path / "masks" / "field3.tif", np.ones((40, 40), int))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DivsegWarning)
        with pytest.raises(InputError, match="in 1 images are too few"):
            calibrate_run(folder / "run", tmp_path / "masks", tmp_path / "c.json")
    assert not (tmp_path / "c.json").exists()
