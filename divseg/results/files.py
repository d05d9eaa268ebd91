"""The images of a run folder by name, each read when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from divseg.errors import InputError, counted, did_you_mean, printable
from divseg.io.tiff import tiff_sources

T = TypeVar("T")


class NotInRun(InputError, KeyError):
    """A name that a run does not hold."""

    def __str__(self) -> str:
        return printable(Exception.__str__(self))  # that of KeyError would put the message in quotes


class NotKept(NotInRun):
    """A piece that the settings of a run left out."""


class Files(Mapping[str, T], Generic[T]):
    """Images of one kind by name, read each time that one is asked for.

    Parameters
    ----------
    kind : str
        What they are, for messages.
    names : sequence of str
        Names of all images; those without a file are left out.
    path : callable
        Returns the file of a name.
    load : callable
        Returns what the file holds.
    keep : str
        What ``--keep`` calls them, if the settings of the run left them out.
    """

    def __init__(
        self,
        kind: str,
        names: Sequence[str],
        path: Callable[[str], Path],
        load: Callable[[str], T],
        keep: str = "",
    ) -> None:
        self._kind, self._names, self._path, self._load, self._keep = kind, names, path, load, keep

    def __getitem__(self, name: str) -> T:
        """Read an image."""
        if name not in self._names:
            hint = did_you_mean(str(name), self._names) or "; images_table lists all of them"
            raise NotInRun(f"there is no image {name!r} in this run{hint}")
        if not os.path.isfile(self._path(name)):
            if self._keep:
                raise NotKept(f"{name}: this run did not keep {self._kind}; run again with {self._keep} in --keep")
            raise NotInRun(f"{name}: this run holds no {self._kind} of it (no file {self._path(name)})")
        return self._load(name)

    def __contains__(self, name: object) -> bool:
        """Tell without reading whether there is such an image."""
        return isinstance(name, str) and name in self._names and os.path.isfile(self._path(name))

    def __iter__(self) -> Iterator[str]:
        """Yield the names, in the order of the input."""
        return (name for name in self._names if os.path.isfile(self._path(name)))

    def __len__(self) -> int:
        """Count the files."""
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        """Tell how many there are and how the first are called."""
        names = list(self)
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        return f"<{self._kind} of {counted(len(names), 'image')}: {shown}>"


def read_samples(path: Path) -> NDArray[np.float32]:
    """Read posterior samples that a run wrote, shape (S, Y, X) or (S, Z, Y, X), of several channels (S, C, ...).

    Raises
    ------
    FileProblem
        If the file is damaged.
    """
    samples, axes = read_image(path), tiff_sources(path)[0].axes
    samples = samples if "T" in axes else samples[None]
    return np.moveaxis(samples, -3, -4) if "ZC" in axes else samples


def read_channels(path: Path) -> NDArray[np.float32]:
    """Read channels that a run wrote, shape (C, Y, X) or (C, Z, Y, X)."""
    images, axes = read_image(path), tiff_sources(path)[0].axes
    images = images if "C" in axes else images[None]
    return np.moveaxis(images, -3, -4) if "ZC" in axes else images


def read_fractions(path: Path) -> NDArray[np.float32]:
    """Read a map of fractions, from 0 to 1, that a run wrote in 8 bits."""
    return read_image(path) / np.float32(255)


def read_image(path: Path) -> NDArray[np.float32]:
    """Read an image of intensities that a run wrote."""
    source = tiff_sources(path)[0]
    return np.asarray(source.load((None,) * len(source.shape)), np.float32)
