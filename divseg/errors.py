"""Errors and warnings that speak to the user.

Every error a user can cause is a :class:`DivsegError`: one line that says what is wrong, with which file
or value, and what to do about it. The command line prints that line and exits with code 2. What a run may have to warn
of at an image is a :class:`Concern`: how such a warning begins, what then to trust, and what to look at.
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


@dataclass(frozen=True)
class Concern:
    """A kind of warning.

    Attributes
    ----------
    lead : str
        How a warning of this kind begins; figures of the image follow after a colon.
    trust : str
        What can be trusted, and what not.
    look : str
        What to look at, and what to do.
    """

    lead: str
    trust: str
    look: str

    def says(self, details: str) -> str:
        """Return the warning of one image."""
        return f"{self.lead}: {details}"


UNLIKE = Concern(
    "the image is unlike those that the model was trained on",
    "Samples may look right and be wrong, so existence says little here.",
    "Compare the denoised image with the noisy one; train on images of this kind, or check camera settings and "
    "intensity scale.",
)
CORRELATED = Concern(
    "the noise of neighbouring pixels is correlated",
    "The noise model takes every pixel for itself: stripes and grain of the noise may stay in every sample, and "
    "faint objects of their size may be noise in spite of a high existence.",
    "Look for stripes or grain in the denoised image; take images as the detector wrote them, without scaling, "
    "smoothing, compression or registration by fractions of a pixel.",
)
MISFIT = Concern(
    "the noise model does not fit the image",
    "Samples vary too little or too much, and existence with them.",
    "See in which signals the noise differs; measure it with calibration frames (divseg noise-model), or train on "
    "images of one camera setting.",
)
UNFINISHED = Concern(
    "training had not converged",
    "Denoised images are blurrier than they need be, faint objects may be missing, and existence may change with "
    "more training.",
    "Look at the training curves; train longer (--train-minutes).",
)
ONLY_NOISE = Concern(
    "the training images hold nothing but noise, as far as can be told",
    "Denoised images and samples are flat, so that no objects are found.",
    "Look at the noisy images; if there should be objects, train on them together with images that show some clearly.",
)
SATURATED = Concern(
    "pixels are saturated",
    "Objects that reach the limit keep their outline, but not their brightness; those that touch there may be merged.",
    "Look at the brightest objects; lower exposure or gain for further images.",
)
OUTLIERS = Concern(
    "single pixels are far from their neighbours",
    "They were mended from their neighbours, so they are no objects; neither are real objects of one pixel.",
    "Look at these places in the noisy image; a dark frame shows whether the detector has hot pixels.",
)
INVALID = Concern(
    "pixels are no data",
    "Nothing was measured or found there, and objects end there.",
    "See in the report which parts are left out; --invalid none takes them as data.",
)
NOTHING = Concern(
    "nothing found",
    "Either there are no objects in the image or the segmenter does not see them; the samples cannot tell which.",
    "Look at the denoised image; if there are objects, try another segmenter or a lower --existence.",
)
DOUBTFUL = Concern(
    "no object is certain",
    "Counts and areas of these images depend on the noise.",
    "Look at the outlines on the denoised image; try another segmenter, or train longer.",
)

CONCERNS = (UNLIKE, CORRELATED, MISFIT, UNFINISHED, ONLY_NOISE, OUTLIERS, SATURATED, INVALID, NOTHING, DOUBTFUL)
"""All kinds, the gravest first."""


def concern_of(warning: str) -> Concern | None:
    """Return the kind of a warning, None for one of no kind that is known."""
    return next((concern for concern in CONCERNS if warning.startswith(concern.lead)), None)
