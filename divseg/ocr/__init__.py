"""Text: an engine reads means of posterior samples, and readings are fused with a confidence for each word."""

from divseg.ocr.engines import Engine, text_engine
from divseg.ocr.fuse import FusedReading, fuse_readings
from divseg.ocr.page import Page, as_page
from divseg.ocr.reading import Box, Line, Reading, Word
from divseg.ocr.views import read_views, subsets

__all__ = [
    "Box",
    "Engine",
    "FusedReading",
    "Line",
    "Page",
    "Reading",
    "Word",
    "as_page",
    "fuse_readings",
    "read_views",
    "subsets",
    "text_engine",
]
