"""Powers that are chosen on other sets, and the fields that no rule was tuned on."""

import numpy as np
import pytest

from benchmarks.fields import KINDS, draw_field
from benchmarks.untuned.powers import FIGURES, Table, fit_powers
from divseg.workflow.segmenter_support import Support


def tables(which, count=4):
    """Sets whose candidates are as good as one of the figures says."""
    rng = np.random.default_rng(0)
    out = []
    for _ in range(count):
        support = rng.uniform(0.2, 1, (30, 3, len(Support._fields)))
        score = support[..., Support._fields.index(which)]
        out.append(Table(tuple(map(str, range(30))), support, score))
    return out


@pytest.mark.parametrize(("field", "figure"), [("explained", "explained"), ("edges", "edges")])
def test_the_figure_that_tells_gets_the_power(field, figure):
    *others, left = tables(field)
    powers = fit_powers(others)
    assert FIGURES[int(np.argmax(powers))] == figure
    assert powers[0] == 1
    assert (powers >= 0).all()
    even = left.loss(np.ones(len(FIGURES)))[0]
    assert left.loss(powers)[0] < even


def test_the_loss_is_against_the_best_in_hindsight():
    table = tables("explained", 1)[0]
    loss, pick = table.loss(np.array([0.0, 1.0, 0.0, 0.0]))
    assert loss == 0
    assert pick == int(np.argmax(table.quality))
    worst = int(np.argmin(table.quality))
    assert table.loss(np.array([0.0, -1.0, 0.0, 0.0])) == (pytest.approx(np.ptp(table.quality)), worst)


@pytest.mark.parametrize("kind", KINDS)
def test_fields_are_the_same_each_time(kind):
    image, labels = draw_field(kind, 3)
    again = draw_field(kind, 3)
    np.testing.assert_array_equal(image, again[0])
    np.testing.assert_array_equal(labels, again[1])
    numbers = np.unique(labels)
    assert numbers.tolist() == list(range(len(numbers)))
    assert len(numbers) == 1 if kind == "field_empty" else len(numbers) > 5
    if kind != "field_empty":
        assert image[labels > 0].mean() > image[labels == 0].mean()
    if kind == "field_small":  # the seed counts, for all kinds in the same way
        assert not np.array_equal(labels, draw_field(kind, 4)[1])
