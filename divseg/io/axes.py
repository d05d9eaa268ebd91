"""From the axes of a file to the planes in it."""

from __future__ import annotations

import itertools
import operator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divseg.errors import FileProblem, InputError, brief

LETTERS = "STCZYX"
_FEW = 8  # an image is never this narrow while it is much longer
UNKNOWN = "?"
"""Stands for an axis that the file does not name."""


@dataclass(frozen=True)
class Plane:
    """One image in a file.

    Attributes
    ----------
    index : tuple of (int or None)
        For each dimension of the file the position taken, None for an axis of the image.
    axes : str
        Axes of the image, in the order of the file.
    position : tuple of (str, int)
        The iterated axes and the position along each.
    suffix : str
        End of the image's name, after the stem of the file.
    """

    index: tuple[int | None, ...]
    axes: str
    position: tuple[tuple[str, int], ...]
    suffix: str


def check_axes(axes: str) -> str:
    """Return the user's axes in capitals.

    Raises
    ------
    InputError
        If a letter is unknown or occurs twice, or if Y or X is missing.
    """
    upper = str(axes).upper()
    if not set(upper) <= set(LETTERS) or len(set(upper)) < len(upper) or not {"Y", "X"} <= set(upper):
        raise InputError(
            f"axes {brief(axes)}: give each dimension one letter of {LETTERS} (position, time, channel, depth, "
            "height, width), each at most once and Y and X always, for example --axes TYX"
        )
    return upper


def check_channel(channel: Any) -> int | None:
    """Return the channel as an int.

    Raises
    ------
    InputError
        If it is not a whole number >= 0.
    """
    if channel is None:
        return None
    try:
        number = operator.index(channel)
    except TypeError:
        number = -1
    if number < 0:
        raise InputError(f"channel {brief(channel)} is not a channel number; they count from 0")
    return number


def override_axes(file: str | Path, axes: str, shape: tuple[int, ...]) -> str:
    """Return the user's axes for a file.

    Raises
    ------
    FileProblem
        If their number is not the number of the file's dimensions.
    """
    if len(axes) != len(shape):
        raise FileProblem(
            file,
            f"axes {axes} ({len(axes)} letters) do not fit its shape {shape} ({len(shape)} dimensions)",
            "give --axes one letter for each dimension",
        )
    return axes


def plan_planes(file: str | Path, axes: str, shape: tuple[int, ...], channel: int | None) -> list[Plane]:
    """Return the images in a file: S, T and unknown axes iterated, one channel picked, Z kept.

    Parameters
    ----------
    file : path
        The file, for messages.
    axes : str
        A letter for each dimension, ``"?"`` if it is unknown.
    shape : tuple of int
        Shape of the file.
    channel : int, optional
        The channel to take.

    Returns
    -------
    list of Plane
        In the order of the iterated axes, the last one fastest.

    Raises
    ------
    FileProblem
        If a channel must be chosen or does not exist, or if too many axes are unknown.
    """
    _check_known(file, axes, shape)
    channels = shape[axes.index("C")] if "C" in axes else 1
    if channels > 1 and channel is None:
        raise FileProblem(
            file,
            f"axes {axes} of shape {shape} hold {channels} channels",
            f"choose one with --channel N (0 to {channels - 1}), or say with --axes what the axes are",
        )
    if channel is not None and channel >= channels:
        raise FileProblem(
            file,
            f"there is no channel {channel} in axes {axes} of shape {shape}",
            f"choose --channel 0 to {channels - 1}" if channels > 1 else "leave --channel out",
        )
    iterated = [i for i, letter in enumerate(axes) if letter in "ST?" and shape[i] > 1]
    spatial = [i for i, letter in enumerate(axes) if letter in "YX" or (letter == "Z" and shape[i] > 1)]
    planes = []
    for steps in itertools.product(*(range(shape[i]) for i in iterated)):
        index: list[int | None] = [0] * len(shape)
        for i in spatial:
            index[i] = None
        if channel is not None and "C" in axes:
            index[axes.index("C")] = channel
        suffix = ""
        for i, k in zip(iterated, steps, strict=True):
            index[i] = k
            suffix += f"_{_letter(axes[i]).lower()}{k:0{len(str(shape[i] - 1))}d}"
        position = tuple((_letter(axes[i]), k) for i, k in zip(iterated, steps, strict=True))
        planes.append(Plane(tuple(index), "".join(axes[i] for i in spatial), position, suffix))
    return planes


def _letter(axis: str) -> str:
    return "P" if axis == UNKNOWN else axis  # a plane of unknown meaning


def _check_known(file: str | Path, axes: str, shape: tuple[int, ...]) -> None:
    if UNKNOWN in axes and len(shape) > 2 and shape[-1] <= _FEW < 4 * _FEW <= min(shape[-3:-1]):
        raise FileProblem(
            file,
            f"its shape {shape} looks like {shape[-1]} channels that come last, and it does not say so",
            f"give --axes {'T' * (len(shape) - 3)}YXC --channel N (0 to {shape[-1] - 1}), or --axes for what it is",
        )
    unknown = axes.count(UNKNOWN)
    stack = sum(1 for letter, n in zip(axes, shape, strict=True) if letter != "C" and n > 1)
    if unknown > 1 or (unknown and stack > 3) or any(axes.count(letter) != 1 for letter in "YX"):
        raise FileProblem(
            file,
            f"it does not say what the {len(shape)} axes of its shape {shape} are",
            "give them with --axes, for example --axes " + "STCZYX"[-len(shape) :],
        )
