"""Tesseract, by its command line program.

References
----------
Smith, "An overview of the Tesseract OCR engine", ICDAR 2007. The columns of its TSV are described in
``tesseract(1)``: level, page_num, block_num, par_num, line_num, word_num, left, top, width, height, conf, text.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from divseg.errors import ConfigError, ExtraRequired, InputError, one_line
from divseg.ocr.reading import Box, Line, Reading, Word

_WORD_LEVEL = "5"
_SECONDS = 600


class Tesseract:
    """Reads pages by the program ``tesseract``, one thread each.

    Parameters
    ----------
    name : str
        Name with options.
    lang : str
        Languages, such as ``"eng"`` or ``"eng+deu"``.
    psm : int
        Page segmentation mode.

    Raises
    ------
    ExtraRequired
        If the program is not installed.
    ConfigError
        If it lacks a language.
    """

    def __init__(self, name: str, lang: str = "eng", psm: int = 3) -> None:
        self.name, self.lang, self.psm = name, lang, psm
        found = shutil.which("tesseract")
        if found is None:
            raise ExtraRequired(
                "the program tesseract is not installed: apt install tesseract-ocr (Debian and Ubuntu), "
                'brew install tesseract (macOS), or read with RapidOCR: pip install "divseg[ocr]" and --engine rapidocr'
            )
        self.program = found
        known = self._run("--list-langs").decode("utf-8", "replace").splitlines()[1:]
        lacking = [code for code in lang.split("+") if code not in known]
        if lacking:
            raise ConfigError(
                f"text engine tesseract has no language {lacking[0]!r} (installed: {', '.join(known) or 'none'}); "
                f"install it, on Debian and Ubuntu by apt install tesseract-ocr-{lacking[0].replace('_', '-')}"
            )

    def __call__(self, page: NDArray[np.uint8]) -> Reading:
        """Return what stands on a page, grey (Y, X).

        Raises
        ------
        InputError
            If the program fails.
        """
        picture = io.BytesIO()
        Image.fromarray(page).save(picture, "PNG", compress_level=1)
        options = ("-l", self.lang, "--psm", str(self.psm), "--dpi", "300", "tsv")
        return parse_tsv(self._run("stdin", "stdout", *options, page=picture.getvalue()).decode("utf-8", "replace"))

    def _run(self, *arguments: str, page: bytes = b"") -> bytes:
        environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}  # its threads gain little and disturb other work
        try:
            done = subprocess.run(
                [self.program, *arguments], input=page, capture_output=True, env=environment, timeout=_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(
                f"tesseract could not be run ({one_line(error)}); see whether it works by itself"
            ) from error
        if done.returncode:
            said = " ".join(done.stderr.decode("utf-8", "replace").split())[-200:]
            raise InputError(
                f"tesseract failed with exit code {done.returncode} ({said}); see whether it works by itself"
            )
        return done.stdout


def parse_tsv(text: str) -> Reading:
    """Return the words of Tesseract's table; rows of blocks and lines, and blank words, are left out."""
    rows = csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
    words = [row for row in rows if row["level"] == _WORD_LEVEL and row["text"] and row["text"].strip()]

    def place(row: dict[str, str]) -> tuple[int, ...]:
        return tuple(int(row[name]) for name in ("page_num", "block_num", "par_num", "line_num"))

    return Reading(tuple(Line(tuple(map(_word, line))) for _, line in groupby(words, key=place)))


def _word(row: dict[str, str]) -> Word:
    left, top, width, height = (float(row[name]) for name in ("left", "top", "width", "height"))
    confidence = min(max(float(row["conf"]) / 100, 0.0), 1.0)
    return Word("".join(row["text"].split()), Box(left, top, left + width, top + height), confidence)
