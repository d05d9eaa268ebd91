from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.ocr import Errors, distance, error_table, rates, reliability_table, right_words
from divseg.ocr import Box, Line, Reading, Word, fuse_readings

words = st.lists(st.sampled_from("abc"), max_size=8)


def plain_distance(a, b):
    if not a or not b:
        return len(a) + len(b)
    return min(
        plain_distance(a[1:], b) + 1, plain_distance(a, b[1:]) + 1, plain_distance(a[1:], b[1:]) + (a[0] != b[0])
    )


@given(st.text("abc", max_size=5), st.text("abc", max_size=5))
@settings(max_examples=40)
def test_distance_is_that_of_levenshtein(a, b):
    assert distance(a, b) == plain_distance(a, b)


def test_rates_count_white_space_once():
    assert rates("one  two\n", "one two") == (0, 0)
    assert rates("one tvo", "one two") == (1 / 7, 1 / 2)
    assert rates("", "one two") == (1, 1)


def fused(text):
    box = Box(0, 0, 10, 10)
    line = Line(tuple(Word(word, Box(30 * k, 0, 30 * k + 20, 10), 0.9) for k, word in enumerate(text.split())))
    assert box.height == line.box.height
    return fuse_readings([Reading((line,))])


@given(words, words)
@settings(max_examples=30)
def test_as_many_words_are_right_as_the_fewest_edits_leave(read, true):
    found = right_words(fused(" ".join(read)), " ".join(true)) if read else []
    assert len(found) == len(read)
    assert sum(ok for _, ok in found) <= min(len(read), len(true))
    if read == true:
        assert all(ok for _, ok in found)


def test_tables_pair_pages():
    rows = [
        Errors("n40", page, method, value, value)
        for page, value in (("a", 0.2), ("b", 0.6))
        for method, value in (("MMSE", value), ("fused, 64 samples", value - 0.1))
    ]
    table = error_table(rows)
    assert "| n40 | MMSE | 0.400 | 0.400 | -0.100 (-0.100 to -0.100) |" in table
    assert "| n40 | fused, 64 samples | 0.300 | 0.300 |  |" in table
    assert "| n40 | 0.8 to 0.95 | 2 | 0.85 | 0.50 |" in reliability_table({"n40": [(0.85, True), (0.85, False)]})
