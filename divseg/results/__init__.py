"""The run folder: where everything goes, written and read in one room."""

from __future__ import annotations

from divseg.results.layout import RunLayout
from divseg.results.marker import Marker, StageRecord
from divseg.results.store import RunStore
from divseg.results.writer import StageWriter

__all__ = ["Marker", "RunLayout", "RunStore", "StageRecord", "StageWriter"]
