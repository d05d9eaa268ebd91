import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import divseg
from divseg.errors import InputError
from divseg.io import write_labels
from divseg.metrics import Scores, compare, summarize

TRUTH = np.kron(np.arange(6).reshape(2, 3), np.ones((4, 4), int)).astype(np.uint16)


@pytest.fixture
def folders(tmp_path):
    """Six images, of which image k misses k cells."""
    for k in range(6):
        write_labels(tmp_path / "pred" / f"im{k}.tif", np.where(5 - k < TRUTH, 0, TRUTH))
        write_labels(tmp_path / "truth" / f"im{k}_mask.tif", TRUTH)
    return tmp_path / "pred", tmp_path / "truth"


def test_arrays_give_scores_and_folders_a_table(folders):
    table = divseg.evaluate(*map(str, folders))
    assert table.name == "pred"
    assert table.images["image"].tolist() == [f"im{k}" for k in range(6)]
    scores = divseg.evaluate(np.where(TRUTH > 3, 0, TRUTH), TRUTH)
    assert isinstance(scores, Scores)
    row = table.images.iloc[2]
    assert {name: row[name] for name in scores.as_row()} == scores.as_row()
    pd.testing.assert_frame_equal(table.summary, summarize(table.images.assign(input="pred")))


def test_a_path_and_an_array_are_refused(folders):
    with pytest.raises(InputError, match="give two paths or two label images"):
        divseg.evaluate(folders[0], TRUTH)


def test_what_is_shown(folders):
    table = divseg.evaluate(*folders)
    assert repr(table).startswith("ScoreTable('pred', 6 images: map=0.5, ap50=0.5,")
    html = table._repr_html_()
    assert html.count("<table") == 2
    assert "<td>im3</td>" in html
    assert "<td>0.500</td>" in html


def test_comparison_is_paired_by_image(folders):
    ours, best = divseg.evaluate(*folders), divseg.evaluate(folders[1], folders[1])
    found = ours.compare(best).set_index("score").loc["map"]
    both = pd.concat([ours.images.assign(input="a"), best.images.assign(input="b")])
    assert (found["difference"], found["low"], found["high"]) == (
        (expected := compare(both, "a", "b")).difference,
        expected.low,
        expected.high,
    )
    assert found["difference"] == pytest.approx(-0.5)
    assert (found["improved"], found["images"]) == (0, 6)
    assert best.compare(ours).set_index("score").loc["map", "improved"] == pytest.approx(5 / 6)


@pytest.mark.parametrize("suffix", ["csv", "json", "md"])
def test_files_hold_every_image(folders, tmp_path, suffix):
    table = divseg.evaluate(*folders)
    path = tmp_path / f"scores.{suffix}"
    table.save(str(path))
    if suffix == "csv":
        again = pd.read_csv(path)
        assert again.columns[0] == "input"
        assert again["map"].tolist() == table.images["map"].tolist()
    elif suffix == "json":
        record = json.loads(path.read_text())
        assert record["summary"]["seg_pooled"] == table.summary["seg_pooled"][0]
        assert [row["image"] for row in record["images"]] == table.images["image"].tolist()
    else:
        assert sum(line.startswith("| pred ") for line in path.read_text().splitlines()) == 7
    assert "input" not in table.images


def test_other_formats_are_refused_before_anything_is_written(folders, tmp_path):
    with pytest.raises(InputError, match=r"scores\.xlsx: scores are written as \.csv, \.json, \.md"):
        divseg.evaluate(*folders).save(tmp_path / "scores.xlsx")
    assert not Path(tmp_path / "scores.xlsx").exists()
