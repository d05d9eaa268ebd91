"""From the axes of a file to the images in it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from divseg.errors import FileProblem, InputError, brief

LETTERS = "STCZYX"
_FEW = 8  # an image is never this narrow while it is much longer
UNKNOWN = "?"
"""Stands for an axis that the file does not name."""

PROJECTIONS = ("max", "mean", "sum")
"""Ways to make one plane of the planes along Z."""

DEPTHS = ("volume", "planes", *PROJECTIONS)
"""What is done with the axis Z: a 3-D image, an image for each plane, or the projection of all planes."""


ASKED = {
    "volume": "--volume to work in 3-D",
    "planes": "--planes to work on each plane",
    "project": "--project max to work on their maximum",
}
"""Options that say what is done with the axis Z, and what they do."""


@dataclass(frozen=True)
class Plane:
    """One image in a file.

    Attributes
    ----------
    index : tuple of (int or None)
        For each dimension of the file the position taken, None for an axis of the image and for one that is projected.
    axes : str
        The axes whose position is None, in the order of the file.
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


def check_depth(depth: str | None) -> str | None:
    """Return what is done with the axis Z.

    Raises
    ------
    InputError
        If it is not one of :data:`DEPTHS`.
    """
    if depth is not None and depth not in DEPTHS:
        raise InputError(f"depth {brief(depth)}: give one of {', '.join(DEPTHS)}")
    return depth


def override_axes(file: str | Path, axes: str, shape: tuple[int, ...]) -> str:
    """Return the user's axes for a file.

    Raises
    ------
    FileProblem
        If their number is not the number of the file's dimensions.
    """
    if len(axes) != len(shape):
        example = LETTERS[-len(shape) :] if 2 <= len(shape) <= len(LETTERS) else "TYX"
        raise FileProblem(
            file,
            f"axes {axes} ({len(axes)} letters) do not fit its shape {shape} ({len(shape)} dimensions)",
            f"give --axes one letter for each dimension, such as --axes {example}",
        )
    return axes


def plan_planes(
    file: str | Path,
    axes: str,
    shape: tuple[int, ...],
    channel: int = 0,
    depth: str | None = None,
) -> list[Plane]:
    """Return the images in a file: S, T and unknown axes iterated, Z kept, iterated or projected.

    Parameters
    ----------
    file : path
        The file, for messages.
    axes : str
        A letter for each dimension, ``"?"`` if it is unknown.
    shape : tuple of int
        Shape of the file.
    channel : int
        The channel to take, if there is an axis C.
    depth : str, optional
        One of :data:`DEPTHS`; by default Z is kept.

    Returns
    -------
    list of Plane
        In the order of the iterated axes, the last one fastest.

    Raises
    ------
    FileProblem
        If too many axes are unknown, or there is no depth where it is asked for.
    """
    _check_known(file, axes, shape)
    _check_depth(file, axes, shape, depth)
    over = "STZ?" if depth == "planes" else "ST?"
    iterated = [i for i, letter in enumerate(axes) if letter in over and shape[i] > 1]
    free = [i for i, letter in enumerate(axes) if letter in "YX" or (letter == "Z" and shape[i] > 1)]
    free = [i for i in free if i not in iterated]
    planes = []
    for steps in itertools.product(*(range(shape[i]) for i in iterated)):
        index: list[int | None] = [0] * len(shape)
        for i in free:
            index[i] = None
        if "C" in axes:
            index[axes.index("C")] = channel
        suffix = ""
        for i, k in zip(iterated, steps, strict=True):
            index[i] = k
            suffix += f"_{_letter(axes[i]).lower()}{k:0{len(str(shape[i] - 1))}d}"
        position = tuple((_letter(axes[i]), k) for i, k in zip(iterated, steps, strict=True))
        planes.append(Plane(tuple(index), "".join(axes[i] for i in free), position, suffix))
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


def _check_depth(file: str | Path, axes: str, shape: tuple[int, ...], depth: str | None) -> None:
    if depth in (None, "planes") or ("Z" in axes and shape[axes.index("Z")] > 1):
        return
    flag = "--volume" if depth == "volume" else f"--project {depth}"
    unknown = [i for i, letter in enumerate(axes) if letter == UNKNOWN and shape[i] > 1]
    if unknown:
        raise FileProblem(
            file,
            f"it does not say that the {shape[unknown[0]]} planes of its shape {shape} are depth",
            f"give --axes {axes.replace(UNKNOWN, 'Z')} too if they are",
        )
    turned = axes.replace("T", "Z")
    as_depth = f", or give --axes {turned} if its frames are depth" if "T" in axes and "Z" not in axes else ""
    raise FileProblem(file, "it has one plane, no depth", f"leave {flag} out{as_depth}")
