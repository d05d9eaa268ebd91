import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typewriter import INK, PAPER, line, typed

from divseg.errors import InputError
from divseg.ocr import Page, Reading, fuse_readings
from divseg.ocr.fuse import COLUMNS

TEXT = ["the quick brown fox", "jumps over 12 lazy dogs"]


def test_fused_readings_of_noisy_pages_beat_single_ones(engine):
    """Each page has noise of its own, as samples have errors of their own; no reading is right, the fused one is."""
    rng = np.random.default_rng(0)
    page = Page(INK, PAPER)
    pages = [typed(TEXT) + rng.normal(0, 90, typed(TEXT).shape) for _ in range(15)]
    readings = [page.read(noisy, engine) for noisy in pages]
    truth = "\n".join(TEXT) + "\n"
    assert sum(reading.text == truth for reading in readings) <= 3
    fused = fuse_readings(readings)
    assert fused.text == truth
    table = fused.table()
    assert list(table.columns) == COLUMNS
    assert table["text"].tolist() == truth.split()
    assert table["confidence"].between(0.2, 1).all()
    assert table["line"].tolist() == [0] * 4 + [1] * 5
    quick = table.iloc[1]
    assert (quick["left"], quick["top"]) == pytest.approx((5 * 14, 20), abs=4)
    assert (quick["width"], quick["height"]) == pytest.approx((5 * 14, 20), abs=6)


@given(st.integers(1, 5), st.sampled_from(["one two", "a", "x1 y2 z3"]))
@settings(max_examples=30)
def test_one_text_read_again_and_again_is_itself(count, text):
    fused = fuse_readings([Reading((line(text),))] * count)
    assert fused.text == f"{text}\n"
    assert (fused.table()["confidence"] == 1).all()
    assert (fused.table()["alternatives"] == "").all()


def test_lines_of_few_readings_are_left_out():
    there = Reading((line("here"), line("ghost", top=40)))
    readings = [there] + [Reading((line("here"),))] * 9
    assert fuse_readings(readings).text == "here\n"
    kept = fuse_readings(readings, existence=0.1)
    assert [of.existence for of in kept.lines] == [1.0, 0.1]


def test_alternatives_of_nothing_and_with_a_space_can_be_told_apart():
    fused = fuse_readings([Reading((line(text),)) for text in ("ab c", "abc", "abc", "ab c", "abc")])
    assert fused.table()["alternatives"].iloc[0].startswith("ab␣c:0.")


def test_no_text_is_no_line_and_no_reading_an_error():
    empty = fuse_readings([Reading(), Reading()])
    assert (empty.text, len(empty.table())) == ("", 0)
    with pytest.raises(InputError, match="no reading"):
        fuse_readings([])
