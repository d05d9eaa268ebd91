"""DivNoising: diverse clean images from noisy ones, trained on the noisy images alone."""

from __future__ import annotations

from divseg.denoise.divnoising import DivNoising as DivNoising
from divseg.denoise.networks.flat import FlatConfig as FlatConfig
from divseg.denoise.networks.hierarchical import HierarchicalConfig as HierarchicalConfig
from divseg.denoise.sampling.stopping import StoppingRule as StoppingRule
from divseg.denoise.training.settings import TrainSettings as TrainSettings

__all__ = ["DivNoising", "FlatConfig", "HierarchicalConfig", "StoppingRule", "TrainSettings"]
