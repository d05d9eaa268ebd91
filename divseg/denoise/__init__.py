"""DivNoising: diverse clean images from noisy ones, trained on the noisy images alone."""

from __future__ import annotations

from divseg.denoise.divnoising import DivNoising as DivNoising
from divseg.denoise.network import NetworkConfig as NetworkConfig
from divseg.denoise.training import TrainSettings as TrainSettings

__all__ = ["DivNoising", "NetworkConfig", "TrainSettings"]
