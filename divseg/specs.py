"""Short strings that name a method and its options: ``"otsu,smooth=1,split=distance,min_size=30"``.

Segmenters, fusion methods, noise models and networks are all named so. Each option has a type that reads and checks
the text, so that a mistake is reported before any work begins. The canonical string has only the options that differ
from their defaults, in the order of their definition: equal methods have equal names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from divseg.errors import ConfigError, did_you_mean


class Kind(Protocol):
    """Type of an option's value."""

    def read(self, text: str) -> Any:
        """Turn text into a checked value; ValueError says what the value must be."""

    def show(self, value: Any) -> str:
        """Turn a value into the text that :meth:`read` understands."""


@dataclass(frozen=True)
class Number:
    """A finite number within limits, or one of some words.

    Attributes
    ----------
    low, high : float
        Limits, included.
    whole : bool
        Whether only integers are accepted.
    odd : bool
        Whether only odd integers are accepted.
    words : tuple of str
        Words that are accepted instead of a number.
    """

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    odd: bool = False
    words: tuple[str, ...] = ()

    def read(self, text: str) -> float | int | str:
        """Return an int, a float or a word."""
        if text.lower() in self.words:
            return text.lower()
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"must be {self}") from None
        whole = math.isfinite(value) and value == int(value)
        wrong_type = (self.whole and not whole) or (self.odd and (not whole or value % 2 == 0))
        if not math.isfinite(value) or not self.low <= value <= self.high or wrong_type:
            raise ValueError(f"must be {self}")
        return int(value) if self.whole or self.odd else value

    def show(self, value: float | int | str) -> str:
        """Return the shortest text that gives the same number."""
        if isinstance(value, str):
            return value
        return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))

    def __str__(self) -> str:
        what = "an odd integer" if self.odd else "an integer" if self.whole else "a number"
        low, high = (f"{end:g}" for end in (self.low, self.high))
        if math.isfinite(self.low) and math.isfinite(self.high):
            what += f" from {low} to {high}"
        elif math.isfinite(self.low):
            what += f" not below {low}"
        return f"{' or '.join(self.words)} or {what}" if self.words else what


@dataclass(frozen=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]

    def read(self, text: str) -> str:
        """Return the word."""
        if text.lower() in self.words:
            return text.lower()
        raise ValueError(f"must be one of {', '.join(self.words)}{did_you_mean(text.lower(), self.words)}")

    def show(self, value: str) -> str:
        """Return the word."""
        return value


@dataclass(frozen=True)
class Flag:
    """Yes or no."""

    def read(self, text: str) -> bool:
        """Return a bool."""
        if text.lower() in ("true", "yes", "on", "1"):
            return True
        if text.lower() in ("false", "no", "off", "0"):
            return False
        raise ValueError("must be true or false")

    def show(self, value: bool) -> str:
        """Return true or false."""
        return "true" if value else "false"


@dataclass(frozen=True)
class Numbers:
    """Several whole numbers of at least `low`, separated by spaces or dashes."""

    low: int = 0

    def read(self, text: str) -> tuple[int, ...]:
        """Return the numbers."""
        try:
            values = tuple(int(word) for word in text.replace("-", " ").split())
        except ValueError:
            values = ()
        if not values or min(values) < self.low:
            raise ValueError(f"must be whole numbers not below {self.low}, with spaces or dashes between them")
        return values

    def show(self, value: tuple[int, ...]) -> str:
        """Return the numbers with dashes between them."""
        return "-".join(map(str, value))


@dataclass(frozen=True)
class Option:
    """An option of a method.

    Attributes
    ----------
    kind : Kind
        Reads, checks and shows the value.
    default : object
        Value if the string does not name the option.
    meaning : str
        Description in one line.
    """

    kind: Kind
    default: Any
    meaning: str


def unknown(what: str, name: str, choices: Iterable[str]) -> ConfigError:
    """Return the error for an unknown name, with the existing names and the nearest of them.

    Parameters
    ----------
    what : str
        Kind of thing that is named, such as ``"segmenter"``.
    name : str
        The unknown name.
    choices : iterable of str
        Existing names.
    """
    names = list(choices)
    return ConfigError(f"unknown {what} {name!r}{did_you_mean(name, names)} (known: {', '.join(names)})")


def split_spec(
    text: str, what: str = "segmenter", example: str = "otsu,smooth=1,split=distance"
) -> tuple[str, list[tuple[str, str]]]:
    """Split a string into a method and pairs of option and value, all still text.

    Parameters
    ----------
    text : str
        Method and options, separated by commas.
    what, example : str
        Kind of thing that is named, and a correct string, for messages.

    Raises
    ------
    ConfigError
        No method, an option without a value, or an option given twice.
    """
    method, *parts = (part.strip() for part in text.split(","))
    if not method or "=" in method:
        raise ConfigError(f"{what} {text!r} has no method; begin with one, for example {example}")
    pairs: list[tuple[str, str]] = []
    for part in parts:
        name, equals, value = (p.strip() for p in part.partition("="))
        name = name.lower()
        if not (name and equals and value):
            raise ConfigError(f"{what} {text!r}: {part!r} is not an option; write name=value, for example {example}")
        if name in dict(pairs):
            raise ConfigError(f"{what} {text!r}: option {name} is given twice; keep one of them")
        pairs.append((name, value))
    return method, pairs


def read_options(
    method: str,
    pairs: Iterable[tuple[str, str]],
    options: Mapping[str, Option],
    elsewhere: Iterable[str] = (),
    what: str = "segmenter",
) -> dict[str, Any]:
    """Read and check the options of a method; the others have their defaults.

    Parameters
    ----------
    method : str
        Name of the method, for messages.
    pairs : iterable of (str, str)
        Option and text of its value.
    options : mapping of str to Option
        Options of the method.
    elsewhere : iterable of str
        Options of other methods: they are not misspelt, and no correction is suggested.
    what : str
        Kind of method, for messages.

    Raises
    ------
    ConfigError
        Unknown option (the message has the nearest one), or a value of the wrong type or out of range.
    """
    values = {name: option.default for name, option in options.items()}
    for name, text in pairs:
        if name not in options:
            hint = did_you_mean(name, options) if name not in set(elsewhere) else ""
            raise ConfigError(
                f"{what} {method!r} has no option {name!r}{hint} (options: {', '.join(options) or 'none'})"
            )
        try:
            values[name] = options[name].kind.read(text)
        except ValueError as error:
            raise ConfigError(f"{what} option {name}={text}: {name} {error}") from None
    return values


def canonical(method: str, values: Mapping[str, Any], options: Mapping[str, Option]) -> str:
    """Return the string of a method and its options, without those that have their defaults."""
    named = [f"{n}={o.kind.show(values[n])}" for n, o in options.items() if values[n] != o.default]
    return ",".join([method, *named])


BETWEEN = " + "
"""Stands between the segmenters of a string that names several."""


def parts_of(spec: str) -> list[str]:
    """Return the strings of the segmenters in a string that may name several: ``"A + B"``."""
    return re.split(r"\s+\+\s+", spec.strip())
