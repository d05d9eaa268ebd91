"""Label images scored against their truth, and the scores kept in a folder."""

import json
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest
import tifffile

import divseg
from divseg.errors import InputError, OutputError
from divseg.io import write_labels
from divseg.metrics.folders import find_pairs
from divseg.results import RunStore
from divseg.workflow.evaluate import PairUnit, evaluate_folder
from divseg.workflow.finalize import finalize
from divseg.workflow.sharing import Options

TRUTH = np.kron(np.arange(6).reshape(2, 3), np.ones((4, 4), int)).astype(np.uint16)


@pytest.fixture
def folders(tmp_path):
    """Four images: of the first two a cell is missed."""
    pred, truth = tmp_path / "pred", tmp_path / "truth"
    for i, name in enumerate("abcd"):
        write_labels(pred / f"{name}.tif", np.where((TRUTH == 3) & (i < 2), 0, TRUTH))
        write_labels(truth / f"{name}_mask.tif", TRUTH)
    return pred, truth


def test_the_scores_are_those_of_the_function(folders, tmp_path):
    options = {"thresholds": [0.5, 0.9], "penalize_extra": False}
    result = evaluate_folder(*folders, tmp_path / "out", **options)
    assert (result.n_images, result.n_failed) == (4, 0)
    expected = divseg.evaluate(*folders, **options)
    run = result.open()
    assert (run.command, run.names) == ("evaluate", list("abcd"))
    pd.testing.assert_frame_equal(run.scores.drop(columns="input"), expected.images, check_dtype=False)
    pd.testing.assert_frame_equal(result.summary, expected.summary, check_dtype=False)
    assert run.images_table[["height", "width", "n_true", "map"]].to_numpy().tolist()[0] == [8, 12, 5, 0.8]
    assert f"{result.summary['map'][0]:.3f}" in result.text
    record = json.loads((result.out / "run.json").read_text())
    assert record["config"]["evaluation"]["thresholds"] == [0.5, 0.9]
    assert record["inputs"][0]["truth"].endswith("a_mask.tif")


def test_what_was_scored_is_not_scored_again(folders, tmp_path, caplog):
    out = tmp_path / "out"
    evaluate_folder(*folders, out)
    marker = {p.name: p.stat().st_mtime_ns for p in (out / "units").iterdir()}
    write_labels(folders[0] / "b.tif", TRUTH)
    with caplog.at_level("INFO", logger="divseg"):
        again = evaluate_folder(*folders, out)
    assert "3 of 4 images were finished before" in caplog.text
    changed = [p.name for p in (out / "units").iterdir() if p.stat().st_mtime_ns != marker[p.name]]
    assert changed == ["b.json"]
    assert again.open().scores["map"].tolist() == [0.8, 1, 1, 1]
    plan = evaluate_folder(*folders, out, thresholds=0.3, dry_run=True)
    assert "score: 0 done, 4 to do" in plan.text
    assert "score: 4 done, 0 to do" in evaluate_folder(*folders, out, dry_run=True).text


def spoil(case, pred, truth):
    """Damage the second image; return a word that its row of failures.csv must hold."""
    match case:
        case "missing":
            (pred / "b.tif").unlink()
            return f"no label image of it in {pred}"
        case "shape":
            write_labels(pred / "b.tif", TRUTH[:4])
            return "pred has shape (4, 12) but truth has shape (8, 12)"
        case "damaged":
            path = truth / "b_mask.tif"
            path.write_bytes(path.read_bytes()[:50])
            return str(path)
        case "floats":
            tifffile.imwrite(pred / "b.tif", TRUTH + np.float32(0.5))
            return "labels are whole numbers"


@pytest.mark.parametrize("case", ["missing", "shape", "damaged", "floats"])
def test_one_bad_pair_is_a_row_and_the_others_are_scored(case, folders, tmp_path):
    words = spoil(case, *folders)
    plan = evaluate_folder(*folders, tmp_path / "out", dry_run=True)
    assert (plan.n_images, plan.n_failed) == (3, 1)
    assert words in plan.text
    assert not (tmp_path / "out").exists()
    result = evaluate_folder(*folders, tmp_path / "out")
    assert (result.n_images, result.n_failed) == (3, 1)
    row = pd.read_csv(result.out / "failures.csv").iloc[0]
    assert row["file"].endswith(("b.tif", "b_mask.tif"))
    assert words in row["error"]
    assert "Traceback" not in (result.out / "run.log").read_text()
    assert result.open().names == ["a", "c", "d"]
    assert "3 of 4 images scored" in result.text


def test_planes_of_a_volume(tmp_path):
    pred, truth = tmp_path / "01_RES", tmp_path / "01_GT" / "SEG"
    write_labels(pred / "mask000.tif", np.stack([0 * TRUTH, TRUTH]))
    for plane in (0, 1):
        write_labels(truth / f"man_seg_000_00{plane}.tif", TRUTH)
    run = evaluate_folder(pred, truth.parent, tmp_path / "out").open()
    assert run.images_table["plane"].tolist() == ["Z=0", "Z=1"]
    assert run.scores["seg"].tolist() == [0, 1]


def test_shards_give_the_same_scores(folders, tmp_path):
    whole = evaluate_folder(*folders, tmp_path / "whole")
    for part in (1, 2):
        evaluate_folder(*folders, tmp_path / "parts", options=Options(shard=(part, 2)))
    result = finalize(tmp_path / "parts")
    assert (result.n_images, result.n_failed) == (4, 0)
    for table in ("scores.csv", "summary.csv"):
        assert (result.out / table).read_bytes() == (whole.out / table).read_bytes()


def test_units_can_be_sent_to_other_processes(folders):
    unit = PairUnit(find_pairs(*folders)[0][0])
    assert pickle.loads(pickle.dumps(unit)) == unit


def test_what_cannot_be_evaluated_at_all(folders, tmp_path):
    pred, truth = folders
    other = shutil.copytree(truth, tmp_path / "other")
    for path in other.iterdir():
        path.rename(path.with_name("x" + path.name))
    for dry_run in (False, True):
        with pytest.raises(InputError, match="no label image for 4 files of the truth"):
            evaluate_folder(pred, other, tmp_path / "out", dry_run=dry_run)
        with pytest.raises(InputError, match=r"IoU threshold 1\.5 is impossible"):
            evaluate_folder(pred, truth, tmp_path / "out", thresholds=[1.5], dry_run=dry_run)
        with pytest.raises(InputError, match="lies inside the input folder"):
            evaluate_folder(pred, truth, pred / "scores", dry_run=dry_run)
        RunStore(tmp_path / "run")
        with pytest.raises(OutputError, match="holds the results of divseg run"):
            evaluate_folder(pred, truth, tmp_path / "run", dry_run=dry_run)
    assert not (tmp_path / "out").exists()
