import numpy as np
import pytest

from divseg import fuse
from divseg.consensus.voting import _bar
from divseg.errors import ConfigError, InputError


def row(*spans, width=24):
    image = np.zeros((3, width), int)
    for label, (a, b) in enumerate(spans, 1):
        image[:, a:b] = label
    return image


def spans(labels):
    """Begin and end of each object in the first row."""
    line = labels[0]
    return [
        (int(np.flatnonzero(line == i)[0]), int(np.flatnonzero(line == i)[-1]) + 1) for i in range(1, line.max() + 1)
    ]


def vote(masks, markers, **options):
    return spans(fuse(masks, method="voting", markers=markers, **options).labels)


def test_a_pixel_needs_its_share_of_all_votes():
    masks = [row((0, 4)), row((0, 6)), row((0, 8)), row()]
    marker = row((1, 3))
    assert vote(masks, marker, threshold=0.75) == [(0, 4)]
    assert vote(masks, marker) == [(0, 6)]
    assert vote(masks, marker, threshold=0.25) == [(0, 8)]
    assert vote(masks, marker, threshold=0.8) == [], "the sample without the object abstains, but counts"


def test_a_sample_votes_if_its_object_covers_most_of_the_marker():
    masks = [row((0, 8)), row((0, 8)), row((2, 8))]
    assert vote(masks, row((0, 4)), threshold=0.9) == []
    assert vote(masks, row((0, 5)), threshold=0.9) == [(2, 8)]


def test_objects_without_marker_are_not_found():
    masks = [row((0, 6), (8, 14))] * 2 + [row((0, 6), (8, 15))]
    assert vote(masks, row((2, 4))) == [(0, 6)]
    assert spans(fuse(masks, method="voting").labels) == [(0, 6), (8, 14)]


def test_weights_move_the_border():
    masks = [row((0, 4)), row((0, 6)), row((0, 8))]
    for order in ([0, 1, 2], [2, 0, 1]):
        weights = np.array([1, 1, 5])[order]
        assert vote([masks[k] for k in order], row((0, 2)), weights=weights) == [(0, 8)]


def test_collisions_are_dropped_or_grown_into():
    """Two cells of ten columns; two of four samples hold one object of column 9 to 11 too many."""
    masks = [row((0, 10), (10, 20))] * 2 + [row((0, 12), (12, 20)), row((0, 8), (8, 20))]
    markers = row((2, 6), (14, 18))
    assert vote(masks, markers) == [(0, 10), (10, 20)]
    loose = {"threshold": 0.25, "markers": markers}
    grown = fuse(masks, method="voting", **loose)
    assert len(grown.objects) == 0, "a third of each is in collision"
    masks = [row((0, 10), (10, 20))] * 2 + [row((0, 11), (11, 20)), row((0, 10), (10, 21))]
    assert vote(masks, markers, threshold=0.25, collisions="drop") == [(0, 10), (11, 21)]
    assert vote(masks, markers, threshold=0.25) == [(0, 10), (10, 21)], "three votes against one"
    masks.append(row((0, 20)))
    assert vote(masks, markers, threshold=0.2) == [], "a merged object collides with itself"


def test_simple_puts_bad_objects_aside():
    good = [row((0, 8)), row((0, 8)), row((0, 9))]
    bad = [row((0, 16)), row((0, 17)), row((0, 18))]
    marker = row((0, 4))
    assert vote([*good, good[0], *bad], marker, scheme="simple") == [(0, 8)]
    assert vote([*good, good[0], *bad], marker, threshold=3 / 7) == [(0, 16)]


def test_simple_does_not_count_those_that_abstain():
    masks = [row((0, 6)), row((0, 7)), row(), row(), row()]
    assert vote(masks, row((0, 4)), scheme="simple") in ([(0, 6)], [(0, 7)])
    assert vote(masks, row((0, 4))) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scheme": "plain"}, "scheme must be one of flat, simple"),
        ({"collisions": "keep"}, "collisions must be one of grow, drop"),
        ({"threshold": 0.0}, "threshold must be a number from 0.01 to 1"),
        ({"markers": np.zeros((4, 4), int)}, r"markers have shape \(4, 4\) but the masks have shape \(72, 72\)"),
        ({"markers": np.zeros((72, 72))}, "markers: a label image holds integers"),
    ],
)
def test_impossible_options_are_refused(cells, options, words):
    with pytest.raises((ConfigError, InputError), match=words):
        fuse(cells, method="voting", **options)


def test_a_marker_without_enough_votes_gets_the_mask_that_agrees_best():
    masks = [row((0, 6)), row((0, 7)), row((0, 12)), row(), row(), row(), row()]
    marker = row((0, 4), (16, 20))
    assert vote(masks, marker) == []
    assert vote(masks, marker, fail_safe=True) == [(0, 7)], "a marker that no sample holds stays without mask"
    assert vote(masks, marker, fail_safe=True, weights=[2, 2, 3, 1, 1, 3, 3]) == [(0, 12)], "weight goes before IoU"
    assert vote(masks, marker, fail_safe=True, weights=[3, 2, 2, 1, 1, 3, 3]) == [(0, 6)]
    for other in ({"threshold": 2 / 7}, {"scheme": "simple"}):
        assert vote(masks, marker, fail_safe=True, **other) == vote(masks, marker, **other) == [(0, 7)]


def test_inserted_masks_collide_like_others():
    masks = [row((0, 8)), row((7, 14)), *[row()] * 3]
    markers = row((0, 6), (9, 14))
    assert vote(masks, markers, fail_safe=True) == [(0, 8), (8, 14)]
    assert vote(masks, markers, fail_safe=True, collisions="drop") == [], "an eighth and a seventh in collision"


def test_markers_that_clustering_finds_are_not_lost():
    masks = [row((0, 6)), row((0, 7)), row((0, 6)), row(), row(), row(), row()]
    assert fuse(masks).labels.any(), "two in five are enough for the greatest expected score"
    assert fuse(masks, method="voting").labels.any()
    assert not fuse(masks, method="voting", fail_safe=False).labels.any()


def test_a_tenth_in_collision_is_not_more_than_a_tenth():
    masks, markers = [row((0, 10))] * 2 + [row((9, 19))] * 2, row((2, 6), (12, 16))
    assert vote(masks, markers, collisions="drop") == [(0, 9), (10, 19)]
    masks = [row((0, 9))] * 2 + [row((8, 17))] * 2
    assert vote(masks, markers, collisions="drop") == [], "a ninth is"


@pytest.mark.parametrize("width", range(5, 11))
def test_of_equally_heavy_single_masks_the_middle_one_is_taken(width):
    """Whatever the canonical order of the samples."""
    masks = [row((0, width)), row((0, width + 1)), row((0, 2 * width)), *[row()] * 4]
    assert vote(masks, row((0, 4)), fail_safe=True) == [(0, width + 1)]


def test_the_bar_of_simple_begins_at_the_best_member_and_ends_at_three_tenths():
    assert _bar(np.array([0, 0, 1, 2]), np.array([0.95, 0.2, 0.45, 0.12])).tolist() == [0.7, 0.4, 0.3]


def test_samples_that_agree_are_still_voted_on_with_markers():
    assert vote([row((0, 8), (10, 20))] * 2, row((2, 7))) == [(0, 8)]
