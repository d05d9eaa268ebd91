"""Which channels of a file are meant: by name or by number."""

from __future__ import annotations

import operator
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from divseg.errors import FileProblem, InputError, brief, did_you_mean

_LISTED = 32
"""Channels that are named in a message."""

Channel: TypeAlias = int | str
"""A channel by its number, from 0, or by its name in the file."""


def check_channel(channel: Any) -> Channel | None:
    """Return the channel as an int or a name; a text of digits may be either, which the file decides.

    Raises
    ------
    InputError
        If it is neither a whole number >= 0 nor a name.
    """
    if channel is None:
        return None
    if isinstance(channel, str) and channel.strip() and not channel.strip().startswith("-"):
        return channel.strip()
    try:
        number = operator.index(channel)
    except TypeError:
        number = -1
    if number < 0:
        raise InputError(f"channel {brief(channel)} is neither the name of a channel nor its number, counted from 0")
    return number


def find_channel(
    file: str | Path, wanted: Channel | None, count: int, names: Sequence[str], *, option: str = "--channel"
) -> int:
    """Return the number of a channel of a file.

    Parameters
    ----------
    file : path
        The file, for messages.
    wanted : int, str or None
        Number or name; None is enough for a file of one channel. Names are compared without case if they differ in
        nothing else.
    count : int
        Channels of the file; 1 without an axis of channels.
    names : sequence of str
        Their names, empty if the file has none.
    option : str
        The option that asks for it, for messages.

    Raises
    ------
    FileProblem
        If a channel must be chosen, does not exist, or shares its name with another.
    """
    if wanted is None:
        if count == 1:
            return 0
        raise FileProblem(
            file, f"it holds {count} channels", f"choose one with {option} {_first(names)} ({listed(count, names)})"
        )
    if isinstance(wanted, str):
        found = [k for k, name in enumerate(names) if name == wanted]
        found = found or [k for k, name in enumerate(names) if name.casefold() == wanted.casefold()]
        if len(found) == 1:
            return found[0]
        if found:
            numbers = " or ".join(map(str, found))
            raise FileProblem(file, f"{len(found)} of its channels are named {wanted!r}", f"give {option} {numbers}")
        if not wanted.isdigit():
            hint = did_you_mean(wanted, names) if names else ""
            choice = f"choose {option} from {listed(count, names)}" if count > 1 else _one(names, option)
            raise FileProblem(file, f"it has no channel {wanted!r}{hint}", choice)
    number = int(wanted)
    if number >= count:
        choice = f"choose {option} from {listed(count, names)}" if count > 1 else f"leave {option} out"
        raise FileProblem(file, f"it has no channel {number}, they count from 0", choice)
    return number


def listed(count: int, names: Sequence[str]) -> str:
    """Return the channels of a file in words: ``"0 DAPI, 1 GFP"``; of a file that claims many, the first of them."""
    shown = [f"{k} {names[k]}" if names and names[k] else str(k) for k in range(min(count, _LISTED))]
    return ", ".join(shown) + (f" and {count - _LISTED} more" if count > _LISTED else "")


def unique_names(count: int, names: Sequence[str]) -> tuple[str, ...]:
    """Return a name for each channel that no other has: its own, or ``c1``; of equal ones each with its number."""
    plain = [names[k] if names and names[k] else f"c{k}" for k in range(count)]
    return tuple(name if plain.count(name) == 1 else f"{name}_{k}" for k, name in enumerate(plain))


def _first(names: Sequence[str]) -> str:
    return shlex.quote(names[0]) if names and names[0] and names.count(names[0]) == 1 else "0"


def _one(names: Sequence[str], option: str) -> str:
    return f"leave {option} out: its only channel is {names[0]!r}" if names and names[0] else f"leave {option} out"
