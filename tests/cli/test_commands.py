import json
import os
import signal
import subprocess
import sys
import time
import warnings

import pytest
import tifffile
from typer.testing import CliRunner

from divseg.cli.commands import app

NETWORK = ["--network", "flat,filters=8,latents=8"]
QUICK = ["--train-steps", "30", "--samples", "3", "--simulate", "0", "--device", "cpu", *NETWORK]


def divseg(*words, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "divseg", *map(str, words)], capture_output=True, text=True, cwd=cwd, check=False
    )


def called(*words):
    """Call a command in this process, which spares the start of another."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        return CliRunner().invoke(app, [*map(str, words)])


@pytest.fixture(scope="module")
def plate(make_plate, tmp_path_factory):
    return make_plate(tmp_path_factory.mktemp("plate"), n=2)


def test_help_and_version():
    assert "run" in divseg("--help").stdout
    assert divseg("--version").stdout.startswith("divseg ")
    assert "--segmenter" in divseg("run", "--help").stdout


def test_run_evaluate_report_train_info(plate, tmp_path):
    images, masks = plate
    config = tmp_path / "run.toml"
    config.write_text('[segmentation]\nsegmenter = "otsu,smooth=2"\n[sampling]\nsamples = 9\n')
    out = tmp_path / "out"
    done = divseg("run", images, "--out", out, "--truth", masks, "--config", config, *QUICK)
    assert done.returncode == 0, done.stderr
    assert "consensus clustering" in done.stdout
    assert "report:" in done.stdout
    counted = [line for line in done.stderr.splitlines() if "images done; cell" in line]
    assert counted == [
        "0 of 2 images done; cell0",
        "1 of 2 images done; cell0, finished",
        "2 of 2 images done; cell1, finished",
    ]
    assert "loss" in done.stderr
    assert tifffile.imread(out / "labels" / "cell0.tif").shape == (72, 80)

    scored = called("evaluate", out / "labels", masks, "--save", tmp_path / "scores.csv")
    assert scored.exit_code == 0, scored.stderr
    assert "map" in scored.stdout
    assert (tmp_path / "scores.csv").is_file()

    (out / "report.html").unlink()
    assert called("report", out).exit_code == 0
    assert (out / "report.html").is_file()

    assert '"steps": 30' in called("info", out / "model").stdout
    assert '"torch"' in called("info").stdout

    plan = called("run", images, "--out", out, "--truth", masks, "--config", config, *QUICK, "--dry-run")
    assert plan.exit_code == 0, plan.stderr
    assert "score: 2 done, 0 to do" in plan.stdout

    trained = called("train", images, "--out", tmp_path / "model", "--train-steps", "20", *NETWORK)
    assert trained.exit_code == 0, trained.stderr
    assert (tmp_path / "model" / "weights.pt").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "nowhere"], "nowhere"),
        (["run", "{images}", "--segmenter", "otus"], "otsu"),
        (["run", "{images}", "--noise", "gausian", "--out", "{tmp}/o"], "did you mean 'gaussian'"),
        (["run", "{images}", "--samples", "0"], "samples=0"),
        (["run", "{images}", "--config", "{tmp}/none.toml"], "none.toml"),
        (["run", "{images}", "--device", "quantum", "--out", "{tmp}/o"], "quantum"),
        (["run", "{images}", "--model", "{tmp}", "--out", "{tmp}/o"], "config.json"),
        (["run", "{images}", "--shard", "4/3", "--out", "{tmp}/o"], "--shard 4/3"),
        (["run", "{images}", "--redo", "fuze", "--out", "{tmp}/o"], "did you mean 'fuse'"),
        (["run", "{images}", "--executor", "slurm", "--out", "{tmp}/o"], "unknown executor 'slurm'"),
        (["denoise", "{images}", "--model", "{tmp}", "--out", "{tmp}/o"], "config.json"),
        (["finalize", "{tmp}"], "run.json"),
        (["evaluate", "{images}", "nowhere"], "nowhere"),
        (["report", "{tmp}"], "run.json"),
        (["info", "{tmp}"], "config.json"),
    ],
)
def test_wrong_use_is_one_line_and_code_2(words, message, plate, tmp_path, monkeypatch):
    images = tmp_path / "images"
    images.symlink_to(plate[0])
    monkeypatch.chdir(tmp_path)
    done = called(*(w.format(images=images, tmp=tmp_path) for w in words))
    assert done.exit_code == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("divseg: ")
    assert message in last
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_some_failed_is_code_1(plate, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for path in plate[0].iterdir():
        (images / path.name).symlink_to(path)
    (images / "bad.tif").write_text("no image")
    words = ["run", images, "--out", tmp_path / "out", *QUICK, "--segmenter", "otsu,smooth=2"]
    plan = called(*words, "--dry-run")
    assert plan.exit_code == 1, plan.stderr
    assert "bad.tif" in plan.stdout
    assert not (tmp_path / "out").exists()
    parts = [called(*words, "--shard", f"{part}/2") for part in (1, 2)]
    assert [done.exit_code for done in parts] == [1, 1], "each part knows of the file that cannot be read"
    done = called("finalize", tmp_path / "out")
    assert done.exit_code == 1, done.stderr
    assert "2 of 3 images done" in done.stdout
    assert "bad" in (tmp_path / "out" / "failures.csv").read_text()


def heed_ctrl_c():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(os.name == "nt", reason="signals work differently on Windows")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_code_after_ctrl_c_and_after_a_request_to_end(plate, tmp_path, number, code):
    words = ["run", str(plate[0]), "--out", str(tmp_path / "out"), "--train-minutes", "5", "--device", "cpu"]
    command = [sys.executable, "-m", "divseg", *words]
    # a test run in the background may have inherited that Ctrl-C is ignored
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c) as process:
        try:
            for line in process.stderr:
                if line.startswith("training "):
                    break
            time.sleep(1.0)
            process.send_signal(number)
            rest = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert process.returncode == code
    assert "interrupted" in rest
    assert "Traceback" not in rest
    assert json.loads((tmp_path / "out" / "run.json").read_text())["interrupted"]
