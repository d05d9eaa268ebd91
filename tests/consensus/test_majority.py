import numpy as np

from divseg import fuse


def test_majority_of_the_pixels_and_pieces(pair):
    both, _, left = pair
    result = fuse([both, both, left], method="majority")
    assert np.array_equal(result.labels > 0, both > 0)
    assert len(result.objects) == 1, "touching objects merge: the known weakness"
    assert not fuse([both, np.zeros_like(both)], method="majority").labels.any(), "half is no majority"


def test_weights_follow_their_samples(pair):
    both, _, left = pair
    masks = [left, both, left, both]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2]):
        heavy = fuse([masks[k] for k in order], method="majority", weights=[1 + 2 * (k % 2) for k in order])
        assert np.array_equal(heavy.labels > 0, both > 0)
        light = fuse([masks[k] for k in order], method="majority", weights=[1 + 2 * (k % 2 == 0) for k in order])
        assert np.array_equal(light.labels > 0, left > 0)
