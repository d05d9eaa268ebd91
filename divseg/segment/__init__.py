"""Label images of samples: thresholding with division of touching objects, and the user's own functions."""

from __future__ import annotations

from divseg.segment.protocol import Segmenter
from divseg.segment.registry import segmenter

__all__ = ["Segmenter", "segmenter"]
