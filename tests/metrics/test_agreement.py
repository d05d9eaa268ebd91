import numpy as np
import pytest

from divseg.errors import InputError
from divseg.metrics import agreement_weights


@pytest.fixture
def cells():
    labels = np.zeros((40, 40), np.uint8)
    labels[2:12, 2:12], labels[20:32, 5:17], labels[22:36, 24:36] = 1, 2, 200
    return labels


def test_an_outlier_counts_little(cells):
    wrong = np.zeros_like(cells)
    wrong[:, 18:23] = 1
    weights = agreement_weights([[cells] * 3, [cells], [cells], [wrong]])
    assert sum(weights) == pytest.approx(1)
    assert weights[0] == pytest.approx(weights[1])
    assert weights[3] < 0.01 < weights[0]


def test_numbers_of_objects_and_order_of_groups_do_not_matter(cells):
    other = cells.copy()
    other[other == 2] = 0
    one = agreement_weights([[cells], [other], [cells.astype(np.int32) * 7]])
    two = agreement_weights([[other], [cells], [cells]])
    assert sorted(one) == pytest.approx(sorted(two))


def test_the_first_group_has_the_share_it_is_given(cells):
    wrong = np.zeros_like(cells)
    wrong[:, 18:23] = 1
    free = agreement_weights([[cells], [cells], [cells], [wrong]])
    held = agreement_weights([[cells], [cells], [cells], [wrong]], first=0.5)
    assert sum(held) == pytest.approx(1)
    assert held[0] == pytest.approx(0.5)
    np.testing.assert_allclose(np.divide(held[1:], held[1]), np.divide(free[1:], free[1]))
    assert agreement_weights([[cells]], first=0.5) == [1.0]
    with pytest.raises(InputError, match=r"first=1\.5"):
        agreement_weights([[cells], [cells]], first=1.5)


def test_alone_empty_and_nothing(cells):
    assert agreement_weights([[cells]]) == [1.0]
    assert agreement_weights([[np.zeros_like(cells)]] * 2) == pytest.approx([0.5, 0.5])
    for groups in ([], [[cells], []]):
        with pytest.raises(InputError, match="at least one label image"):
            agreement_weights(groups)


def test_members_are_compared_over_the_whole_of_a_group(cells):
    """The last members of a long group count as well as the first."""
    wrong = np.zeros_like(cells)
    wrong[:, 18:23] = 1
    mixed = [cells] * 10 + [wrong] * 10
    pure, half, bad = agreement_weights([[cells], mixed, [wrong]])
    assert half > pure == pytest.approx(bad)
