"""The setting that says what a run keeps."""

import pytest

from divseg.config import KEEP
from divseg.errors import ConfigError
from divseg.results.kept import KINDS, Kept


def test_the_default_keeps_what_another_fusion_needs():
    kept = Kept.of(KEEP)
    assert {"denoised", "std", "stacks"} <= kept.kinds <= set(KINDS)
    assert kept.samples == 0


def test_names_and_numbers():
    kept = Kept.of(["labels", "std", "samples=5", "objects"])
    assert kept.kinds == {"std", "samples"}
    assert ("std" in kept, "stacks" in kept, kept.samples) == (True, False, 5)
    assert kept.of_stage("denoised", "std", "samples") == ("std", "samples=5")
    assert Kept.of(["none"]) == Kept(frozenset(), 0)
    assert Kept.of(["all"]) == Kept(frozenset(KINDS), 2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("roi", "unknown 'roi'; did you mean 'rois'"),
        ("std=3", "unknown 'std=3'"),
        ("samples=0", "say how many samples"),
        ("samples=many", "say how many samples"),
    ],
)
def test_other_names_are_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        Kept.of(["std", name])
