"""Padding, NaN, hot pixels and dust on the way from files to results."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tifffile

from divseg.denoise import DivNoising
from divseg.io import read
from divseg.metrics import evaluate
from divseg.workflow.denoise import DenoiseSettings, denoise_folder
from divseg.workflow.run import run
from divseg.workflow.segment import segment_folder

SIDE = 128
SETTINGS = {
    "network": "flat,filters=8,latents=8",
    "noise": "gaussian,std=20",
    "train_steps": 150,
    "samples": 4,
    "simulate": 0,
}
SEGMENTER = "otsu,smooth=2,min_size=20"


def cells(seed=0):
    """Return a noisy picture of discs, and their labels."""
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[:SIDE, :SIDE]
    labels = np.zeros((SIDE, SIDE), np.uint16)
    places = [(cy, cx) for cy in (22, 64, 106) for cx in (22, 64, 106)]
    for k, (cy, cx) in enumerate(places, start=1):
        labels[np.hypot(y - cy, x - cx) < 11] = k
    return np.clip(np.rint(rng.normal(np.where(labels, 220, 100), 20)), 1, 65535).astype(np.uint16), labels


def left_and_bottom():
    valid = np.ones((SIDE, SIDE), bool)
    valid[:, :20] = valid[-15:] = False
    return valid


def round_field():
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return np.hypot(y, x) <= SIDE / 2


def few_columns():
    valid = np.ones((SIDE, SIDE), bool)
    valid[:, -4:] = False
    return valid


CASES = {
    "left and bottom": (left_and_bottom(), 0),
    "round at the maximum": (round_field(), 65535),
    "few columns": (few_columns(), 0),
    "not a number": (left_and_bottom(), np.nan),
}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Run on an image of each case and one without, of one folder; return the run and what is data."""
    folder = tmp_path_factory.mktemp("invalid")
    (folder / "img").mkdir()
    (folder / "gt").mkdir()
    valid = {}
    for k, (name, (mask, value)) in enumerate([*CASES.items(), ("whole", (np.ones((SIDE, SIDE), bool), 0))]):
        image, labels = cells(k)
        image = image.astype(np.float32) if np.isnan(value) else image
        stem = name.replace(" ", "_")
        valid[stem] = mask
        tifffile.imwrite(folder / "img" / f"{stem}.tif", np.where(mask, image, np.array(value, image.dtype)))
        tifffile.imwrite(folder / "gt" / f"{stem}.tif", labels)
    result = run(folder / "img", folder / "run", truth=folder / "gt", segmenter=SEGMENTER, **SETTINGS)
    return result.open(), valid, folder


@pytest.mark.parametrize("name", [name.replace(" ", "_") for name in CASES])
class TestRun:
    def test_objects_are_found_in_the_data_alone(self, done, name):
        opened, valid, _ = done
        labels, mask = np.asarray(opened.labels[name]), valid[name]
        assert not labels[~mask].any()
        assert evaluate(labels, np.where(mask, cells()[1], 0)).ap50 > 0.85

    def test_scores_are_of_the_data_alone(self, done, name):
        opened, _, _ = done
        scores = opened.scores
        row = scores[(scores["image"] == name) & (scores["input"] == "consensus clustering")].iloc[0]
        assert row["ap50"] > 0.85

    def test_the_fraction_is_in_the_table_and_named(self, done, name):
        opened, valid, _ = done
        row = opened.images_table.set_index("image").loc[name]
        assert row["invalid"] == pytest.approx(1 - valid[name].mean())
        assert "no data" in " ".join(opened.warnings[name])

    def test_results_are_blank_there(self, done, name):
        opened, valid, _ = done
        mmse = opened.denoised[name]
        assert np.unique(mmse[~valid[name]]).tolist() == [mmse[valid[name]].min()]
        assert np.isfinite(opened.images[name]).all()


def test_an_image_without_such_pixels_is_as_it_was(done):
    opened, _, folder = done
    assert pd.isna(opened.images_table.set_index("image").loc["whole", "invalid"])
    assert "whole" not in opened.warnings or "no data" not in " ".join(opened.warnings["whole"])
    raw, auto = (read(folder / "img" / "whole.tif", invalid=how)[0] for how in ("none", "auto"))
    assert raw.fingerprint == auto.fingerprint
    assert auto.valid is None


def test_the_model_is_trained_on_data_alone(done):
    opened, _, _ = done
    assert opened.model.normalization.mean[0] == pytest.approx(125, abs=12)
    assert opened.model.normalization.std[0] < 70


def test_segmenting_again_from_files_gives_the_same(done):
    opened, valid, folder = done
    before = {name: np.asarray(opened.labels[name]) for name in valid}
    again = run(
        folder / "img", folder / "run", truth=folder / "gt", segmenter=SEGMENTER, redo=["segment"], **SETTINGS
    ).open()
    for name, labels in before.items():
        np.testing.assert_array_equal(again.labels[name], labels)


@pytest.mark.parametrize("command", ["denoise", "segment"])
def test_other_commands(done, command, tmp_path):
    opened, valid, folder = done
    if command == "denoise":
        result = denoise_folder(folder / "img", opened.layout.model, tmp_path / "out", DenoiseSettings(samples=2))
    else:
        result = segment_folder(folder / "img", tmp_path / "out", SEGMENTER)
    assert (result.n_images, result.n_failed) == (5, 0)
    table = pd.read_csv(tmp_path / "out" / "images.csv").set_index("image")
    assert table.loc["not_a_number", "invalid"] == pytest.approx(1 - valid["not_a_number"].mean())


def test_none_takes_every_pixel(tmp_path):
    mask, _ = CASES["left and bottom"]
    tifffile.imwrite(tmp_path / "a.tif", np.where(mask, cells()[0], 0).astype(np.uint16))
    segment_folder(tmp_path / "a.tif", tmp_path / "out", SEGMENTER, invalid="none")
    assert "invalid" not in pd.read_csv(tmp_path / "out" / "images.csv")


@pytest.mark.parametrize("kind", ["hot", "dust"])
def test_hot_pixels_and_dust_spoil_neither_their_image_nor_the_others(tmp_path, kind):
    (tmp_path / "img").mkdir()
    for k in range(3):
        image, _ = cells(k)
        if k and kind == "hot":
            image.reshape(-1)[np.random.default_rng(k).choice(image.size, 60, replace=False)] = 60000
        elif k:
            image[40:44, 40:48] = 30000
        tifffile.imwrite(tmp_path / "img" / f"i{k}.tif", image)
    opened = run(tmp_path / "img", tmp_path / "run", segmenter=SEGMENTER, **{**SETTINGS, "train_steps": 400}).open()
    assert isinstance(opened.model, DivNoising)
    assert opened.model.normalization.std[0] < 80
    outliers = opened.images_table.set_index("image")["outliers"]
    assert pd.isna(outliers["i0"])
    assert (outliers[["i1", "i2"]] >= (55 if kind == "hot" else 32)).all()
    assert all("far from their neighbours" in " ".join(opened.warnings[name]) for name in ("i1", "i2"))
    for name in ("i0", "i1", "i2") if kind == "hot" else ("i0",):  # the grain itself is the brightest object
        assert evaluate(np.asarray(opened.labels[name]), cells()[1]).ap50 > 0.8
