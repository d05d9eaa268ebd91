"""Which lines of several readings are the same line of the page: those at the same place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from divseg.ocr.reading import Box, Line, Reading, Word

OVERLAP = 0.4
"""Least vertical intersection over union of lines that are one."""
GAP = 2.0
"""Widest gap within a line, in heights of the line: a wider one parts columns of text."""


@dataclass
class PageLine:
    """A line of the page.

    Attributes
    ----------
    readings : dict of int to Line
        What each reading has there; readings without it are absent.
    """

    readings: dict[int, Line] = field(default_factory=dict)
    _boxes: list[Box] = field(default_factory=list)

    @property
    def box(self) -> Box:
        """Mean top and bottom of the readings, and the extent of all of them."""
        n = len(self._boxes)
        top, bottom = sum(b.top for b in self._boxes) / n, sum(b.bottom for b in self._boxes) / n
        around = Box.around(self._boxes)
        return Box(around.left, top, around.right, bottom)

    def add(self, number: int, line: Line) -> None:
        """Add a line of a reading; two pieces of one reading are joined from left to right."""
        pieces = (*self.readings[number].words, *line.words) if number in self.readings else line.words
        self.readings[number] = Line(tuple(sorted(pieces, key=_left)))
        self._boxes.append(line.box)


def group_lines(readings: Sequence[Reading]) -> list[PageLine]:
    """Return the lines of the page, from top to bottom and left to right, with what each reading has there.

    Every line of every reading belongs to exactly one of them.
    """
    groups: list[PageLine] = []
    for number, reading in enumerate(readings):
        for line in reading.lines:
            near = [
                (_overlap(group.box, line.box), k) for k, group in enumerate(groups) if _beside(group.box, line.box)
            ]
            score, k = max(near, default=(0.0, -1))
            if score < OVERLAP:
                groups.append(PageLine())
                k = len(groups) - 1
            groups[k].add(number, line)
    return sorted(groups, key=lambda group: (group.box.top, group.box.left))


def _overlap(a: Box, b: Box) -> float:
    shared = min(a.bottom, b.bottom) - max(a.top, b.top)
    both = max(a.bottom, b.bottom) - min(a.top, b.top)
    return max(shared, 0.0) / both if both > 0 else 0.0


def _beside(a: Box, b: Box) -> bool:
    return max(a.left, b.left) - min(a.right, b.right) <= GAP * max(a.height, b.height)


def _left(word: Word) -> float:
    return word.box.left
