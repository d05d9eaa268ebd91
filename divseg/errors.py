"""Errors and warnings that speak to the user.

Every error a user can cause is a :class:`DivsegError`: one line that says what is wrong, with which file
or value, and what to do about it. The command line prints that line and exits with code 2.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LONGEST = 2000  # characters of a message, which may repeat what stands in a file
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]")

DAMAGE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    MemoryError,
)
"""What may be raised by code that reads a file of which nothing is known; too deep a nesting is a RuntimeError."""


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return a text that a terminal shows as it is: names of files may hold escape codes.

    Parameters
    ----------
    text : str
        Any text. Control characters, marks that change the direction of writing, and bytes of a file name that
        are not UTF-8 (lone surrogates) become escapes such as ``\x1b``.
    lines : bool
        Keep the ends of lines.
    """
    return _HIDDEN.sub(lambda match: "\n" if lines and match[0] == "\n" else _escaped(match[0]), text)


def _escaped(c: str) -> str:
    return repr(c)[1:-1] if ord(c) < 256 else f"\\u{ord(c):04x}"


class DivsegError(Exception):
    """Base of all errors that divseg raises on purpose; the message is fit for a terminal, and not endless."""

    def __str__(self) -> str:
        text = printable(super().__str__())
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 500]} ... {text[-490:]}"


class InputError(DivsegError, ValueError):
    """An image, mask or argument that cannot be worked with."""


class ConfigError(DivsegError, ValueError):
    """An unknown or impossible setting."""


class ModelError(DivsegError, ValueError):
    """A model folder that is missing, incomplete or damaged."""


class TrainingError(DivsegError, RuntimeError):
    """Training did not give a usable model."""


class OutputError(DivsegError, OSError):
    """A result could not be written."""


class ExtraRequired(DivsegError, ImportError):
    """An optional dependency is not installed; the message names the extra."""


class DivsegWarning(UserWarning):
    """Something the user should know, though the work goes on; the message is fit for a terminal."""

    def __str__(self) -> str:
        return printable(super().__str__())


@dataclass(frozen=True)
class Problem:
    """One file that cannot be used, or not wholly.

    Attributes
    ----------
    file : str
        The file, as the user gave it.
    problem : str
        What is wrong.
    remedy : str
        What to do about it.
    """

    file: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}; {self.remedy}"


class FileProblem(InputError):
    """An input file that cannot be used; carries its :class:`Problem`."""

    def __init__(self, file: str | Path, problem: str, remedy: str) -> None:
        self.problem = Problem(str(file), problem, remedy)
        super().__init__(str(self.problem))

    def __reduce__(self) -> tuple[Any, ...]:  # so that it survives the way back from a worker process
        return type(self), (self.problem.file, self.problem.problem, self.problem.remedy)


class CodecRequired(FileProblem, ExtraRequired):
    """A compressed file that needs the optional codecs."""


def one_line(error: BaseException, max_length: int = 300) -> str:
    """Return the message of an error in one line, cut at `max_length` characters; its type if it has no message."""
    return " ".join(str(error).split())[:max_length] or type(error).__name__


def brief(value: Any, most: int = 60) -> str:
    """Return a value of unknown type and size in a few characters, for messages."""
    if isinstance(value, int) and not -(10**40) < value < 10**40:
        return "a number of more than 40 digits"
    text = repr(value) if isinstance(value, str) else reprlib.repr(value)
    return text if len(text) <= most else text[: most - 4] + "..." + text[-1:]


def some(names: Sequence[str], n: int = 5) -> str:
    """Return the first `n` names and how many more there are: ``"a, b and 3 more"``."""
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")


def counted(n: int, thing: str) -> str:
    """Return a number of things in words: ``"1 image"``, ``"3 images"``."""
    return f"{n} {thing}" + ("s" if n != 1 else "")


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'otsu'?"`` for the choice most like a name in any case, or ``""`` if none is."""
    by_lower = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""
