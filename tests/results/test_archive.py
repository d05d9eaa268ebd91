"""Archives of arrays in a run folder."""

import numpy as np
import pytest

from divseg.errors import FileProblem
from divseg.results.archive import reading


def test_arrays_come_back_by_name(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", one=np.arange(3), two=np.eye(2))
    with reading(tmp_path / "a.npz") as arrays:
        np.testing.assert_array_equal(arrays["one"], [0, 1, 2])
        np.testing.assert_array_equal(arrays["two"], np.eye(2))


@pytest.mark.parametrize("damage", ["missing", "text", "one array"])
def test_a_file_that_is_no_archive_is_one_line(tmp_path, damage):
    path = tmp_path / "a.npz"
    if damage == "text":
        path.write_text("no archive")
    if damage == "one array":
        with open(path, "wb") as file:
            np.save(file, np.arange(3))
    with pytest.raises(FileProblem, match=r"a\.npz.*run again") as told, reading(path):
        pass
    assert "\n" not in str(told.value)


def test_what_the_block_finds_is_told_with_the_file(tmp_path):
    np.savez(tmp_path / "a.npz", one=np.arange(3))
    with (
        pytest.raises(FileProblem, match=r"a\.npz: it cannot be read .'two'.*run again"),
        reading(tmp_path / "a.npz") as arrays,
    ):
        arrays["two"]
