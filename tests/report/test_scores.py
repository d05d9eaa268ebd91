import json

import numpy as np
import pandas as pd
import pytest

from divseg.metrics import summarize
from divseg.report.scores import paired, rivals, score_figure, score_rows_of, verdict, winners
from divseg.results.open_run import open_run


@pytest.fixture
def scored(table_run):
    """Return a function that makes a run of {input: [mAP of image 0, 1, ...]}, and its summary as it is written."""

    def make(values, method="clustering", summary=None):
        rows = [
            {"image": f"i{k}", "input": name, "map": value}
            for name, row in values.items()
            for k, value in enumerate(row)
        ]
        table = summarize(pd.DataFrame(rows)) if summary is None else pd.DataFrame(summary)
        return table_run({"config": {"fusion": {"method": method}}}, scores=rows, summary=table)

    return make


def judge(run):
    return verdict(run, *rivals(run))


def test_the_consensus_of_a_real_run_is_the_one_judged(real_run, run_copy):
    run = open_run(real_run)
    consensus, baseline = rivals(run)
    assert consensus == "consensus majority"
    table = run.summary.set_index("input")["map"]
    assert table[baseline] == table[[name for name in table.index if not name.startswith("consensus")]].max()
    words = verdict(run, consensus, baseline)
    assert f"{table[consensus]:.3f} against {table[baseline]:.3f}" in words
    assert "of 4 images" in words
    record = json.loads((run_copy / "run.json").read_text())
    record["config"]["fusion"]["method"] = "mutex"
    (run_copy / "run.json").write_text(json.dumps(record))
    assert rivals(open_run(run_copy))[0] == "consensus mutex"


def test_clear_win_is_said_so(scored):
    base = np.linspace(0.3, 0.6, 8)
    run = scored({"mmse": base, "consensus clustering": base + 0.1})
    pairs = paired(run, *rivals(run))
    assert (pairs.improved, pairs.n_images) == (1.0, 8)
    assert (pairs.low, pairs.high) == pytest.approx((0.1, 0.1))
    words = judge(run)
    assert "is above the best baseline (mmse)" in words
    assert "better on 8 and worse on 0 of 8 images" in words
    assert words.endswith("the consensus is better.")


def test_losing_is_never_rosy(scored):
    base = np.linspace(0.3, 0.6, 8)
    words = judge(scored({"noisy": base - 0.2, "gaussian sigma=2": base, "consensus clustering": base - 0.1}))
    assert "is below the best baseline (gaussian sigma=2)" in words
    assert words.endswith("the baseline is better.")


def test_small_difference_is_not_called_better(scored):
    rng = np.random.default_rng(0)
    base = rng.uniform(0.3, 0.6, 10)
    words = judge(scored({"mmse": base, "consensus clustering": base + rng.normal(0.002, 0.05, 10)}))
    assert "does not show that one is better" in words


def test_equal_at_the_shown_digits_is_level(scored):
    words = judge(scored({"mmse": [0.5] * 6, "consensus clustering": [0.5001] * 6}))
    assert "is level with the best baseline" in words
    assert "a difference of" not in words


def test_few_images_allow_no_statement(scored):
    run = scored({"mmse": [0.2, 0.2], "consensus clustering": [0.9, 0.9]})
    assert np.isnan(paired(run, *rivals(run)).low)
    assert "2 images with both scores are too few" in judge(run)
    run = scored({"mmse": [0.2], "consensus clustering": [0.9]})
    assert "on 1 and worse on 0 of 1 image; 1 image with both scores is too few" in judge(run)


def test_best_gaussian_is_paired_with_its_rows(scored):
    base = np.linspace(0.3, 0.6, 6)
    summary = [{"input": "best gaussian (sigma=0.5)", "map": 0.45}, {"input": "consensus majority", "map": 0.40}]
    values = {"gaussian sigma=0.5": base, "gaussian sigma=1": base + 1, "consensus majority": base - 0.05}
    run = scored(values, "majority", summary)
    assert score_rows_of("best gaussian (sigma=0.5)") == "gaussian sigma=0.5"
    assert "better on 0 and worse on 6 of 6 images" in judge(run)


def test_several_samples_of_an_image_count_as_their_mean(scored):
    base = np.linspace(0.3, 0.6, 6)
    run = scored({"single sample": base + 0.1, "consensus clustering": base})
    more = pd.DataFrame({"image": [f"i{k}" for k in range(6)], "input": "single sample", "map": base - 0.3})
    pd.concat([run.scores, more]).to_csv(run.folder / "scores.csv", index=False)
    assert "better on 6 and worse on 0 of 6 images" in verdict(open_run(run.folder), *rivals(run))


def test_images_without_a_score_are_not_paired(scored):
    run = scored({"mmse": [0.5, np.nan, 0.5], "consensus clustering": [0.6, 0.6, np.nan]})
    assert paired(run, *rivals(run)).n_images == 1
    (run.folder / "scores.csv").unlink()
    assert "no image with both scores" in judge(open_run(run.folder))


def test_no_comparison_without_both_sides(scored):
    one = {"mmse": [0.5]}
    for values in (one, {"consensus clustering": [0.5]}, {"mmse": [np.nan], "consensus clustering": [0.5]}):
        assert rivals(scored(values)) is None
    assert rivals(scored(one | {"consensus mutex": [0.5]})) is None  # another consensus did not make the labels


def test_winners_share_the_mark_at_the_shown_digits():
    table = pd.DataFrame({"map": [0.5001, 0.4999, 0.4, np.nan]})
    np.testing.assert_array_equal(winners(table, "map"), [True, True, False, False])
    assert not winners(table, "seg").any()


def test_figure_keeps_the_order_and_marks_the_winner_whoever_it_is(scored):
    values = {"noisy": [0.2], "mmse": [0.5], "consensus a": [0.4]}
    (axes,) = score_figure(scored(values)).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(values)
    assert [text.get_text() for text in axes.texts] == ["0.200", "0.500 best", "0.400"]
    low, high = axes.get_ylim()
    assert low > high


def test_figure_shows_every_image_of_a_real_run(real_run):
    run = open_run(real_run)
    figure = score_figure(run)
    assert [axes.get_title("left") for axes in figure.axes] == ["mAP", "AP at IoU 0.5", "SEG"]
    drawn = {
        line.get_ydata().round()[0]: len(line.get_ydata()) for line in figure.axes[0].lines if len(line.get_ydata()) > 1
    }
    assert drawn == dict.fromkeys(range(len(run.summary)), 4)


def test_figure_without_numbers_is_none(scored):
    assert score_figure(scored({"noisy": [np.nan]})) is None
