from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from divseg import fuse
from divseg.errors import Problem
from divseg.io import PixelSize
from divseg.metrics import Calibration, evaluate
from divseg.metrics.calibration import Curve
from divseg.results.rows import (
    consensus_columns,
    failure_rows,
    pixel_columns,
    score_summary,
    score_table,
    summary_lines,
)


def squares(n):
    """Return a label image of `n` squares of 9 pixels."""
    labels = np.zeros((8, 40), np.int32)
    for k in range(n):
        labels[2:5, 5 * k + 1 : 5 * k + 4] = k + 1
    return labels


def test_columns_of_a_consensus_tell_the_counts_of_its_samples():
    consensus = fuse([squares(n) for n in (1, 2, 2, 7)], method="majority")
    row = consensus_columns(consensus)
    assert (row["n_objects"], row["count_mean"], row["count_q50"]) == (2, 3.0, 2.0)
    assert (row["count_q05"], row["count_q95"]) == pytest.approx((1.15, 6.25))
    assert (row["area_mean"], row["existence_mean"]) == (9.0, 0.875)
    assert row["expected_map"] == consensus.expected["map"]
    assert "count_low" not in row


def test_weights_act_on_the_counts():
    masks = [squares(n) for n in (2, 2, 7)]
    equal = consensus_columns(fuse(masks, method="majority"))
    weighted = consensus_columns(fuse(masks, method="majority"), weights=np.array([0.25, 0.25, 0.5]))
    assert (equal["count_mean"], weighted["count_mean"]) == pytest.approx((11 / 3, 4.5))
    assert weighted["count_q50"] > equal["count_q50"] == 2.0


def test_a_calibration_adds_the_interval_of_the_count():
    curve = Curve((0.0, 1.0), (0.0, 1.0))
    calibration = Calibration("labels", 0.5, 0.9, "majority", 9, 200, curve, (curve,) * 10, 0.5, None, 0.5)
    row = consensus_columns(fuse([squares(2)] * 3, method="majority"), calibration)
    assert (row["count_low"], row["count_high"]) == calibration.count_interval(2.0, 2.0)
    assert row["count_low"] < 2 < row["count_high"]
    assert (row["calibrated_map"], row["calibrated_count"]) == pytest.approx((0.5, 4.0))  # two of four found


def test_no_objects_have_no_mean():
    row = consensus_columns(fuse([squares(0)] * 3, method="majority"))
    assert (row["n_objects"], row["area_mean"], row["existence_mean"]) == (0, None, None)


def test_columns_of_the_pixels():
    assert pixel_columns((5, 6), None) == {
        "height": 5,
        "width": 6,
        "pixel_size_y": None,
        "pixel_size_x": None,
        "pixel_unit": None,
    }
    row = pixel_columns((4, 5, 6), PixelSize(0.5, 0.25, z=2.0))
    assert list(row) == ["depth", "pixel_size_z", "height", "width", "pixel_size_y", "pixel_size_x", "pixel_unit"]
    assert list(row.values()) == [4, 2.0, 5, 6, 0.5, 0.25, "µm"]


def test_files_that_cannot_be_used_are_failures():
    (row,) = failure_rows([Problem("/data/a.tif", "it is empty", "copy it again")])
    assert row == {"image": "a", "file": "/data/a.tif", "stage": "check", "error": "it is empty; copy it again"}


@pytest.fixture
def scores():
    """Scores of two images; sigma=2 has the best mean mAP, though sigma=1 comes first and sigma=4 wins on one."""
    found = {"noisy": (0, 1), "gaussian sigma=1": (1, 1), "gaussian sigma=2": (2, 2), "gaussian sigma=4": (3, 0)}
    rows = [
        {"image": f"i{k}", "input": name, **evaluate(squares(n), squares(3)).as_row()}
        for name, counts in (found | {"consensus mutex": (3, 3)}).items()
        for k, n in enumerate(counts)
    ]
    return pd.DataFrame(rows)


def test_of_the_smoothings_the_summary_shows_the_best_alone(scores):
    table = score_summary(scores).set_index("input")
    assert table.index.tolist() == ["noisy", "best gaussian (sigma=2)", "consensus mutex"]
    assert table["map"].tolist() == pytest.approx([1 / 6, 2 / 3, 1.0])
    assert score_summary(scores.iloc[:0]).empty


def test_lines_that_end_a_run(scores):
    tables = {"images": pd.DataFrame({"image": ["a", "b"], "n_objects": [3, 4]}), "summary": score_summary(scores)}
    lines = summary_lines(tables, Path("run/report.html"), 3)
    assert lines[0] == "2 of 3 images done, 7 objects"
    assert lines[-1] == "report: run/report.html"
    table = score_table(tables["summary"]).splitlines()
    assert len({len(line) for line in table}) == 1
    assert table[0].split()[:2] == ["input", "map"]
    assert table[2].startswith("best gaussian (sigma=2)   0.667")
    tables["images"].loc[0, "n_objects"] = 0
    assert summary_lines(tables, None, 3)[0] == "2 of 3 images done, 4 objects; nothing found in a"
    assert summary_lines({"images": pd.DataFrame()}, Path("p"), 1) == ["0 of 1 images done, 0 objects", "report: p"]
