import json
import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import divseg
from divseg.cli.commands import app
from divseg.io import write_labels


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Write two images: of the first a cell is missed and one is in two pieces, the second is right."""
    root = tmp_path_factory.mktemp("evaluate")
    truth = np.zeros((20, 30), np.uint8)
    truth[2:9, 2:9], truth[11:18, 15:25] = 1, 2
    pred = np.where(truth == 1, 1, 0).astype(np.uint8)
    pred[0:2, 25:30] = 1
    write_labels(root / "pred" / "a.tif", pred)
    write_labels(root / "pred" / "b.tif", truth)
    for name in "ab":
        write_labels(root / "truth" / f"{name}_mask.tif", truth)
    return root / "pred", root / "truth"


def evaluate(*words):
    return CliRunner().invoke(app, ["evaluate", *map(str, words)])


def test_csv_json_and_markdown_hold_the_scores(folders, tmp_path):
    scores = divseg.evaluate(*folders)
    table, summary = scores.images, scores.summary.iloc[0]
    for suffix in ("csv", "json", "md"):
        done = evaluate(*folders, "--save", tmp_path / f"s.{suffix}")
        assert done.exit_code == 0, done.stderr
        assert f"{summary['map']:.3f}" in done.stdout
    rows = pd.read_csv(tmp_path / "s.csv")
    assert rows["image"].tolist() == ["a", "b"]
    assert rows["map"].tolist() == pytest.approx(table["map"].tolist())
    record = json.loads((tmp_path / "s.json").read_text())
    assert record["input"] == "pred"
    assert record["summary"]["map"] == pytest.approx(summary["map"])
    assert record["summary"]["seg_pooled"] == pytest.approx(summary["seg_pooled"])
    assert record["summary"]["map_lo"] is None, "two images have no bootstrap interval"
    assert [row["seg"] for row in record["images"]] == pytest.approx(table["seg"].tolist())
    text = (tmp_path / "s.md").read_text()
    assert sum(line.startswith("| pred ") for line in text.splitlines()) == 3, (
        "a row of the summary and one of each image"
    )
    assert "seg_pooled" in text


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["--split-disconnected"], {"split_disconnected": True}),
        (["--no-penalize-extra", "--split-disconnected"], {"penalize_extra": False, "split_disconnected": True}),
        (["--thresholds", "0.5, 0.7"], {"thresholds": [0.5, 0.7]}),
        (["--partial"], {"partial": True}),
        (["--full"], {"partial": False}),
    ],
)
def test_options_are_those_of_the_function(folders, tmp_path, words, options):
    done = evaluate(*folders, *words, "--save", tmp_path / "s.csv")
    assert done.exit_code == 0, done.stderr
    found = pd.read_csv(tmp_path / "s.csv").drop(columns="input")
    pd.testing.assert_frame_equal(found, divseg.evaluate(*folders, **options).images, check_dtype=False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--save", "scores.xlsx"], "scores.xlsx: scores are written as .csv, .json, .md"),
        (["--out", "scores.csv"], "--out scores.csv: results go to a folder; give the name of a file with --save"),
        (["--shard", "1/2"], "need a folder: give one with --out"),
        (["--dry-run"], "need a folder: give one with --out"),
        (["--thresholds", "half"], "--thresholds half are not numbers"),
        (["--thresholds", "1.5"], "1.5"),
    ],
)
def test_wrong_use_is_one_line_and_code_2(folders, words, message):
    done = evaluate(*folders, *words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_folder_keeps_the_scores(folders, tmp_path):
    pred, truth = tmp_path / "pred", folders[1]
    shutil.copytree(folders[0], pred)
    words = [pred, truth, "--out", tmp_path / "out", "--thresholds", "0.5,0.7"]
    plan = evaluate(*words, "--dry-run")
    assert plan.exit_code == 0, plan.stderr
    assert "score: 0 done, 2 to do" in plan.stdout
    done = evaluate(*words, "--save", tmp_path / "s.csv", "--against", truth)
    assert done.exit_code == 0, done.stderr
    assert "2 of 2 images scored" in done.stdout
    assert f"{pred} minus {truth}" in done.stdout
    assert (
        pd.read_csv(tmp_path / "out" / "scores.csv")["seg"].tolist() == pd.read_csv(tmp_path / "s.csv")["seg"].tolist()
    )
    (pred / "b.tif").write_text("no image")
    done = evaluate(*words)
    assert (done.exit_code, done.stdout.count("1 failed: see")) == (1, 1)
    (pred / "a.tif").write_text("no image")
    assert [evaluate(*words, *more).exit_code for more in ([], ["--dry-run"])] == [2, 2], "nothing can be scored"
    assert evaluate(*words, "--redo", "skore").stderr.count("did you mean 'score'") == 1


def test_paired_difference_to_another_folder(folders):
    pred, truth = folders
    done = evaluate(truth, truth, "--against", truth)
    assert done.exit_code == 0, done.stderr
    better = evaluate(pred, truth, "--against", truth)
    rows = {line.split("|")[1].strip(): line.split("|") for line in better.stdout.splitlines() if line.startswith("| ")}
    assert float(rows["map"][2]) < 0
    assert rows["map"][5].strip().startswith("0")
    assert evaluate(pred, truth, "--against", truth / "nowhere").exit_code == 2
