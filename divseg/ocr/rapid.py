"""RapidOCR: the detector and recogniser of PaddleOCR by ONNX Runtime; the wheel carries their models."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divseg.errors import ExtraRequired
from divseg.ocr.reading import Box, Line, Reading, Word


class Rapid:
    """Reads pages by RapidOCR, one thread each.

    Parameters
    ----------
    name : str
        Name with options.
    upright : bool
        Whether each line is looked at for being upside down, and turned.

    Raises
    ------
    ExtraRequired
        If the package or ONNX Runtime is not installed.
    """

    def __init__(self, name: str, upright: bool = False) -> None:
        self.name, self.upright = name, upright
        try:
            import onnxruntime  # noqa: F401
            from rapidocr import RapidOCR
        except ImportError as error:
            raise ExtraRequired(
                f'text engine rapidocr needs RapidOCR and ONNX Runtime ({error}): pip install "divseg[ocr]"'
            ) from error
        threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._run = RapidOCR(params={**threads, "Global.log_level": "error"})

    def __call__(self, page: NDArray[np.uint8]) -> Reading:
        """Return what stands on a page, grey (Y, X)."""
        colour = np.repeat(page[..., None], 3, axis=2)
        found = self._run(colour, use_cls=self.upright, return_word_box=True)
        if not found.txts:
            return Reading()
        lines = [_line(words, float(score)) for words, score in zip(found.word_results, found.scores, strict=True)]
        ordered = sorted((line for line in lines if line.words), key=lambda line: (line.box.top, line.box.left))
        return Reading(tuple(ordered))


def _line(words: Any, score: float) -> Line:
    """Return the words of a line; each has the line's score, since RapidOCR's scores of words belong to letters."""
    return Line(tuple(Word("".join(text.split()), _box(corners), score) for text, _, corners in words if text.strip()))


def _box(corners: Any) -> Box:
    x, y = np.asarray(corners, float).T
    return Box(float(x.min()), float(y.min()), float(x.max()), float(y.max()))
