import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from typewriter import INK, PAPER, typed

from divseg.ocr import Page, read_views, subsets
from divseg.ocr.views import READINGS


@given(st.integers(1, 80), st.one_of(st.none(), st.integers(1, 90)), st.integers(0, 5))
@settings(max_examples=50)
def test_subsets_are_of_samples_without_repetition(samples, group, seed):
    chosen = subsets(samples, group, seed=seed)
    size = min(group or max(samples // 4, 1), samples)
    for part in chosen:
        assert len(set(part.tolist())) == len(part) == size
        assert set(part.tolist()) <= set(range(samples))
    assert [part.tolist() for part in chosen] == [part.tolist() for part in subsets(samples, group, seed=seed)]


def test_single_samples_are_all_read_and_means_as_often_as_is_worth_it():
    assert [part.tolist() for part in subsets(3, 1)] == [[0], [1], [2]]
    assert len(subsets(64)) == READINGS
    assert len(subsets(64)[0]) == 16
    assert len(subsets(64, 1)) == 64
    assert len(subsets(64, readings=5)) == 5
    assert [len(part) for part in subsets(64, 64)] == [64]


def test_means_of_samples_are_read_better_than_single_ones(engine):
    text = ["the quick brown fox", "jumps over 12 lazy dogs"]
    clean = typed(text)
    samples = (clean + np.random.default_rng(0).normal(0, 120, (32, *clean.shape))).astype(np.float32)
    page = Page(INK, PAPER)
    true = " ".join(text).split()

    def right(readings):
        return np.mean([sum(word in reading.text.split() for word in true) for reading in readings])

    single = read_views(samples, page, engine, subsets(32, 1))
    means = read_views(samples, page, engine, subsets(32))
    assert (len(single), len(means)) == (32, READINGS)
    assert right(means) > right(single) + 2


def test_enlargements_beside_the_best_are_taken_in_turn():
    seen = []

    class Notes:
        name = "notes"

        def __call__(self, shown):
            from divseg.ocr import Reading

            seen.append(shown.shape[0])
            return Reading()

    samples = np.zeros((4, 10, 12), np.float32)
    read_views(samples, Page(0.0, 1.0, scale=3), Notes(), subsets(4, 1))
    assert seen == [30, 40, 20, 30]
    seen.clear()
    read_views(samples, Page(0.0, 1.0, scale=3), Notes(), subsets(4, 1), around=False)
    assert seen == [30] * 4
