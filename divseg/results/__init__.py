"""The run folder: where everything goes, written and read in one room."""

from __future__ import annotations

from divseg.results.store import RunStore
from divseg.results.writer import UnitWriter

__all__ = ["RunStore", "UnitWriter"]
