"""Fusion of many label images of one field of view into one, with a confidence for each object."""

from __future__ import annotations

from divseg.consensus.fusion import METHODS, assess, fuse
from divseg.consensus.result import Consensus
from divseg.consensus.selection import OBJECTIVES
from divseg.consensus.stack import LabelStack

__all__ = ["METHODS", "OBJECTIVES", "Consensus", "LabelStack", "assess", "fuse"]
