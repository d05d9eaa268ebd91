"""Kinds of warnings."""

import pytest

from divseg.errors import CONCERNS, concern_of


@pytest.mark.parametrize("concern", CONCERNS, ids=lambda c: c.lead)
def test_a_warning_tells_its_kind(concern):
    assert concern_of(concern.says("3 of 4")) is concern
    assert concern_of(concern.lead) is concern


def test_other_warnings_are_of_no_kind():
    assert concern_of("stack.npz is damaged") is None
