import json
import shutil

import numpy as np
import pandas as pd
import pytest
import tifffile

import divseg
from divseg.denoise import FlatConfig, TrainSettings
from divseg.errors import ConfigError, ModelError, OutputError
from divseg.io import read
from divseg.workflow.denoise import DenoiseSettings, denoise_folder, sample_numbers
from divseg.workflow.sharing import Options


@pytest.fixture(scope="module")
def plate(make_plate, tmp_path_factory):
    images, _ = make_plate(tmp_path_factory.mktemp("plate"), n=2)
    return images


@pytest.fixture(scope="module")
def folder(plate, tmp_path_factory):
    settings = TrainSettings(patch=32, report_every=5, validate_every=10)
    model = divseg.DivNoising.fit(
        read(plate), train_steps=30, network=FlatConfig(filters=4, latents=4), settings=settings, device="cpu"
    )
    return model.save(tmp_path_factory.mktemp("model") / "m")


def test_what_is_asked_for_is_what_the_model_gives(plate, folder, tmp_path):
    how = DenoiseSettings(samples=6, keep_samples=(4, 1), interval=0.8, mode=True, seed=3)
    result = denoise_folder(plate, folder, tmp_path / "out", how, device="cpu", tile=32)
    assert (result.n_images, result.n_failed) == (2, 0)
    assert "2 of 2 images denoised, the mean of 6 samples each" in result.text
    model, images = divseg.DivNoising.load(folder, device="cpu"), read(plate)
    found = model.estimate(images[0], n=6, seed=3, quantiles=(0.1, 0.9), mode=True)
    out = {kind: tifffile.imread(result.out / "maps" / f"cell0_{kind}.tif") for kind in ("std", "low", "high", "mode")}
    for kind, expected in (("std", found.std), ("low", found.quantiles[0]), ("high", found.quantiles[1])):
        np.testing.assert_allclose(out[kind], expected, atol=1e-2)
    assert np.abs(out["mode"] - found.mode).max() < 1
    np.testing.assert_allclose(tifffile.imread(result.out / "denoised" / "cell0.tif"), found.mean, atol=1e-2)
    kept = tifffile.imread(result.out / "samples" / "cell0.tif")
    np.testing.assert_allclose(kept, model.draw(images[0], [4, 1], seed=3), atol=1e-2)
    table = pd.read_csv(result.out / "images.csv")
    assert table["image"].tolist() == ["cell0", "cell1"]
    assert (table["n_samples"] == 6).all()
    assert table["std_mean"].iloc[0] == pytest.approx(found.std.mean(), rel=1e-3)
    record = json.loads((result.out / "run.json").read_text())
    assert record["command"] == "denoise"
    assert record["config"]["keep_samples"] == [4, 1]


def test_the_arithmetic_is_what_is_asked_for(plate, folder, tmp_path):
    model, image = divseg.DivNoising.load(folder, device="cpu"), read(plate)[0]
    expected = {word: model.mmse(image, n=2, precision=word) for word in ("exact", "bf16")}
    assert np.abs(expected["exact"] - expected["bf16"]).mean() > 1e-3
    for word in ("bf16", "exact"):  # another arithmetic is another result: the images are denoised again
        how = DenoiseSettings(samples=2, precision=word)
        result = denoise_folder(plate, folder, tmp_path / "out", how, device="cpu")
        found = tifffile.imread(result.out / "denoised" / "cell0.tif")
        np.testing.assert_allclose(found, expected[word], rtol=1e-6)


def test_finished_images_are_skipped_and_bad_ones_stop_nothing(plate, folder, tmp_path):
    images = shutil.copytree(plate, tmp_path / "images")
    tifffile.imwrite(images / "holes.tif", np.full((72, 80), np.nan, np.float32))
    (images / "broken.tif").write_bytes(b"II*\0 no image")
    how = DenoiseSettings(samples=2)
    first = denoise_folder(images, folder, tmp_path / "out", how, device="cpu")
    assert (first.n_images, first.n_failed) == (2, 2)
    failed = pd.read_csv(first.out / "failures.csv")
    assert sorted(failed["image"]) == ["broken", "holes"]
    assert failed["error"].notna().all()
    assert not (first.out / "maps" / "cell0_low.tif").exists()
    stamp = (first.out / "denoised" / "cell0.tif").stat().st_mtime_ns
    denoise_folder(images, folder, tmp_path / "out", how, device="cpu")
    assert (first.out / "denoised" / "cell0.tif").stat().st_mtime_ns == stamp
    denoise_folder(images, folder, tmp_path / "out", DenoiseSettings(samples=3), device="cpu")
    assert (first.out / "denoised" / "cell0.tif").stat().st_mtime_ns != stamp


def test_wrong_use(plate, folder, tmp_path):
    with pytest.raises(ModelError, match="no model folder"):
        denoise_folder(plate, tmp_path / "none", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    for dry_run in (False, True):
        with pytest.raises(OutputError, match="not empty"):
            denoise_folder(plate, folder, tmp_path / "full", device="cpu", dry_run=dry_run)
    with pytest.raises(ConfigError, match="unknown stage 'segment' to redo"):
        denoise_folder(plate, folder, tmp_path / "out", device="cpu", options=Options(redo=("segment",)))
    assert not (tmp_path / "out").exists()


def test_a_dry_run_tells_the_plan_and_writes_nothing(plate, folder, tmp_path):
    images = shutil.copytree(plate, tmp_path / "images")
    tifffile.imwrite(images / "holes.tif", np.full((72, 80), np.nan, np.float32))
    plan = denoise_folder(images, folder, tmp_path / "out", device="cpu", dry_run=True)
    assert (plan.out, plan.n_images, plan.n_failed) == (None, 2, 1)
    assert "holes.tif" in plan.text
    assert "denoise: 0 done, 2 to do" in plan.text
    assert not (tmp_path / "out").exists()
    done = denoise_folder(images, folder, tmp_path / "out", device="cpu")
    assert (done.n_images, done.n_failed) == (plan.n_images, plan.n_failed)
    plan = denoise_folder(images, folder, tmp_path / "out", device="cpu", dry_run=True)
    assert "denoise: 2 done, 0 to do" in plan.text


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"samples": 0}, "samples=0"),
        ({"keep_samples": (-1,)}, "counted from 0"),
        ({"interval": 90}, "between 0 and 1"),
        ({"interval": 0.9, "tta": True}, "leave tta off"),
        ({"mode": True, "tta": True}, "leave tta off"),
        ({"interval": 0.9, "samples": 1}, "at least 2"),
        ({"precision": "fp32"}, "must be exact or bf16"),
    ],
)
def test_impossible_settings(options, match):
    with pytest.raises(ConfigError, match=match):
        DenoiseSettings(**options)


def test_numbers_of_samples():
    assert sample_numbers("") == ()
    assert sample_numbers("3, 0-2,1") == (3, 0, 1, 2)
    for text in ("a", "1-", "-1", "5-2", "0-999999"):
        with pytest.raises(ConfigError, match="samples to keep"):
            sample_numbers(text)


def test_an_image_replaced_under_its_name_is_denoised_again(plate, folder, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    files = sorted(plate.iterdir())
    for file in files:
        (images / file.name).write_bytes(file.read_bytes())
    settings = DenoiseSettings(samples=2)
    first = denoise_folder(images, folder, tmp_path / "out", settings, device="cpu")
    before = tifffile.imread(first.out / "denoised" / "cell0.tif")
    (images / files[0].name).write_bytes(files[1].read_bytes())
    denoise_folder(images, folder, tmp_path / "out", settings, device="cpu")
    after = [tifffile.imread(first.out / "denoised" / f"cell{i}.tif") for i in range(2)]
    assert not np.array_equal(after[0], before)
    np.testing.assert_array_equal(*after)
