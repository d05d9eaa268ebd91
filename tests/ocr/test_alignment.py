import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from typewriter import line

from divseg.ocr.alignment import align, match

words = st.lists(st.text("abcl1 I", min_size=1, max_size=12).filter(str.strip), min_size=1, max_size=6)


@given(words)
@settings(max_examples=30)
def test_every_reading_stands_in_it_whole_and_in_order(texts):
    alignment = align([line(text) for text in texts])
    assert [alignment.text(row) for row in alignment.codes] == [" ".join(text.split()) for text in texts]
    assert (alignment.codes > 0).any(axis=0).all()
    assert ((alignment.confidence > 0) == (alignment.codes > 0)).all()
    assert np.isfinite(alignment.x).all()


@given(st.text("abc d", min_size=1, max_size=20).filter(str.strip), st.integers(1, 5))
@settings(max_examples=30)
def test_equal_readings_need_one_column_a_character(text, count):
    alignment = align([line(text)] * count)
    assert alignment.codes.shape == (count, len(" ".join(text.split())))


def test_a_lost_space_and_a_wrong_letter_shift_nothing():
    texts = ["A short story padded", "Ashort story padded", "A shont story padded", "A short stry padded"]
    alignment = align([line(text) for text in texts])
    assert alignment.codes.shape[1] == len(texts[0])
    shown = ["".join(alignment.alphabet[c - 1] if c else "-" for c in row) for row in alignment.codes]
    assert shown == ["A short story padded", "A-short story padded", "A shont story padded", "A short st-ry padded"]


def test_letters_far_apart_are_not_matched_even_if_equal():
    left, right = line("x", left=0), line("x", left=16)
    assert align([left, right]).codes.tolist() == [[1, 0], [0, 1]]
    near = line("x", left=4)
    assert align([left, near]).codes.tolist() == [[1], [1]]


def test_match_takes_the_cheapest_columns():
    # columns hold a, b, c; a reading of "ac" leaves out the second
    shares = np.eye(4)[1:]
    assert match(np.array([1, 3]), np.array([0.0, 2.0]), shares, np.arange(3.0), 10.0).tolist() == [0, 2]
    assert match(np.array([2]), np.array([50.0]), shares, np.arange(3.0), 10.0).tolist() == [-1]
    assert match(np.array([1]), np.zeros(1), np.zeros((0, 4)), np.zeros(0), 10.0).tolist() == [-1]
