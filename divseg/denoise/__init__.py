"""DivNoising: diverse clean images from noisy ones, trained on the noisy images alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from divseg.packages import public_names

if TYPE_CHECKING:
    from divseg.denoise.divnoising import DivNoising as DivNoising
    from divseg.denoise.networks.flat import FlatConfig as FlatConfig
    from divseg.denoise.networks.hierarchical import HierarchicalConfig as HierarchicalConfig
    from divseg.denoise.sampling.stopping import StoppingRule as StoppingRule
    from divseg.denoise.training.settings import TrainSettings as TrainSettings

_PUBLIC = {
    "DivNoising": "divseg.denoise.divnoising",
    "FlatConfig": "divseg.denoise.networks.flat",
    "HierarchicalConfig": "divseg.denoise.networks.hierarchical",
    "StoppingRule": "divseg.denoise.sampling.stopping",
    "TrainSettings": "divseg.denoise.training.settings",
}

__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = public_names(__name__, _PUBLIC)
