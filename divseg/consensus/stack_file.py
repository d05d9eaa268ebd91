"""File of a label stack: an .npz archive of the runs of its label images, small and quick to read."""

from __future__ import annotations

import io
import lzma
import math
import os
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divseg.consensus.run_lengths import RunLengths
from divseg.errors import DAMAGE, InputError, one_line
from divseg.io import write_bytes
from divseg.io.arrays import read_archive
from divseg.io.limits import limit_bytes

FORMAT = "divseg label stack 1"

LEVEL = 1
"""Compression of zlib: the fastest one already takes out the repetitions from row to row."""

_ARRAYS = ("shape", "units", "n_runs", "n_objects", "scored", "gaps", "lengths", "objects", "prob")

_DAMAGE = (*DAMAGE, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
"""What reading an archive raises if it is damaged or not one."""


def write_stack(
    path: str | os.PathLike[str], shape: tuple[int, ...], images: tuple[RunLengths, ...], units: NDArray[np.int64]
) -> None:
    """Write the runs of label images and their weights, wholly or not at all; equal stacks make equal bytes.

    Parameters
    ----------
    path : path
        The file.
    shape : tuple of int
        Shape of each label image, (Y, X) or (Z, Y, X).
    images : tuple of K RunLengths
        The label images.
    units : int64 array, shape (K,)
        Weight of each.
    """
    # the background before a run is mostly shorter than its flat index is large
    gaps = [np.diff(r.starts, prepend=0) - np.concatenate([[0], r.lengths[:-1]])[: len(r.starts)] for r in images]
    probs = [r.prob for r in images if r.prob is not None]
    arrays = (
        np.array(shape, np.int64),
        units,
        np.array([len(r.starts) for r in images], np.int64),
        np.array([r.n_objects for r in images], np.int64),
        np.array([r.prob is not None for r in images]),
        _small(gaps),
        _small([r.lengths for r in images]),
        _small([r.objects for r in images]),
        np.concatenate([np.empty(0), *probs]).astype(np.float32),
    )
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as file:
        contents: list[NDArray[Any]] = [np.array(FORMAT.encode()), *arrays]
        for name, array in zip(("format", *_ARRAYS), contents, strict=True):
            with file.open(f"{name}.npy", "w") as part:
                np.lib.format.write_array(part, array, allow_pickle=False)
    write_bytes(path, archive.getvalue())


def read_stack(path: str | os.PathLike[str]) -> tuple[tuple[int, ...], tuple[RunLengths, ...], NDArray[np.int64]]:
    """Read what :func:`write_stack` wrote.

    Raises
    ------
    InputError
        There is no such file, it is damaged, or it is not a label stack of this version.
    """
    where = os.fspath(path)
    try:
        with zipfile.ZipFile(where) as archive:
            if "format.npy" not in archive.namelist():
                raise InputError(f"{where}: not a label stack; give a file that LabelStack.save wrote")
            arrays = read_archive(archive)
            form = arrays["format"].tobytes().rstrip(b"\0").decode(errors="replace")
            if form != FORMAT:
                raise InputError(f"{where}: has the format {form!r}, this version reads {FORMAT!r}; make it anew")
            return _images(arrays)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{where}: there is no such file; give a label stack that LabelStack.save wrote") from None
    except _DAMAGE as error:
        raise InputError(f"{where}: not a label stack, or a damaged one ({one_line(error)}); make it anew") from None


def _images(arrays: dict[str, NDArray[Any]]) -> tuple[tuple[int, ...], tuple[RunLengths, ...], NDArray[np.int64]]:
    """Return the parts of a stack; ValueError, KeyError or IndexError if they do not fit one another."""
    wrong = [n for n in _ARRAYS if arrays[n].ndim != 1 or arrays[n].dtype.kind not in ("f" if n == "prob" else "bui")]
    if wrong:
        raise ValueError(f"its array {wrong[0]} has the wrong type")
    shape = tuple(arrays["shape"].tolist())
    units, n_runs, n_objects, scored = (arrays[n] for n in ("units", "n_runs", "n_objects", "scored"))
    if len({len(a) for a in (units, n_runs, n_objects, scored)}) > 1:
        raise ValueError("its arrays do not fit one another")
    runs = np.concatenate([[0], np.cumsum(n_runs)])
    probs = np.concatenate([[0], np.cumsum(n_objects * scored)])
    gaps, lengths, objects = (arrays[n] for n in ("gaps", "lengths", "objects"))
    prob = arrays["prob"].astype(np.float64)
    sizes = {len(gaps), len(lengths), len(objects), int(runs[-1])}
    fitting = len(shape) in (2, 3) and len(sizes) == 1 and int(probs[-1]) == len(prob)
    if not fitting or units.min() < 0 or not units.any() or min(n_runs.min(), n_objects.min(), *shape) < 0:
        raise ValueError("its arrays do not fit one another")
    if 4 * math.prod(shape) > limit_bytes() or (n_objects > n_runs).any():
        raise ValueError(f"it claims {n_objects.max()} objects in images of shape {shape}")
    images = []
    for k, n in enumerate(n_objects.tolist()):
        part = slice(runs[k], runs[k + 1])
        length, number = lengths[part].astype(np.int32), objects[part].astype(np.int32)
        ends: NDArray[np.int64] = np.cumsum(gaps[part].astype(np.int64) + length, dtype=np.int64)
        inside = not len(ends) or (ends[-1] <= math.prod(shape) and length.min() > 0 and number.min() >= 0)
        if not inside or (len(ends) and number.max() >= n):
            raise ValueError(f"objects of label image {k} are outside it")
        areas = np.bincount(number, length, minlength=n).astype(np.int64)
        images.append(
            RunLengths(ends - length, length, number, areas, prob[probs[k] : probs[k + 1]] if scored[k] else None)
        )
    return shape, tuple(images), units


def _small(parts: list[NDArray[Any]]) -> NDArray[np.unsignedinteger[Any]]:
    """Join arrays of numbers from 0 in the smallest type that holds them."""
    joined = np.concatenate(parts)
    return joined.astype(np.min_scalar_type(int(joined.max(initial=0))))
