import math

import pandas as pd
import pytest

from divseg.report import facts
from divseg.results.reader import Results


def results(run=None, **tables):
    empty = pd.DataFrame()
    parts = ("images", "objects", "scores", "summary", "failures", "training")
    return Results(None, run or {}, *(pd.DataFrame(tables.get(name, empty)) for name in parts))


@pytest.mark.parametrize(
    ("value", "digits", "words"),
    [
        (1234567, 0, "1\u202f234\u202f567"),
        (0.12345, 3, "0.123"),
        (math.nan, 2, "\u2013"),
        (None, 2, "\u2013"),
        ("x", 0, "\u2013"),
    ],
)
def test_number(value, digits, words):
    assert facts.number(value, digits) == words


@pytest.mark.parametrize(("value", "words"), [(5, "5.0 s"), (754.2, "12.6 min"), (90000, "25.0 h"), (None, "\u2013")])
def test_duration(value, words):
    assert facts.duration(value) == words


def test_overview_without_numbers_claims_none():
    cards = {name: value for name, value, _ in facts.overview(results(objects={"image": ["a"], "existence": [None]}))}
    assert cards["median existence"] == cards["existence below 0.5"] == "\u2013"


def test_flatten_keeps_every_setting():
    config = {"a": {"b": 1, "c": {}}, "d": [1, 2], "e": None, "f": "µm"}
    assert facts.flatten(config) == [("a.b", "1"), ("a.c", "{}"), ("d", "[1, 2]"), ("e", "null"), ("f", "µm")]


def test_warnings_are_gathered():
    images = {"image": [f"i{k}" for k in range(8)], "warnings": ["dim\nsmall"] + ["dim"] * 6 + [""]}
    assert facts.warnings(results(images=images)) == [
        ("dim", 7, "i0, i1, i2, i3, i4 and 2 more"),
        ("small", 1, "i0"),
    ]


def test_stardist_is_cited_when_used():
    assert not any("star-convex" in line for line in facts.citations(results({"config": {"segmenter": "otsu"}})))
    used = facts.citations(results({"config": {"segmenter": "stardist:nuclei"}, "divseg": "1.2"}))
    assert any("star-convex" in line for line in used)
    assert used[0].startswith("divseg 1.2")


def test_training_facts_keep_what_they_do_not_know():
    record = {
        "steps": 4000,
        "seconds": 60,
        "noise": {"kind": "poisson-gaussian", "a": 1.5, "b": 9},
        "restarts": 2,
    }
    assert facts.training_facts(results({"training": record})) == [
        ("steps", "4\u202f000"),
        ("time", "60.0 s"),
        ("noise model", "Poisson-Gaussian, variance = 1.5 · signal + 9"),
        ("restarts", "2"),
    ]
    assert facts.training_facts(results({"training": {"noise": {"kind": "gaussian", "sd": 20}}})) == [
        ("noise model", "gaussian, sd = 20")
    ]
    assert facts.training_facts(results({"training": None})) == []
