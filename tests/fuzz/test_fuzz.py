"""A few mutated inputs of each kind, always the same ones."""

import pytest

from tests.fuzz.kinds import make_kinds
from tests.fuzz.run import GIGABYTES, fuzz, peak_gigabytes

EACH = 8


def test_mutated_inputs_are_read_or_refused(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz")
    (root / "good").mkdir()
    kinds = make_kinds(root / "good")
    before = peak_gigabytes()
    tally = fuzz(kinds, root, numbers=range(EACH * len(kinds)))
    print("\n".join(tally.lines()))
    assert not tally.findings, "\n\n".join(tally.findings[:5])
    assert peak_gigabytes() < max(GIGABYTES, before + 1)


def test_a_reader_that_fails_is_found(tmp_path):
    """The fuzzer itself: what is neither read nor refused in one line is a finding."""
    from tests.fuzz.kinds import Kind

    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a").write_bytes(b"abc")

    def fails(folder, file):
        raise KeyError("a")

    tally = fuzz({"one": Kind(tmp_path / "good", "a", lambda data, rng: data, fails)}, tmp_path, numbers=[0])
    assert len(tally.findings) == 1
    assert tally.outcomes["one"]["traceback"] == 1


@pytest.mark.parametrize("number", [0, 1, 17])
def test_an_input_is_the_same_every_time(tmp_path, number):
    import numpy as np

    from tests.fuzz import mutate

    data = bytes(range(256)) * 4
    first, again = (mutate.change_bytes(data, np.random.default_rng([0, number])) for _ in range(2))
    assert first == again != data
