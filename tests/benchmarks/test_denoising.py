"""The registry of sets: what is missing is said, layouts that are documented are read."""

from argparse import Namespace

import numpy as np
import pytest
import tifffile

from benchmarks.denoising import registry
from benchmarks.denoising.__main__ import run_set
from benchmarks.denoising.methods import METHODS, Denoised
from benchmarks.denoising.pictures import sample_picture
from benchmarks.denoising.scores import Row, add_row, fitted, read_rows, score
from benchmarks.denoising.tables import set_table
from benchmarks.sets import Picture
from divseg.workflow.crops import busiest_corner

TARGET = np.random.default_rng(0).normal(100, 20, (32, 40)).astype(np.float32)


@pytest.fixture(autouse=True)
def data(monkeypatch, tmp_path):
    monkeypatch.setenv("DIVSEG_DATA", str(tmp_path))
    return tmp_path


def test_a_set_that_is_absent_or_incomplete_is_named_with_its_files(data):
    with pytest.raises(SystemExit, match=r"flywing is incomplete.*\n.*flywing/noisy/\*.tif: 1 file expected, 0 found"):
        registry.load("flywing")
    (data / "w2s_pairs" / "noisy").mkdir(parents=True)
    for k in range(5):
        tifffile.imwrite(data / "w2s_pairs" / "noisy" / f"w2s_{k:03d}_ch1.tif", TARGET)
    told = registry.missing_files("w2s_ch1")
    assert told[0].endswith("w2s_pairs/noisy/*_ch1.tif: 6 files expected, 5 found")
    assert len(told) == 2


def test_pairs_and_frames_are_read_as_the_registry_says(data):
    for kind, shift in (("noisy", 1), ("clean", 0)):
        (data / "mouse" / kind).mkdir(parents=True)
        tifffile.imwrite(data / "mouse" / kind / "a.tif", TARGET + shift)
    (picture,) = registry.load("mouse")
    np.testing.assert_allclose(picture.noisy - picture.truth, 1, atol=1e-4)
    (data / "mouse" / "clean" / "a.tif").rename(data / "mouse" / "clean" / "b.tif")
    with pytest.raises(SystemExit, match=r"clean/a.tif is missing: the target of"):
        registry.load("mouse")
    frames = np.random.default_rng(1).normal(10, 1, (30, 16, 300)).astype(np.float32)
    (data / "fu_mouse_nuclei").mkdir()
    tifffile.imwrite(data / "fu_mouse_nuclei" / "frames.tif", frames)
    pictures = registry.load("fu_mouse_nuclei")
    assert len(pictures) == 20
    assert pictures[0].noisy.shape == (16, 256)
    np.testing.assert_allclose(pictures[3].truth, frames.mean(axis=0)[:, :256], rtol=1e-5)


def test_the_middles_of_evenly_chosen_images_are_scored():
    images = [np.full((300, 200), k, np.float32) for k in range(9)]
    for image in images:
        image[22:278] += 100
    pictures = [Picture(f"{k}", image, image, None, "test") for k, image in enumerate(images)]
    chosen = registry.scored(pictures)
    assert [p.name for p in chosen] == ["1", "3", "5", "7"]
    assert all(p.noisy.shape == p.truth.shape == (256, 200) and p.noisy.min() >= 100 for p in chosen)
    assert len(registry.scored(pictures, 2)) == 2


def test_every_set_says_what_it_is():
    for name, entry in registry.REGISTRY.items():
        assert all([entry.what, entry.source, entry.licence, entry.protocol, entry.psnr]), name
        assert entry.files or entry.load, name


def test_scale_and_offset_do_not_count_if_the_set_says_so():
    np.testing.assert_allclose(fitted(3 * TARGET - 7, TARGET), TARGET, rtol=1e-4)
    np.testing.assert_allclose(fitted(np.ones_like(TARGET), TARGET), TARGET.mean(), rtol=1e-6)
    noisy = TARGET + np.random.default_rng(2).normal(0, 5, TARGET.shape).astype(np.float32)
    made, scaled = Denoised(noisy, None, 0.0), Denoised(2 * noisy + 5, None, 0.0)
    plain, free = (score("s", "i", "m", 1, made, TARGET, affine) for affine in (False, True))
    assert free.psnr >= plain.psnr
    assert score("s", "i", "m", 1, scaled, TARGET, True).psnr == pytest.approx(free.psnr, abs=1e-3)
    assert score("s", "i", "m", 1, scaled, TARGET, False).psnr < plain.psnr - 5


def test_samples_that_differ_where_they_err_have_a_rank_correlation():
    rng = np.random.default_rng(3)
    std = rng.uniform(1, 20, TARGET.shape)
    samples = (TARGET + std * rng.normal(size=(8, *TARGET.shape))).astype(np.float32)
    row = score("s", "i", "m", 1, Denoised(samples.mean(axis=0), samples, 1.0), TARGET, False)
    assert row.rank > 0.4
    assert row.diversity == pytest.approx(np.sqrt((std**2).mean()) / np.ptp(samples.mean(axis=0)), rel=0.1)
    assert row.single < row.psnr
    shuffled = samples[:, ::-1, ::-1] - TARGET[::-1, ::-1] + TARGET
    elsewhere = Denoised(samples.mean(axis=0), shuffled, 1.0)
    assert abs(score("s", "i", "m", 1, elsewhere, TARGET, False).rank) < 0.15


def test_rows_come_back_and_make_a_table(tmp_path):
    rows = [Row("digits", f"i{k}", "noisy", 1.0, psnr=20.0 + k, ssim=0.5) for k in range(3)]
    rows.append(Row("digits", "*", "N2V", 1.0, note="not run"))
    for row in rows:
        add_row(tmp_path / "t.csv", row)
    assert [str(row) for row in read_rows(tmp_path / "t.csv")] == [str(row) for row in rows]
    table = set_table("digits", rows)
    assert "| noisy | 21.00 (20.00 to 22.00) | 0.500 | - |" in table
    assert "| N2V | not run |" in table
    assert set(METHODS) >= {"noisy", "N2V", "published flat, depth 2", "hierarchical, mixture"}


def test_what_was_missing_is_tried_again(data):
    for kind, shift in (("noisy", 2), ("clean", 0)):
        (data / "mouse" / kind).mkdir(parents=True)
        tifffile.imwrite(data / "mouse" / kind / "a.tif", TARGET + shift)
    how = Namespace(out=data / "out", methods=["N2V"], minutes=1.0, samples=4, limit=None, n2v=[data / "n2v"])
    run_set("mouse", how)
    (row,) = read_rows(data / "out" / "mouse.csv")
    assert (row.image, row.note) == ("*", "python -m benchmarks.n2v --set mouse --out FOLDER has not been run")
    (data / "n2v" / "mouse").mkdir(parents=True)
    np.save(data / "n2v" / "mouse" / "a.npy", TARGET + 1)
    run_set("mouse", how)
    run_set("mouse", how)  # nothing is left to do
    rows = read_rows(data / "out" / "mouse.csv")
    assert [row.image for row in rows] == ["*", "a"]
    assert rows[1].psnr == pytest.approx(20 * np.log10(np.ptp(TARGET)), abs=1e-3)
    assert "| N2V | 4" in set_table("mouse", rows)


def test_the_picture_shows_the_busiest_place(tmp_path):
    image = np.zeros((200, 200), np.float32)
    image[100:140, 150:190] = np.random.default_rng(0).normal(0, 9, (40, 40))
    y, x = busiest_corner(image, (96, 96))
    assert y <= 100 < 140 <= y + 96
    assert x + 96 >= 190
    samples = np.stack([image + k for k in range(4)])
    sample_picture(tmp_path / "p" / "x.png", Picture("x", image, None, None, "test"), samples)
    assert (tmp_path / "p" / "x.png").stat().st_size > 5000
