"""The base class of the noise models: limits of the detector, registry of kinds, and the file a model is saved to."""

from __future__ import annotations

import io
import json
import math
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from divseg.denoise.noise_file_names import SUFFIXES
from divseg.errors import DAMAGE, ConfigError, ModelError, brief, one_line
from divseg.io import write_bytes, write_text

if TYPE_CHECKING:
    from divseg.denoise.noise.fit_data import FitData

FORMAT = 1
"""Format of the JSON files."""

EXTRA = "divseg"
"""Key under which an .npz file holds, as JSON, what other programs do not read: limits and fit data."""

_KINDS: dict[str, type[NoiseModel]] = {}
_LOG_2PI = math.log(2.0 * math.pi)
_ROUNDING = 2e-6  # pixels may have been normalised and back in float32: this close to a limit, relative to it, is at it


class NoiseModel(nn.Module):
    """Distribution of a noisy pixel x around its clean value s, independent from pixel to pixel.

    All values are in the images' own intensity units, all arithmetic is in float32 log space. A noise model is a
    torch module, so that co-learned parameters train with the network and move with it. A subclass that names its
    kind, ``class Mine(NoiseModel, kind="mine")``, can be rebuilt by :meth:`from_dict`.

    The likelihood is censored at the detector's limits. A pixel at the ceiling says only that the noisy value would
    have been at least that: its likelihood is the probability of the upper tail, and of the lower tail at the floor
    (Tobin, "Estimation of relationships for limited dependent variables", Econometrica 26 (1958)). Without limits
    the density is used everywhere.

    Attributes
    ----------
    kind : str
        Name of the model in files and messages, for example ``"gaussian"``.
    floor, ceiling : float or None
        Smallest and largest value that the detector can write; None if the images do not reach it.
    fit_data : FitData or None
        What the model was fitted to, for plots; None for a model with stated parameters.
    """

    kind = ""

    def __init_subclass__(cls, kind: str = "", **options: Any) -> None:
        super().__init_subclass__(**options)
        if kind:
            cls.kind = kind
            _KINDS[kind] = cls

    def __init__(self) -> None:
        super().__init__()
        self.floor: float | None = None
        self.ceiling: float | None = None
        self.fit_data: FitData | None = None

    @property
    def device(self) -> torch.device:
        """Device of the parameters, co-learned or fixed."""
        return next(chain(self.parameters(), self.buffers())).device

    def with_limits(self, floor: float | None, ceiling: float | None) -> Self:
        """Set the detector's limits and return the model.

        Raises
        ------
        ConfigError
            If a limit is not a finite number, or the floor is not below the ceiling.
        """
        for name, value in (("floor", floor), ("ceiling", ceiling)):
            if value is not None and (isinstance(value, str) or not math.isfinite(value)):
                raise ConfigError(f"noise {name}={brief(value)} must be a finite number or absent")
        if floor is not None and ceiling is not None and not floor < ceiling:
            raise ConfigError(f"noise floor={floor:g} must be below ceiling={ceiling:g}")
        self.floor = None if floor is None else float(floor)
        self.ceiling = None if ceiling is None else float(ceiling)
        return self

    def log_prob(self, x: Tensor, s: Tensor) -> Tensor:
        """Log-density of the observed `x` given the clean `s`, element by element, in float32.

        At a limit of the detector it is the log-probability of the tail beyond.
        """
        with torch.autocast(x.device.type, enabled=False):
            x, s = x.float(), s.float()
            out = self._log_density(x, s)
            if self.ceiling is not None:
                beyond = x >= self.ceiling - _ROUNDING * abs(self.ceiling)
                out = torch.where(beyond, self._log_tail(self.ceiling, s, upper=True), out)
            if self.floor is not None:
                beyond = x <= self.floor + _ROUNDING * abs(self.floor)
                out = torch.where(beyond, self._log_tail(self.floor, s, upper=False), out)
        return out

    def sample(self, s: Tensor, generator: Generator | None = None) -> Tensor:
        """Draw noisy values for the clean values `s`, clipped at the detector's limits."""
        x = self._draw(s.float(), generator)
        if self.floor is not None or self.ceiling is not None:
            x = x.clamp(self.floor, self.ceiling)
        return x

    def variance(self, s: Tensor) -> Tensor:
        """Variance of the noise at the clean values `s`, before clipping at the detector's limits."""
        raise NotImplementedError  # abstract

    def describe(self) -> str:
        """One line for logs and reports."""
        raise NotImplementedError  # abstract

    def signal_range(self) -> tuple[float, float]:
        """Return the range of clean signals that the model is meant for."""
        raise NotImplementedError  # abstract

    def penalty(self) -> Tensor | float:
        """Return what training adds to the loss per pixel: 0, unless co-learned parameters have a prior."""
        return 0.0

    def to_dict(self) -> dict[str, Any]:
        """Kind, parameters and limits as plain numbers; the inverse of :meth:`from_dict`."""
        return {"kind": self.kind, **self._values(), **self._limits()}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> NoiseModel:
        """Rebuild a noise model of any kind from :meth:`to_dict`.

        Raises
        ------
        ModelError
            If the kind is unknown, or a parameter is missing or impossible.
        """
        try:
            rest = dict(data)
            kind, floor, ceiling = rest.pop("kind"), rest.pop("floor", None), rest.pop("ceiling", None)
            if kind not in _KINDS:
                raise ModelError(f"unknown noise model kind {brief(kind)}: this version knows {', '.join(_KINDS)}")
            return _KINDS[kind]._from_values(rest).with_limits(floor, ceiling)
        except ModelError:
            raise
        except DAMAGE as error:
            reason = f"{type(error).__name__}: {one_line(error)}"
            raise ModelError(f"damaged noise model {brief(data, 200)} ({reason})") from error

    def save(self, path: str | Path) -> Path:
        """Write the model to a file; the ending of its name says how.

        * ``.json``: any model, with all its digits, its limits and its fit data.
        * ``.npz``: a mixture with the keys of PN2V, DivNoising and CAREamics (`trained_weight`, `min_signal`,
          `max_signal`, `min_sigma`); Gaussian and Poisson-Gaussian models as mixtures of one Gaussian; a histogram
          under the key `histogram`.
        * ``.npy``: a histogram as PN2V writes it, shape (3, bins, bins): probabilities, lower and upper edges.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        ConfigError
            If the ending is unknown, or the model cannot be written in this form.
        OutputError
            If the file cannot be written.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        fit_data = {"fit_data": self.fit_data.to_dict()} if self.fit_data else {}
        buffer = io.BytesIO()
        if suffix == ".json":
            data = {"format": FORMAT, "noise": self.to_dict(), "description": self.describe(), **fit_data}
            write_text(path, json.dumps(data, indent=1) + "\n")
        elif suffix == ".npz":
            arrays: dict[str, Any] = self.to_arrays()
            arrays[EXTRA] = np.array(json.dumps({**self._limits(), **fit_data}))
            np.savez(buffer, **arrays)
            write_bytes(path, buffer.getvalue())
        elif suffix == ".npy":
            arrays = self.to_arrays()
            if "histogram" not in arrays:
                raise ConfigError(f"{path}: .npy holds noise histograms; write {self.kind} noise as .json or .npz")
            np.save(buffer, arrays["histogram"])
            write_bytes(path, buffer.getvalue())
        else:
            raise ConfigError(f"{path}: a noise model is written as {', '.join(SUFFIXES)}; choose such a name")
        return path

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of an .npz file of PN2V, DivNoising and CAREamics.

        Raises
        ------
        ConfigError
            If the model cannot be written in this form.
        """
        raise ConfigError(f"{self.kind} noise cannot be written as a mixture or histogram; use .json")

    def _limits(self) -> dict[str, float]:
        """Return the limits that are set."""
        limits = {"floor": self.floor, "ceiling": self.ceiling}
        return {name: value for name, value in limits.items() if value is not None}

    def _limit_words(self) -> str:
        """Return a remark on the limits for :meth:`describe`."""
        words = " and ".join(f"{name} {value:g}" for name, value in self._limits().items())
        return f"; pixels at the detector's {words} are censored" if words else ""

    def _values(self) -> dict[str, Any]:
        """Return the parameters as plain numbers."""
        raise NotImplementedError  # abstract

    @classmethod
    def _from_values(cls, data: dict[str, Any]) -> Self:
        """Rebuild the model from :meth:`_values`, by default the arguments of the class."""
        return cls(**data)

    def _log_density(self, x: Tensor, s: Tensor) -> Tensor:
        raise NotImplementedError  # abstract

    def _log_tail(self, limit: float, s: Tensor, *, upper: bool) -> Tensor:
        """Log-probability that the noisy value lies above (or below) `limit`."""
        raise NotImplementedError  # abstract

    def _draw(self, s: Tensor, generator: Generator | None) -> Tensor:
        raise NotImplementedError  # abstract


def log_normal(deviation: Tensor, variance: Tensor) -> Tensor:
    """Log-density of a centred normal distribution."""
    return -0.5 * (_LOG_2PI + variance.log() + deviation.square() / variance)
