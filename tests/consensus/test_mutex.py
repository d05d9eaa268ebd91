import numpy as np
import pytest

from divseg import fuse
from divseg.consensus.contraction import renumber
from divseg.consensus.mutex import mutex_watershed
from divseg.errors import ConfigError


def slow_watershed(n, edges):
    """The definition, with sets of nodes."""
    segment = [{i} for i in range(n)]
    apart = set()
    for a, b, repels in edges:
        one, two = segment[a], segment[b]
        if one is two or any((i, j) in apart for i in one for j in two):
            continue
        if repels:
            apart |= {(a, b), (b, a)}
        else:
            one |= two
            for i in two:
                segment[i] = one
    return np.array([min(s) for s in segment])


@pytest.mark.parametrize("seed", range(25))
def test_watershed_is_the_definition(seed):
    rng = np.random.default_rng(seed)
    n, m = 25, 120
    edges = [(*rng.choice(n, 2, replace=False), bool(rng.random() < 0.4)) for _ in range(m)]
    a, b, repels = (np.array(column) for column in zip(*edges, strict=True))
    assert np.array_equal(renumber(mutex_watershed(n, a, b, repels)), renumber(slow_watershed(n, edges)))


def test_cells_that_touch_are_parted(pair):
    both, merged, left = pair
    result = fuse([both, both, both, merged, left], method="mutex", refine=False)
    assert np.array_equal(result.labels, both)


def test_the_majority_decides_if_cells_are_parted(pair):
    both, merged, _ = pair
    assert np.array_equal(fuse([both] * 2 + [merged] * 3, method="mutex", refine=False).labels, merged)
    assert np.array_equal(fuse([both] * 3 + [merged] * 2, method="mutex", refine=False).labels, both)


def test_a_rare_object_is_whole(pair):
    both, _, left = pair
    masks = [both, both, left, left, left]
    assert np.array_equal(fuse(masks, method="mutex", refine=False).labels, both)
    assert np.array_equal(fuse(masks, method="mutex", refine=False, foreground=0.5).labels, left)


def test_refined_segments_are_the_cells(cells):
    result, best = fuse(cells, method="mutex"), fuse(cells)
    assert np.array_equal(result.labels, best.labels)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"foreground": 1.0}, "foreground=1:"), ({"offsets": (3, 1)}, "offsets=3-1"), ({"offsets": (2.5,)}, "offsets")],
)
def test_impossible_options_are_refused(cells, options, words):
    with pytest.raises(ConfigError, match=words):
        fuse(cells, method="mutex", **options)
