"""Pixel-noise models: how a noisy pixel scatters around its clean value."""

from __future__ import annotations

from divseg.denoise.noise.base import PixelNoise as PixelNoise
from divseg.denoise.noise.choose import choose_noise as choose_noise
from divseg.denoise.noise.choose import from_dict as from_dict
from divseg.denoise.noise.estimate import PhotonTransfer as PhotonTransfer
from divseg.denoise.noise.estimate import neighbour_correlation as neighbour_correlation
from divseg.denoise.noise.estimate import photon_transfer as photon_transfer
from divseg.denoise.noise.evidence import Evidence as Evidence
from divseg.denoise.noise.files import load as load
from divseg.denoise.noise.files import save as save
from divseg.denoise.noise.gaussian import Gaussian as Gaussian
from divseg.denoise.noise.gaussian import PoissonGaussian as PoissonGaussian
from divseg.denoise.noise.histogram import Histogram as Histogram
from divseg.denoise.noise.measure import bootstrap as bootstrap
from divseg.denoise.noise.measure import measure as measure
from divseg.denoise.noise.mixture import GaussianMixture as GaussianMixture
from divseg.denoise.noise.protocol import NoiseModel as NoiseModel

__all__ = [
    "Evidence",
    "Gaussian",
    "GaussianMixture",
    "Histogram",
    "NoiseModel",
    "PhotonTransfer",
    "PixelNoise",
    "PoissonGaussian",
    "bootstrap",
    "choose_noise",
    "from_dict",
    "load",
    "measure",
    "neighbour_correlation",
    "photon_transfer",
    "save",
]
