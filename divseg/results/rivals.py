"""The file of truth, and of the label images that the consensus of an image is compared with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divseg.io.atomic import replacing
from divseg.results.archive import reading

TRUTH = "truth"


def save_rivals(
    path: str | os.PathLike[str], truth: NDArray[np.integer], labels: Mapping[str, NDArray[np.integer]]
) -> None:
    """Write truth and label images of one shape.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    arrays: dict[str, Any] = {name: np.asarray(image, np.uint32) for name, image in {TRUTH: truth, **labels}.items()}
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)


def load_rivals(path: Path) -> dict[str, NDArray[np.uint32]]:
    """Read what :func:`save_rivals` wrote: label images by name, ``truth`` among them.

    Raises
    ------
    FileProblem
        If the file is missing or damaged.
    """
    with reading(path) as arrays:
        if TRUTH not in arrays:
            raise ValueError("it has no truth")
        if any(image.shape != arrays[TRUTH].shape or image.dtype != np.uint32 for image in arrays.values()):
            raise ValueError("its label images do not fit together")
        return arrays
