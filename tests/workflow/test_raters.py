"""Raters of simulated images: the best few of each kind."""

import pandas as pd
import pytest

from divseg.segment import segmenter
from divseg.workflow.raters import OF_EACH_KIND, best_raters, possible_raters


def ranking(names, scores):
    return pd.DataFrame({"segmenter": names, "score": scores}).sort_values("score", ascending=False, ignore_index=True)


def test_the_best_of_each_kind_whatever_the_other_kind_has():
    names = possible_raters()
    network = [name.startswith("stardist") for name in names]
    table = ranking(names, [1.0 + k / 100 if net else k / 1000 + 0.001 for k, net in enumerate(network)])
    made = best_raters(table, "otsu")
    thresholdings = [name for name in names if not name.startswith("stardist")]
    scales = [name for name in names if name.startswith("stardist")]
    assert made == [*thresholdings[::-1][:OF_EACH_KIND], *scales[::-1][:OF_EACH_KIND]]


def test_the_segmenter_of_the_run_and_what_finds_nothing_are_left_out():
    names = possible_raters()
    own = names[0]
    table = ranking(names, [2.0, 1.0, *[0.0] * (len(names) - 2)])
    assert best_raters(table, own) == [names[1]]
    assert best_raters(table, f"{own} + {names[1]}") == []


@pytest.mark.parametrize("name", possible_raters())
def test_names_are_canonical(name):
    assert segmenter(name).name == name
