import numpy as np
import pytest

from divseg.errors import DivsegWarning
from divseg.segment.stardist.cap import bearable, keep_best
from divseg.segment.stardist.predict import Candidates


def candidates(n, radius, ndim=2):
    prob = np.random.default_rng(0).random(n).astype(np.float32)
    return Candidates(prob, np.full((n, 4), radius, np.float32), np.zeros((n, ndim), np.int64))


def test_dense_nuclei_pass_and_a_white_background_does_not():
    # 70,000 nuclei of radius 6 in 4096x4096, of which each gives 25 candidates
    assert bearable(candidates(1000, 8), (4096, 4096)) > 70_000 * 25
    # all pixels of 2048x2048
    assert bearable(candidates(1000, 20), (2048, 2048)) < 2048**2
    # fewer and larger volumes cost more
    assert bearable(candidates(9, 10, 3), (64, 512, 512)) < bearable(candidates(9, 10), (64 * 512, 512))
    assert bearable(candidates(0, 1), (5, 5)) == 0


def test_the_best_stay_in_their_order():
    found = candidates(50, 3)
    with pytest.warns(DivsegWarning, match=r"this: 50 of 1,024 grid pixels are object candidates; kept the 7 most"):
        kept = keep_best(found, 7, (64, 64), (2, 2), "this")
    best = np.sort(np.argsort(found.prob)[-7:])
    np.testing.assert_array_equal(kept.prob, found.prob[best])
    assert keep_best(found, None, (64, 64), (2, 2), "this") is found
