"""From images to label images: thresholding with division of touching objects, StarDist, and functions of the user."""

from __future__ import annotations

from divseg.segment.protocol import Segmenter, segmenter

__all__ = ["Segmenter", "segmenter"]
