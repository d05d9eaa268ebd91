import warnings

import numpy as np
import pandas as pd
import pytest
import tifffile
from typer.testing import CliRunner

from divseg.cli.commands import app


def divseg(*words):
    """Call a command in this process, which spares the start of another."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        return CliRunner().invoke(app, [*map(str, words)])


def test_train_then_denoise(make_plate, tmp_path):
    images, _ = make_plate(tmp_path / "plate", n=1)
    model, out = tmp_path / "model", tmp_path / "out"
    quick = ["--train-steps", "20", "--device", "cpu", "--network", "flat,filters=4,latents=4"]
    assert divseg("train", images, "--out", model, *quick).exit_code == 0
    words = [
        "--model",
        model,
        "--out",
        out,
        "--samples",
        "3",
        "--keep-samples",
        "0-1",
        "--interval",
        "0.9",
        "--device",
        "cpu",
    ]
    done = divseg("denoise", images, *words)
    assert done.exit_code == 0, done.stderr
    assert "1 of 1 images denoised" in done.stdout
    assert tifffile.imread(out / "samples" / "cell0.tif").shape == (2, 72, 80)
    assert tifffile.imread(out / "maps" / "cell0_high.tif").shape == (72, 80)
    wrong = divseg("denoise", images, "--model", model, "--out", out, "--interval", "2")
    assert wrong.exit_code == 2
    assert "interval=2" in wrong.stderr
    report = divseg("report", out)
    assert report.exit_code == 2
    assert "divseg denoise" in report.stderr


def test_segment_then_evaluate(make_plate, tmp_path):
    images, masks = make_plate(tmp_path / "plate", n=2)
    (images / "broken.tif").write_bytes(b"no image")
    done = divseg("segment", images, "--out", tmp_path / "out", "--segmenter", "otsu,smooth=2,min_size=20")
    assert done.exit_code == 1, done.stderr  # one file is broken
    assert "2 of 3 images segmented by otsu" in done.stdout
    table = pd.read_csv(tmp_path / "out" / "objects.csv")
    labels = tifffile.imread(tmp_path / "out" / "labels" / "cell0.tif")
    first = table[table["image"] == "cell0"]
    assert first["label"].tolist() == list(range(1, labels.max() + 1))
    y, x = np.nonzero(labels == 1)
    assert first.iloc[0][["centroid_y", "centroid_x", "area"]].tolist() == pytest.approx([y.mean(), x.mean(), len(y)])
    again = divseg("segment", images, "--out", tmp_path / "out", "--segmenter", "otsu,smooth=2,min_size=20")
    assert "2 of 2 images were finished before" in again.stderr
    scored = divseg("evaluate", tmp_path / "out" / "labels", masks)
    assert scored.exit_code == 0, scored.stderr
    refused = divseg("segment", images, "--out", tmp_path / "other", "--segmenter", "auto")
    assert refused.exit_code == 2
    assert "needs posterior samples" in refused.stderr
