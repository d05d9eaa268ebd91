"""Noise models: how a noisy pixel is distributed around its clean value."""

from __future__ import annotations

from divseg.denoise.noise.base import NoiseModel as NoiseModel
from divseg.denoise.noise.choose import choose_noise as choose_noise
from divseg.denoise.noise.correlation import noise_spectrum as noise_spectrum
from divseg.denoise.noise.estimate import PhotonTransfer as PhotonTransfer
from divseg.denoise.noise.estimate import neighbour_correlation as neighbour_correlation
from divseg.denoise.noise.estimate import photon_transfer as photon_transfer
from divseg.denoise.noise.files import load as load
from divseg.denoise.noise.fit_data import FitData as FitData
from divseg.denoise.noise.gaussian import Gaussian as Gaussian
from divseg.denoise.noise.gaussian import PoissonGaussian as PoissonGaussian
from divseg.denoise.noise.histogram import Histogram as Histogram
from divseg.denoise.noise.measurement import bootstrap as bootstrap
from divseg.denoise.noise.measurement import measure as measure
from divseg.denoise.noise.mixture import GaussianMixture as GaussianMixture

__all__ = [
    "FitData",
    "Gaussian",
    "GaussianMixture",
    "Histogram",
    "NoiseModel",
    "PhotonTransfer",
    "PoissonGaussian",
    "bootstrap",
    "choose_noise",
    "load",
    "measure",
    "neighbour_correlation",
    "noise_spectrum",
    "photon_transfer",
]
