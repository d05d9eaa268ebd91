import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from divseg.cli import commands


@pytest.fixture
def frame(tmp_path):
    y, x = np.mgrid[:160, :180]
    signal = 100 + 3 * x + y
    path = tmp_path / "frame.tif"
    noisy = np.random.default_rng(0).normal(signal, np.sqrt(2.0 * signal))
    tifffile.imwrite(path, noisy.astype(np.float32))
    tifffile.imwrite(tmp_path / "clean.tif", signal.astype(np.float32))
    return path


def divseg(*words):
    return CliRunner().invoke(commands.app, [str(w) for w in words])


def test_measure_bootstrap_show(frame, tmp_path):
    out = tmp_path / "noise.npz"
    done = divseg("noise-model", "measure", frame, "--out", out, "--kind", "mixture", "--gaussians", 1)
    assert done.exit_code == 0, done.output
    assert f"--noise {out}" in done.output
    shown = divseg("noise-model", "show", out, "--out", tmp_path / "plots")
    assert shown.exit_code == 0, shown.output
    assert "mixture of 1 Gaussians" in shown.output
    assert "1 smooth frame" in shown.output
    assert (tmp_path / "plots" / "noise_transfer.png").is_file()
    line = divseg("noise-model", "bootstrap", frame, tmp_path / "clean.tif", "--out", tmp_path / "line.json")
    assert line.exit_code == 0, line.output
    assert "Poisson-Gaussian noise" in line.output


def test_mistakes_are_one_line_and_exit_code_2(frame, tmp_path, capsys):
    assert divseg("noise-model", "measure", frame, "--out", tmp_path / "noise.doc").exit_code == 2
    assert divseg("noise-model", "show", tmp_path / "absent.json").exit_code == 2
