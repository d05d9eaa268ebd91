import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typewriter import line

from divseg.ocr.alignment import align
from divseg.ocr.vote import vote

texts = st.lists(st.text("abcl1 I", min_size=1, max_size=10).filter(str.strip), min_size=1, max_size=6)


def words(texts, confidences=None, **how):
    sure = confidences or [0.9] * len(texts)
    return vote(align([line(text, c) for text, c in zip(texts, sure, strict=True)]), **how)


@given(texts, st.floats(0, 2))
@settings(max_examples=30)
def test_probabilities_are_probabilities(texts, weight):
    for word in words(texts, weight=weight):
        options = [word.confidence, *(option.probability for option in word.alternatives)]
        assert min(options) >= 0
        assert sum(options) <= 1 + 1e-9
        assert options == sorted(options, reverse=True)
        assert "".join(letter.text for letter in word.letters).split() == word.text.split()
        for letter in word.letters:
            assert letter.confidence + sum(o.probability for o in letter.alternatives) <= 1 + 1e-9


@given(st.text("abc d", min_size=1, max_size=20).filter(str.strip), st.integers(1, 4))
@settings(max_examples=30)
def test_readings_that_agree_are_certain(text, count):
    found = words([text] * count)
    assert [word.text for word in found] == text.split()
    assert [word.confidence for word in found] == pytest.approx([1.0] * len(found))
    assert not any(word.alternatives for word in found)


@given(texts)
@settings(max_examples=30)
def test_the_order_of_equally_sure_readings_of_one_length_does_not_matter(texts):
    texts = [text.replace(" ", "a")[:1] * 4 for text in texts]
    assert [w.text for w in words(texts)] == [w.text for w in words(texts[::-1])]


def test_the_majority_wins_by_character_and_knows_words_that_no_reading_has():
    found = words(["1iterary", "lite7ary", "litera2y"])
    assert [word.text for word in found] == ["literary"]
    # all readings differ, so only the votes by character count, two of three for each of three characters
    assert found[0].confidence == pytest.approx((2 / 3) ** 3)
    assert found[0].letters[0].alternatives[0].text == "1"
    # if most readings agree on a word, its share counts
    agreed = words(["1iterary"] * 4 + ["lite7ary", "litera2y"])[0]
    assert agreed.text == "1iterary"
    assert agreed.confidence == pytest.approx(4 / 6 * 4 / 6 + 2 / 6 * 4 / 6 * 5 / 6 * 5 / 6)


def test_a_word_of_many_readings_wins_over_the_mixture_of_its_letters():
    found = words(["cat"] * 3 + ["dog"] * 2 + ["cog"] * 2)
    assert [word.text for word in found] == ["cat"]
    assert {option.text for option in found[0].alternatives} >= {"dog", "cog"}


def test_a_sure_reading_counts_more():
    assert [w.text for w in words(["ab", "ac"], [0.2, 0.9])] == ["ac"]
    assert [w.text for w in words(["ab", "ac"], [0.9, 0.2])] == ["ab"]
    alike = words(["ab", "ac", "ab"], [0.1, 0.9, 0.1], weight=0.0)
    assert alike[0].text == "ab"


def test_spaces_are_voted_on():
    assert [w.text for w in words(["a short one", "ashort one", "a short one"])] == ["a", "short", "one"]
    joined = words(["ashort one", "ashort one", "a short one"])
    assert [w.text for w in joined] == ["ashort", "one"]
    assert joined[0].alternatives[0].text == "a short"
    assert np.isclose(joined[0].confidence + joined[0].alternatives[0].probability, 1)


def test_what_most_readings_lack_is_left_out():
    assert [w.text for w in words(["one", "one", "one x"])] == ["one"]
