"""Fields without anything in them: nothing is found, and tables without rows stop nothing."""

import numpy as np
import pandas as pd
import pytest
import tifffile

from divseg.consensus.witnesses import LEAST_EXISTENCE, LEAST_SNR
from divseg.io import read_labels
from divseg.workflow.run import run

SETTINGS = {
    "simulate": 0,
    "train_steps": 60,
    "network": "flat,filters=8,latents=8",
    "noise": "gaussian,std=12",
    "samples": 8,
    "device": "cpu",
    "compare": ("majority",),
    "baseline_sigmas": (1.0,),
}


@pytest.fixture(scope="module")
def folder(make_plate, tmp_path_factory):
    """One field with discs, three of noise alone, one of them under light that falls off."""
    images, masks = make_plate(tmp_path_factory.mktemp("fields"), n=1)
    rng = np.random.default_rng(5)
    for name, light in (("empty0", 0.0), ("empty1", 0.0), ("uneven", 20.0)):
        field = 100 + light * np.linspace(-1, 1, 96) ** 2 + rng.normal(0, 12, (96, 96))
        tifffile.imwrite(images / f"{name}.tif", field.astype(np.uint16))
        tifffile.imwrite(masks / f"{name}.tif", np.zeros((96, 96), np.uint16))
    return images, masks


@pytest.fixture(scope="module")
def model(folder, tmp_path_factory):
    """The model of the folder."""
    from divseg import DivNoising, read

    made = {name: SETTINGS[name] for name in ("train_steps", "network", "noise", "device")}
    return DivNoising.fit(read(folder[0]), **made).save(tmp_path_factory.mktemp("model") / "model")


@pytest.mark.parametrize("segmenter", ["otsu,smooth=1", "local,smooth=1", "auto", "stardist:nuclei,threads=1"])
def test_nothing_is_found_in_noise(folder, model, tmp_path, segmenter):
    result = run(folder[0], tmp_path / "run", model=model, segmenter=segmenter, **SETTINGS)
    found = pd.read_csv(result.out / "images.csv").set_index("image")["n_objects"]
    assert found[["empty0", "empty1", "uneven"]].tolist() == [0, 0, 0]
    assert 4 <= found["cell0"] <= 7
    for name in found.index:
        assert len(np.unique(read_labels(result.out / "labels" / f"{name}.tif"))) == found[name] + 1
    objects = pd.read_csv(result.out / "objects.csv")
    assert set(objects["image"]) == {"cell0"}
    assert (objects["existence"] >= LEAST_EXISTENCE).all()
    assert (objects["snr"] >= LEAST_SNR).all()
    assert "nothing found in empty0, empty1, uneven" in result.text
    page = (result.out / "report.html").read_text()
    assert "nothing found in 3 images" in page
    assert page.count("<dd>nothing found</dd>") == 3


def test_what_is_left_out_is_an_alternative(folder, model, tmp_path):
    settings = {**SETTINGS, "model": model, "segmenter": "otsu,smooth=1", "report": False}
    kept = run(folder[0], tmp_path / "all", snr=0, existence=0, **settings)
    assert (pd.read_csv(kept.out / "images.csv")["n_objects"] > 0).all()
    strict = run(folder[0], tmp_path / "default", **settings)
    left = pd.read_csv(strict.out / "alternatives.csv")
    rare = left[left["image"] == "empty0"]
    assert len(rare)
    assert set(rare["kind"]) <= {"unlikely", "faint"}
    assert (rare["existence"][rare["kind"] == "unlikely"] < LEAST_EXISTENCE).any()


def test_a_folder_of_nothing_alone(folder, model, tmp_path):
    images, masks = (tmp_path / name for name in ("images", "masks"))
    for source, target in zip(folder, (images, masks), strict=True):
        target.mkdir()
        for name in ("empty0.tif", "uneven.tif"):
            (target / name).write_bytes((source / name).read_bytes())
    result = run(images, tmp_path / "run", truth=masks, model=model, segmenter="auto", **SETTINGS)
    assert (result.n_images, result.n_failed) == (2, 0)
    opened = result.open()
    assert len(opened.objects) == 0
    assert "nothing found in 2 images" in (result.out / "report.html").read_text()
    assert not opened.labels["empty0"].any()
