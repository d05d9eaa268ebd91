"""DivNoising: diverse clean images from noisy ones, trained on the noisy images alone."""

from __future__ import annotations

from divseg.denoise.divnoising import DivNoising as DivNoising
from divseg.denoise.networks.flat import NetworkConfig as NetworkConfig
from divseg.denoise.networks.hierarchical import LadderConfig as LadderConfig
from divseg.denoise.sampling.stopping import Until as Until
from divseg.denoise.training.settings import TrainSettings as TrainSettings

__all__ = ["DivNoising", "LadderConfig", "NetworkConfig", "TrainSettings", "Until"]
