"""DivNoising: diverse clean images from noisy ones, trained on the noisy images alone."""

from __future__ import annotations

from divseg.denoise.divnoising import DivNoising as DivNoising
from divseg.denoise.ladder import LadderConfig as LadderConfig
from divseg.denoise.network import NetworkConfig as NetworkConfig
from divseg.denoise.record import TrainSettings as TrainSettings
from divseg.denoise.stopping import Until as Until

__all__ = ["DivNoising", "LadderConfig", "NetworkConfig", "TrainSettings", "Until"]
