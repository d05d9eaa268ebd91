"""Archives of arrays in a run folder: whatever is wrong with one is told in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from divseg.errors import DAMAGE, FileProblem, one_line
from divseg.io.arrays import read_arrays


@contextmanager
def reading(path: Path) -> Iterator[dict[str, NDArray[Any]]]:
    """Read an archive, and look at what it holds in a with block.

    Parameters
    ----------
    path : path
        An .npz file.

    Yields
    ------
    dict of str to array
        Its arrays by name.

    Raises
    ------
    FileProblem
        If the file is missing or damaged, or the block finds that it does not hold what it should.
    """
    try:
        arrays = read_arrays(path)
        if not isinstance(arrays, dict):
            raise ValueError("it is not an archive")
        yield arrays
    except DAMAGE as error:
        raise FileProblem(path, f"it cannot be read ({one_line(error)})", "run again") from error
