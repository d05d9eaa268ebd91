"""Engines by name: what reads the text of one image is a callable that knows nothing of samples."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from divseg.errors import ExtraRequired
from divseg.ocr.reading import Reading
from divseg.specs import Choice, Number, Option, canonical, read_options, split_spec, unknown

INSTALL = (
    'pip install "divseg[ocr]" for RapidOCR, or install the program Tesseract (Debian and Ubuntu: '
    "apt install tesseract-ocr)"
)


class Engine(Protocol):
    """Reads the text of a page."""

    @property
    def name(self) -> str:
        """Name with options, as :func:`text_engine` reads it."""

    def __call__(self, page: NDArray[np.uint8]) -> Reading:
        """Return what stands on a page, grey (Y, X), usually dark on bright; boxes are in its pixels."""


class _Language:
    """Codes of languages of Tesseract, joined by a plus."""

    def read(self, text: str) -> str:
        if not text.replace("_", "").replace("+", "").replace("/", "").isalnum():
            raise ValueError("must be a code such as eng, or several such as eng+deu")
        return text

    def show(self, value: str) -> str:
        return value


OPTIONS: dict[str, dict[str, Option]] = {
    "tesseract": {
        "lang": Option(_Language(), "eng", "languages, such as eng or eng+deu"),
        "psm": Option(Number(3, 13, whole=True), 3, "page segmentation mode; 6 takes the page as one block of text"),
    },
    "rapidocr": {"cls": Option(Choice(("yes", "no")), "no", "whether each line is turned upright first")},
}
"""Engines, and their options."""


def text_engine(spec: str = "auto") -> Engine:
    """Return an engine by its name and options.

    Parameters
    ----------
    spec : str
        ``"rapidocr"`` (the package of that name, whose wheel carries its models), ``"tesseract"`` (the program of that
        name) with options such as ``"tesseract,lang=deu,psm=6"``, or ``"auto"``: the first of them that is installed.

    Raises
    ------
    ConfigError
        For an unknown engine or option, or a language that the engine lacks.
    ExtraRequired
        If the engine is not installed.
    """
    method, pairs = split_spec(spec, "text engine", "tesseract,lang=eng")
    if method == "auto":
        method = _installed()
    if method not in OPTIONS:
        raise unknown("text engine", method, ["auto", *OPTIONS])
    values = read_options(method, pairs, OPTIONS[method], what="text engine")
    return _MAKERS[method](canonical(method, values, OPTIONS[method]), values)


def _installed() -> str:
    if all(importlib.util.find_spec(package) is not None for package in ("rapidocr", "onnxruntime")):
        return "rapidocr"
    if shutil.which("tesseract"):
        return "tesseract"
    raise ExtraRequired(f"no text engine is installed: {INSTALL}")


def _tesseract(name: str, values: dict[str, Any]) -> Engine:
    from divseg.ocr.tesseract import Tesseract

    return Tesseract(name, values["lang"], values["psm"])


def _rapidocr(name: str, values: dict[str, Any]) -> Engine:
    from divseg.ocr.rapid import Rapid

    return Rapid(name, values["cls"] == "yes")


_MAKERS: dict[str, Callable[[str, dict[str, Any]], Engine]] = {"tesseract": _tesseract, "rapidocr": _rapidocr}
