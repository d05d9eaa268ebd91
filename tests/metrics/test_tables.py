import io

import numpy as np
import pandas as pd
import pytest

from divseg.errors import InputError
from divseg.metrics import compare, evaluate, summarize, to_markdown


def pair(n_true, hits, extra):
    """`n_true` references of two pixels, the first `hits` found exactly, and `extra` objects elsewhere."""
    truth, pred = np.zeros((1, 200), int), np.zeros((1, 200), int)
    for k in range(n_true):
        truth[0, 2 * k : 2 * k + 2] = k + 1
    pred[:, : 2 * hits] = truth[:, : 2 * hits]
    for k in range(extra):
        pred[0, 199 - k] = 100 + k
    return pred, truth


def rows_of(**methods):
    rows = []
    for name, cases in methods.items():
        for k, case in enumerate(cases):
            rows.append({"image": f"im{k}", "input": name, **evaluate(*pair(*case)).as_row()})
    return pd.DataFrame(rows)


def test_mean_over_images_and_pooled_score_differ():
    table = summarize(rows_of(a=[(1, 1, 0), (9, 3, 0)]))
    row = table.iloc[0]
    assert row["input"] == "a"
    assert (row["n_images"], row["n_scored"], row["n_true"], row["n_pred"]) == (2, 2, 10, 4)
    for score in ("map", "ap50", "ap75", "seg", "aji", "aji_plus", "det"):
        assert row[score] == pytest.approx((1 + 1 / 3) / 2)
        assert row[f"{score}_pooled"] == pytest.approx(4 / 10)
    assert row["f1"] == pytest.approx((1 + 6 / 12) / 2)
    assert row["f1_pooled"] == row["pq_pooled"] == pytest.approx(8 / 14)


def test_images_without_objects_weigh_nothing():
    some = rows_of(a=[(4, 2, 0), (2, 2, 0)])
    more = rows_of(a=[(4, 2, 0), (2, 2, 0), (0, 0, 0)])
    first, second = summarize(some).iloc[0], summarize(more).iloc[0]
    assert (second["n_images"], second["n_scored"]) == (3, 2)
    scores = [name for name in first.index if name not in ("input", "n_images")]
    pd.testing.assert_series_equal(first[scores], second[scores], check_names=False)


def test_false_objects_on_an_empty_image_count():
    row = summarize(rows_of(a=[(4, 4, 0), (0, 0, 6)])).iloc[0]
    assert row["map"] == 0.5
    assert row["map_pooled"] == pytest.approx(4 / 10)
    assert row["seg"] == row["seg_pooled"] == 1  # SEG does not see them
    assert row["det"] == 1
    assert row["det_pooled"] == pytest.approx(1 - 6 / 40)


def test_pooled_det_has_a_floor():
    assert summarize(rows_of(a=[(1, 1, 0), (0, 0, 30)]))["det_pooled"][0] == 0


def test_intervals_pass_over_images_without_score():
    some = summarize(rows_of(a=[(10, k, 0) for k in range(8)])).iloc[0]
    more = summarize(rows_of(a=[(10, k, 0) for k in range(8)] + [(0, 0, 0)] * 4)).iloc[0]
    assert (more["map_lo"], more["map_hi"]) == (some["map_lo"], some["map_hi"])


def test_nothing_anywhere_is_not_a_number_in_silence():
    row = summarize(rows_of(a=[(0, 0, 0), (0, 0, 0)])).iloc[0]
    assert row["n_scored"] == 0
    assert row.drop(["input", "n_images", "n_scored", "n_true", "n_pred"]).isna().all()


def test_pooled_pq_uses_the_overlap_of_the_matches():
    truth = np.array([[1, 1, 1, 1, 0, 2]])
    pred = np.array([[1, 1, 1, 0, 0, 2]])
    rows = pd.DataFrame([{"input": "a", **evaluate(pred, truth).as_row()}] * 2)
    assert summarize(rows)["pq_pooled"][0] == pytest.approx((0.75 + 1) / 2)


def test_survives_a_csv_file():
    rows = rows_of(b=[(4, 2, 1), (0, 0, 0), (5, 5, 0)], a=[(4, 3, 1), (0, 0, 2), (5, 5, 0)])
    again = pd.read_csv(io.StringIO(rows.to_csv(index=False)))
    pd.testing.assert_frame_equal(summarize(again), summarize(rows), check_dtype=False)
    assert summarize(rows)["input"].tolist() == ["b", "a"]  # in the order given


def test_one_threshold_survives_a_csv_file():
    rows = pd.DataFrame([{"input": "a", **evaluate(*pair(4, 2, 0), thresholds=0.6).as_row()}])
    again = pd.read_csv(io.StringIO(rows.to_csv(index=False)))
    assert summarize(again)["map_pooled"][0] == 0.5


def test_several_rows_of_an_image_count_once():
    rows = rows_of(a=[(4, 4, 0), (4, 0, 0)])
    doubled = pd.concat([rows, rows.iloc[[0]], rows.iloc[[0]]])
    row = summarize(doubled).iloc[0]
    assert (row["n_images"], row["map"], row["n_true"], row["n_pred"]) == (2, 0.5, 8, 4)
    assert summarize(doubled.drop(columns="image")).iloc[0]["map"] == 0.75


def test_partial_truth_enters_seg_only():
    rows = rows_of(a=[(4, 2, 0)])
    partial = {"image": "x", "input": "a", **evaluate(*pair(6, 6, 3), partial=True).as_row()}
    row = summarize(pd.concat([rows, pd.DataFrame([partial])])).iloc[0]
    assert (row["map"], row["map_pooled"], row["det_pooled"]) == (0.5, 0.5, 0.5)
    assert row["seg"] == 0.75
    assert row["seg_pooled"] == pytest.approx(8 / 10)
    assert row["n_scored"] == 2


def test_interval_holds_the_mean_and_is_seeded():
    rows = rows_of(a=[(10, k, 0) for k in range(11)])
    row = summarize(rows).iloc[0]
    for score in ("map", "ap50", "seg"):
        assert row[f"{score}_lo"] < row[score] < row[f"{score}_hi"]
    # the standard error of the mean of 0, 0.1, ... 1 is 0.095
    assert row["map_hi"] - row["map_lo"] == pytest.approx(2 * 1.96 * 0.095, rel=0.1)
    pd.testing.assert_frame_equal(summarize(rows), summarize(rows.sample(frac=1, random_state=3)))
    assert summarize(rows, seed=1)["map_lo"][0] != row["map_lo"]


def test_few_images_have_no_interval():
    row = summarize(rows_of(a=[(4, k, 0) for k in range(4)])).iloc[0]
    assert np.isnan(row["map_lo"])
    assert np.isnan(row["map_hi"])


def test_methods_may_be_named_by_several_columns():
    rows = pd.concat([rows_of(a=[(4, 4, 0)]).assign(noise=n) for n in ("low", "high")])
    assert summarize(rows, by=["noise", "input"])[["noise", "input"]].to_numpy().tolist() == [
        ["low", "a"],
        ["high", "a"],
    ]


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda r: r.iloc[:0], {}, "no rows"),
        (lambda r: r.rename(columns={"input": "inputs"}), {}, "no column 'input'; did you mean 'inputs'"),
        (lambda r: r.assign(thresholds=["0.5", "0.6"]), {}, "cannot be pooled"),
        (lambda r: r, {"rounds": 0}, "rounds=0"),
        (lambda r: r, {"by": []}, "at least one column"),
    ],
)
def test_tables_that_cannot_be_summarised(change, options, words):
    with pytest.raises(InputError, match=words):
        summarize(change(rows_of(a=[(4, 4, 0), (2, 2, 0)])), **options)


def test_compare_pairs_the_images():
    rows = rows_of(ours=[(10, k, 0) for k in (3, 4, 5, 6, 7, 0)], base=[(10, k, 0) for k in (2, 3, 5, 5, 8, 0)])
    rows = pd.concat([rows, rows_of(ours=[(0, 0, 0)] * 7).iloc[[6]]])  # an image that only one of them has
    found = compare(rows.sample(frac=1, random_state=0), "ours", "base")
    assert found.n_images == 6
    assert found.difference == pytest.approx(0.2 / 6)
    assert found.mean_a - found.mean_b == pytest.approx(found.difference)
    assert (found.improved, found.worsened) == (0.5, pytest.approx(1 / 6))
    assert found.low < found.difference < found.high
    back = compare(rows, "base", "ours")
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))
    assert found.as_row()["score"] == "map"
    assert compare(rows, "ours", "ours").difference == 0


def test_what_cannot_be_compared():
    rows = rows_of(ours=[(4, 2, 0)], base=[(4, 2, 0)])
    with pytest.raises(InputError, match=r"no rows for 'bases'.*did you mean 'base'"):
        compare(rows, "ours", "bases")
    with pytest.raises(InputError, match=r"no column 'image'"):
        compare(rows.drop(columns="image"), "ours", "base")
    with pytest.raises(InputError, match=r"no column 'mapp'; did you mean 'map'"):
        compare(rows, "ours", "base", "mapp")
    with pytest.raises(InputError, match="share no image"):
        compare(pd.concat([rows[:1], rows[1:].assign(image="other")]), "ours", "base")


def test_markdown():
    table = pd.DataFrame({"input": ["a|b", None], "map": [0.12345, np.nan], "n": [3, 12], "share": [1.0, 0.0]})
    assert to_markdown(table) == (
        "| input |   map |   n | share |\n"
        "| ----- | ----: | --: | ----: |\n"
        "| a\\|b  | 0.123 |   3 | 1.000 |\n"
        "| n/a   |   n/a |  12 | 0.000 |\n"
    )
    assert to_markdown(pd.DataFrame({"n": [1500.0, np.nan]}), digits=1).splitlines()[2:] == ["| 1500 |", "|  n/a |"]
    assert to_markdown(table.iloc[:0]).count("\n") == 2
