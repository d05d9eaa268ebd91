"""What tests of the engine share."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for small_job, which several test files import


@pytest.fixture
def notes(tmp_path):
    """Return a folder of three text files, the numbers 0 to 2."""
    folder = tmp_path / "notes"
    folder.mkdir()
    for i in range(3):
        (folder / f"n{i}.txt").write_text(str(i))
    return folder
