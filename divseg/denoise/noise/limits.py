"""The detector's limits: intensities at which pixels pile up because it cannot record values beyond."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

MIN_PIXELS = 16
"""Number of pixels that must have a value for it to be a limit."""

_WINDOW = 0.02  # of the range of intensities
_STEEP = 4.0  # times as many pixels as at the values next to it
_FEW = 0.05  # times as many pixels beyond the limit as at it


class LimitFinder:
    """Find the floor and the ceiling of a detector from all its images, one at a time.

    The largest value is a ceiling if far more pixels have it than have the values just below; the smallest is a floor
    likewise. A few pixels may lie beyond the limit, at the next value, as electronic noise after the limit leaves them.
    If the counts decrease steadily from the first value on, as those of single photons do, it is not a limit.
    """

    def __init__(self) -> None:
        self._top: Counter[float] = Counter()
        self._bottom: Counter[float] = Counter()

    def add(self, image: NDArray[np.generic]) -> None:
        """Count the extreme values of an image of any shape."""
        flat = np.asarray(image).ravel()
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        window = _WINDOW * (high - low)
        if low.is_integer() and high.is_integer():
            window = max(window, 16.0)
        for counter, part in ((self._top, flat[flat >= high - window]), (self._bottom, flat[flat <= low + window])):
            values, counts = np.unique(part, return_counts=True)
            ends = slice(-64, None) if counter is self._top else slice(64)
            counter.update(dict(zip(values[ends].tolist(), counts[ends].tolist(), strict=True)))

    def find(self) -> tuple[float | None, float | None]:
        """Return floor and ceiling, None for one that the images do not reach."""
        return _pile(self._bottom, upper=False), _pile(self._top, upper=True)


def _pile(counts: Counter[float], *, upper: bool) -> float | None:
    """Return the extreme value if pixels are piled up at it."""
    values = sorted(counts, reverse=upper)[:10]
    if len(values) > 3 and counts[values[0]] < _FEW * counts[values[1]] and abs(values[0] - values[1]) == 1.0:
        values.pop(0)
    values = values[:9]
    if len(values) < 3:
        return None
    heights = [counts[v] for v in values]
    smooth = heights[1] < 2.0 * max(heights[2:4])
    return values[0] if heights[0] >= MIN_PIXELS and heights[0] > _STEEP * max(heights[1:]) and smooth else None
