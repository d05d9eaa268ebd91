import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from divseg.cli.commands import app
from divseg.io import read_labels, write_labels


def divseg(*words):
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture(scope="module")
def raters(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuse") / "masks"
    mask = np.zeros((20, 30), np.uint8)
    mask[2:9, 2:9] = 1
    more = mask.copy()
    more[11:18, 15:25] = 2
    for rater, labels in {"a": mask, "b": more, "c": more}.items():
        write_labels(root / rater / "one.tif", labels)
    write_labels(root.parent / "truth" / "one.tif", more)
    return root


def test_fuse_with_weights_and_truth(raters, tmp_path):
    done = divseg("fuse", raters, "--out", tmp_path / "o", "--truth", raters.parent / "truth")
    assert done.exit_code == 0, done.stderr
    assert "| consensus clustering" in done.stdout
    assert "raters" in done.stderr
    assert read_labels(tmp_path / "o" / "labels" / "one.tif").max() == 2
    words = ["--weights", "5,1,1", "--method", "majority", "--quiet"]
    light = divseg("fuse", raters, "--out", tmp_path / "light", *words)
    assert light.exit_code == 0
    assert light.stderr == ""
    assert read_labels(tmp_path / "light" / "labels" / "one.tif").max() == 1
    assert json.loads((tmp_path / "light" / "run.json").read_text())["config"]["data"]["weights"] == [5, 1, 1]


def test_fuse_exit_codes(raters, tmp_path):
    assert "--weights" in divseg("fuse", "--help").stdout
    wrong = divseg("fuse", raters, "--out", tmp_path / "o", "--weights", "1,2")
    assert wrong.exit_code == 2
    assert wrong.stderr.strip().splitlines()[-1].startswith("divseg: 2 weights were given for 3 raters")
    copy = tmp_path / "m"
    for rater in "ab":
        write_labels(copy / rater / "one.tif", read_labels(raters / rater / "one.tif"))
    (copy / "a" / "bad.tif").write_text("no image")
    some = divseg("fuse", copy)
    assert some.exit_code == 1
    assert pd.read_csv(tmp_path / "m_fused" / "failures.csv")["image"].tolist() == ["bad"]
    assert (tmp_path / "m_fused" / "labels" / "one.tif").is_file()
