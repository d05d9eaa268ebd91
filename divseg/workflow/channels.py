"""Channels of an image beside the one that is segmented: denoised together with it, or measured."""

from __future__ import annotations

from collections.abc import Sequence

from divseg.config import Data
from divseg.errors import FileProblem, Problem
from divseg.io import ImageRef, LabelRef
from divseg.io.channels import find_channel, unique_names
from divseg.workflow.units import ImageUnit


def other_channels(ref: ImageRef, asked: Sequence[str], option: str) -> dict[str, int]:
    """Return name and number of the channels that an option names.

    Parameters
    ----------
    ref : ImageRef
        The image.
    asked : sequence of str
        Names or numbers, or ``("all",)`` for all but the one that is segmented.
    option : str
        The option, for messages.

    Raises
    ------
    FileProblem
        If a channel does not exist or shares its name with another.
    """
    names = unique_names(ref.n_channels, ref.source.channels)
    if tuple(asked) == ("all",):
        return {name: k for k, name in enumerate(names) if k != ref.channel}
    numbers = [find_channel(ref.path, one, ref.n_channels, ref.source.channels, option=option) for one in asked]
    return {names[k]: k for k in numbers}


def joint_channels(ref: ImageRef, asked: Sequence[str]) -> dict[str, int]:
    """Return name and number of the channels that are denoised together with the one that is segmented.

    Those of ``("all",)`` are ordered by name: files may hold them in different orders.

    Raises
    ------
    FileProblem
        If a channel does not exist, or if there is none beside the one that is segmented.
    """
    if not asked:
        return {}
    found = {name: k for name, k in other_channels(ref, asked, "--together").items() if k != ref.channel}
    if not found:
        raise FileProblem(
            ref.path,
            "it has no channel to denoise together with the one that is segmented",
            "leave --together out, or name another channel with it",
        )
    return dict(sorted(found.items())) if tuple(asked) == ("all",) else found


def channel_unit(ref: ImageRef, truth: LabelRef | None, data: Data) -> ImageUnit:
    """Return an image with its channels that are denoised together and those that are measured.

    Raises
    ------
    FileProblem
        If a channel does not exist.
    """
    together = joint_channels(ref, data.together)
    measured = together | other_channels(ref, data.measure, "--measure")
    return ImageUnit(ref, truth, together=together, measured=measured)


def without_channels(refs: Sequence[ImageRef], data: Data) -> tuple[list[ImageRef], list[Problem]]:
    """Return the images that have the channels that are asked for, and what is wrong with the others.

    What is denoised together is the same in all images: the channels of the first of them.
    """
    kept: list[ImageRef] = []
    problems: list[Problem] = []
    first: tuple[ImageRef, list[str]] | None = None
    for ref in refs:
        try:
            names = list(channel_unit(ref, None, data).together)
            if first is None:
                first = ref, names
            if data.together == ("all",) and names != first[1]:
                raise FileProblem(
                    ref.path,
                    f"beside the one that is segmented it has the channels {', '.join(names)}, but "
                    f"{first[0].path.name} has {', '.join(first[1])}",
                    "name those that all files have with --together",
                )
            kept.append(ref)
        except FileProblem as problem:
            problems.append(problem.problem)
    return kept, problems
