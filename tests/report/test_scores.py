import numpy as np
import pandas as pd
import pytest

from divseg.report.scores import compare, score_figure, summary_table, verdict, winners
from divseg.results.reader import Results


def results(scores=(), summary=(), config=None):
    empty = pd.DataFrame()
    return Results(
        None,
        {"config": config or {}},
        empty,
        empty,
        pd.DataFrame(scores),
        pd.DataFrame(summary),
        empty,
        empty,
    )


def per_image(values):
    """Score rows from {input: [mAP of image 0, 1, ...]}."""
    return [
        {"image": f"i{k}", "input": name, "map": value} for name, row in values.items() for k, value in enumerate(row)
    ]


def judge(values, summary=None, config=None):
    run = results(per_image(values), summary or [], config)
    table, _ = summary_table(run)
    comparison = compare(run, table)
    return comparison, verdict(comparison, table)


def test_clear_win_is_said_so():
    base = np.linspace(0.3, 0.6, 8)
    comparison, words = judge({"mmse": base, "consensus clustering": base + 0.1})
    assert comparison.wins == 8
    assert comparison.interval == pytest.approx((0.1, 0.1))
    assert "is above the best baseline (mmse)" in words
    assert "better on 8 and worse on 0 of 8 images" in words
    assert words.endswith("the consensus is better.")


def test_losing_is_never_rosy():
    base = np.linspace(0.3, 0.6, 8)
    _, words = judge({"noisy": base - 0.2, "gaussian sd=2": base, "consensus clustering": base - 0.1})
    assert "is below the best baseline (gaussian sd=2)" in words
    assert words.endswith("the baseline is better.")


def test_small_difference_is_not_called_better():
    rng = np.random.default_rng(0)
    base = rng.uniform(0.3, 0.6, 10)
    _, words = judge({"mmse": base, "consensus clustering": base + rng.normal(0.002, 0.05, 10)})
    assert "does not show that one is better" in words


def test_equal_at_the_shown_digits_is_level():
    _, words = judge({"mmse": [0.5] * 6, "consensus clustering": [0.5001] * 6})
    assert "is level with the best baseline" in words
    assert "a difference of" not in words


def test_few_images_allow_no_statement():
    comparison, words = judge({"mmse": [0.2, 0.2], "consensus clustering": [0.9, 0.9]})
    assert comparison.interval is None
    assert "too few" in words


def test_best_gaussian_is_paired_with_its_rows_and_single_samples_are_averaged():
    base = np.linspace(0.3, 0.6, 6)
    scores = per_image({"gaussian sd=2": base, "consensus majority": base - 0.05})
    summary = [{"input": "best gaussian (sd=2)", "map": 0.45}, {"input": "consensus majority", "map": 0.40}]
    run = results(scores, summary)
    comparison = compare(run, summary_table(run)[0])
    assert comparison.pairs == 6
    assert comparison.losses == 6
    scores = per_image({"single sample": base + 0.1, "consensus majority": base})
    scores += per_image({"single sample": base - 0.3})
    run = results(scores, [{"input": "single sample", "map": 0.35}, {"input": "consensus majority", "map": 0.45}])
    assert compare(run, summary_table(run)[0]).wins == 6


def test_the_consensus_of_the_run_is_the_one_judged():
    base = np.full(6, 0.4)
    values = {"mmse": base, "consensus clustering": base + 0.1, "consensus majority": base - 0.1}
    comparison, words = judge(values, config={"consensus": {"method": "majority"}})
    assert comparison.consensus == "consensus majority"
    assert "below" in words


def test_images_without_a_score_are_not_paired():
    comparison, _ = judge({"mmse": [0.5, np.nan, 0.5], "consensus x": [0.6, 0.6, np.nan]})
    assert comparison.pairs == 1


def test_no_comparison_without_both_sides():
    for values in ({"mmse": [0.5]}, {"consensus x": [0.5]}, {"mmse": [np.nan], "consensus x": [0.5]}):
        run = results(per_image(values))
        assert compare(run, summary_table(run)[0]) is None


def test_winners_share_the_mark_at_the_shown_digits():
    table = pd.DataFrame({"map": [0.5001, 0.4999, 0.4, np.nan]})
    np.testing.assert_array_equal(winners(table, "map"), [True, True, False, False])
    assert not winners(table, "seg").any()


def test_figure_keeps_the_order_and_marks_the_winner_whoever_it_is():
    values = {"noisy": [0.2], "mmse": [0.5], "consensus a": [0.4]}
    run = results(per_image(values))
    table, note = summary_table(run)
    assert "scores.csv" in note
    figure = score_figure(run, table)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(values)
    assert [text.get_text() for text in axes.texts] == ["0.200", "0.500 best", "0.400"]
    low, high = axes.get_ylim()
    assert low > high


def test_figure_without_numbers_is_none():
    run = results(per_image({"noisy": [np.nan]}))
    assert score_figure(run, summary_table(run)[0]) is None
