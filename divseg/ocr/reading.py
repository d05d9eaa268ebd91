"""What an engine reads on one image: words with boxes and confidences, in lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A rectangle on the image, in pixels; the upper left pixel covers 0 to 1 on both axes."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def height(self) -> float:
        """Height in pixels."""
        return self.bottom - self.top

    @property
    def width(self) -> float:
        """Width in pixels."""
        return self.right - self.left

    def scaled(self, factor: float) -> Box:
        """Return the box on the image enlarged by a factor."""
        return Box(self.left * factor, self.top * factor, self.right * factor, self.bottom * factor)

    def upside_down(self, height: float, width: float) -> Box:
        """Return the box on the image of `height` by `width` pixels after half a turn."""
        return Box(width - self.right, height - self.bottom, width - self.left, height - self.top)

    @classmethod
    def around(cls, boxes: Sequence[Box]) -> Box:
        """Return the smallest box that holds all of these, one at least."""
        return cls(
            min(b.left for b in boxes),
            min(b.top for b in boxes),
            max(b.right for b in boxes),
            max(b.bottom for b in boxes),
        )


@dataclass(frozen=True)
class Word:
    """A word as an engine read it.

    Attributes
    ----------
    text : str
        Without white space, at least one character.
    box : Box
        Where it stands.
    confidence : float
        How sure the engine is of it, from 0 to 1.
    """

    text: str
    box: Box
    confidence: float


@dataclass(frozen=True)
class Line:
    """Words that stand in one line, at least one, from left to right."""

    words: tuple[Word, ...]

    @property
    def box(self) -> Box:
        """The box around all words."""
        return Box.around([word.box for word in self.words])

    @property
    def text(self) -> str:
        """The words with a space between them."""
        return " ".join(word.text for word in self.words)

    @property
    def confidence(self) -> float:
        """Mean confidence of the characters."""
        letters = sum(len(word.text) for word in self.words)
        return sum(word.confidence * len(word.text) for word in self.words) / letters


@dataclass(frozen=True)
class Reading:
    """All lines that an engine found on an image, from top to bottom; none on an image without text."""

    lines: tuple[Line, ...] = ()

    @property
    def text(self) -> str:
        """The lines, each ended by a line feed."""
        return "".join(f"{line.text}\n" for line in self.lines)

    @property
    def certainty(self) -> float:
        """Sum over all characters of the engine's confidence: large if much was read that looks like text."""
        return sum(word.confidence * len(word.text) for line in self.lines for word in line.words)

    def scaled(self, factor: float) -> Reading:
        """Return the reading with its boxes on the image enlarged by a factor."""
        return self._moved(lambda box: box.scaled(factor))

    def upside_down(self, height: float, width: float) -> Reading:
        """Return the reading with its boxes on the image of `height` by `width` pixels after half a turn."""
        return self._moved(lambda box: box.upside_down(height, width))

    def _moved(self, move: Callable[[Box], Box]) -> Reading:
        lines = (Line(tuple(Word(w.text, move(w.box), w.confidence) for w in line.words)) for line in self.lines)
        return Reading(tuple(lines))
