"""Fusion of many label images of one field of view into one, with a confidence for each object."""

from __future__ import annotations

from divseg.consensus.fuse import METHODS, assess, fuse
from divseg.consensus.result import Consensus
from divseg.consensus.selection import TARGETS

__all__ = ["METHODS", "TARGETS", "Consensus", "assess", "fuse"]
