"""What is wrong with one file, as a table row and as an exception."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divseg.errors import ExtraRequired, InputError


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


@dataclass(frozen=True)
class Note:
    """Something the user should know about a file that is used all the same."""

    file: str
    text: str


def merge_notes(notes: list[Note]) -> list[str]:
    """Return one line for each distinct text, naming the first file and how many more it concerns."""
    files: dict[str, list[str]] = {}
    for note in notes:
        files.setdefault(note.text, []).append(note.file)
    lines = []
    for text, names in files.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(f"{names[0]}{more}: {text}")
    return lines
