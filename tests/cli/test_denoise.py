import subprocess
import sys

import tifffile


def divseg(*words):
    return subprocess.run(
        [sys.executable, "-m", "divseg", *map(str, words)], capture_output=True, text=True, check=False
    )


def test_train_then_denoise(make_plate, tmp_path):
    images, _ = make_plate(tmp_path / "plate", n=1)
    model, out = tmp_path / "model", tmp_path / "out"
    quick = ["--train-steps", "20", "--device", "cpu", "--network", "flat,filters=4,latents=4"]
    assert divseg("train", images, "--out", model, *quick).returncode == 0
    words = ["--model", model, "--out", out, "--samples", "3", "--keep", "0-1", "--interval", "0.9", "--device", "cpu"]
    done = divseg("denoise", images, *words)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 images denoised" in done.stdout
    assert tifffile.imread(out / "samples" / "cell0.tif").shape == (2, 72, 80)
    assert tifffile.imread(out / "maps" / "cell0_high.tif").shape == (72, 80)
    wrong = divseg("denoise", images, "--model", model, "--out", out, "--interval", "2")
    assert wrong.returncode == 2
    assert "interval=2" in wrong.stderr
    report = divseg("report", out)
    assert report.returncode == 2
    assert "divseg denoise" in report.stderr
