"""The histogram noise model of PN2V: the noise as it was counted, without a formula."""

from __future__ import annotations

import base64
import math
import zlib
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Generator, Tensor

from divseg.denoise.noise.base import NoiseModel, log_normal
from divseg.denoise.precision import sum_dtype
from divseg.errors import ConfigError
from divseg.io.json_file import whole

OUTLIERS = 1e-3
"""Fraction of a wide normal distribution that is mixed in, so that cells without counts are not impossible."""

MAX_BINS = 8192
"""Most bins that a file may have; their table takes 268 MB."""

_CHUNK = 65536
_FLOOR = 1e-30


class Histogram(NoiseModel, kind="histogram"):
    """Noise given by the counts of observed values for every level of the clean signal.

    Signal and observation have the same range and number of bins, as in PN2V. The density is constant in
    the observation within a bin and linear in the signal between the centres of two bins, so that its
    gradient with respect to the signal is exact. (PN2V interpolates between the lower edges of the bins,
    which moves the signal by half a bin, and gives the mass of a bin instead of a density.) A small fraction of a
    normal distribution of twice the standard deviation is mixed in, so that empty cells have a gradient that leads
    back. For signals outside the range the noise is normal, with the variance of the nearest row.

    Parameters
    ----------
    table : array, shape (bins, bins)
        Counts or probabilities; row i is the distribution of the observation for signals in bin i. Rows
        without counts are copies of the nearest row with counts, shifted to their signal.
    low, high : float
        Lower edge of the first bin and upper edge of the last.
    outliers : float
        Fraction of the wide normal distribution, from 0 to below 1.

    References
    ----------
    Krull et al., "Probabilistic Noise2Void", Frontiers in Computer Science 2:5 (2020), section 3.3.
    """

    def __init__(self, table: ArrayLike, *, low: float, high: float, outliers: float = OUTLIERS) -> None:
        super().__init__()
        counts = np.array(table, dtype=np.float64)
        if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not 2 <= counts.shape[0] <= MAX_BINS:
            raise ConfigError(
                f"a noise histogram needs a square table of counts, 2 to {MAX_BINS} bins, got shape {counts.shape}"
            )
        if not (np.isfinite(counts).all() and (counts >= 0).all()):
            raise ConfigError("the noise histogram holds counts that are negative or not finite")
        # a bin must be wide enough for 32-bit floats to tell one from the next
        room = high - low if all(map(math.isfinite, (low, high))) else 0.0
        if not max(len(counts) * 1e-6 * max(abs(low), abs(high)), 1e-30) < room < 1e30:
            raise ConfigError(f"a noise histogram needs low < high and bins that differ, got {low!r} and {high!r}")
        if not 0 <= outliers < 1:
            raise ConfigError(f"outliers={outliers!r} must be a fraction from 0 to below 1")
        self.low, self.high, self.outliers = float(low), float(high), float(outliers)
        self.width = (self.high - self.low) / counts.shape[0]
        table32 = _filled(counts).astype(np.float32)
        centres = self.low + self.width * (np.arange(len(counts)) + 0.5)
        squares = np.square(centres[None, :] - centres[:, None])
        var = (table32 * squares).sum(1) + self.width**2 / 12.0
        self.table: Tensor
        self._var: Tensor
        self.register_buffer("table", torch.from_numpy(table32))
        self.register_buffer("_var", torch.from_numpy(var.astype(np.float32)), persistent=False)

    @property
    def bins(self) -> int:
        """Number of bins of signal and observation."""
        return self.table.shape[0]

    def _rows(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """Index of the row below `s`, and the position between it and the next: 0 to 1, clipped at the ends."""
        u = (s - self.low) / self.width - 0.5
        row = u.detach().floor().clamp(0, self.bins - 2)
        return row.long(), (u - row).clamp(0.0, 1.0)

    def variance(self, s: Tensor) -> Tensor:
        """Variance of the observations around the clean values `s`, without the outliers."""
        row, fraction = self._rows(s.float())
        return self._var[row] * (1.0 - fraction) + self._var[row + 1] * fraction

    def _log_density(self, x: Tensor, s: Tensor) -> Tensor:
        column = ((x - self.low) / self.width).detach().floor().clamp(0, self.bins - 1).long()
        row, fraction = self._rows(s)
        mass = self.table[row, column] * (1.0 - fraction) + self.table[row + 1, column] * fraction
        return self._with_outliers(mass / self.width, x, s)

    def _with_outliers(self, density: Tensor, x: Tensor, s: Tensor) -> Tensor:
        var = self.variance(s)
        log_density = density.clamp_min(_FLOOR).log()
        if self.outliers:
            wide = log_normal(x - s, 4.0 * var) + math.log(self.outliers)
            log_density = torch.logaddexp(log_density + math.log1p(-self.outliers), wide)
        outside = (s < self.low) | (s > self.high)
        return torch.where(outside, log_normal(x - s, var), log_density)

    def _log_tail(self, limit: float, s: Tensor, *, upper: bool) -> Tensor:
        column = min(max(int((limit - self.low) / self.width), 0), self.bins - 1)
        tail = self.table[:, column:].sum(1) if upper else self.table[:, : column + 1].sum(1)
        row, fraction = self._rows(s)
        mass = tail[row] * (1.0 - fraction) + tail[row + 1] * fraction
        z = (s - limit) / self.variance(s).sqrt()
        z = z if upper else -z
        log_mass = mass.clamp_min(_FLOOR).log()
        if self.outliers:
            wide = torch.special.log_ndtr(0.5 * z) + math.log(self.outliers)
            log_mass = torch.logaddexp(log_mass + math.log1p(-self.outliers), wide)
        outside = (s < self.low) | (s > self.high)
        return torch.where(outside, torch.special.log_ndtr(z), log_mass)

    def _draw(self, s: Tensor, generator: Generator | None) -> Tensor:
        row, fraction = self._rows(s)
        pick, level, within = torch.rand((3, *s.shape), generator=generator, device=s.device).unbind()
        row = (row + (pick < fraction)).ravel()
        cumulative = self.table.to(sum_dtype(s.device)).cumsum(1)
        level = level.ravel() * cumulative[row, -1]
        columns = [
            torch.searchsorted(cumulative[row[i : i + _CHUNK]], level[i : i + _CHUNK, None], right=True)[:, 0]
            for i in range(0, len(row), _CHUNK)
        ]
        column = torch.cat(columns).clamp_max(self.bins - 1).reshape(s.shape)
        x = self.low + self.width * (column + within)
        noise = torch.randn(s.shape, generator=generator, device=s.device)
        normal = s + self.variance(s).sqrt() * noise
        if self.outliers:
            odd = torch.rand(s.shape, generator=generator, device=s.device) < self.outliers
            x = torch.where(odd, 2.0 * normal - s, x)
        return torch.where((s < self.low) | (s > self.high), normal, x)

    def signal_range(self) -> tuple[float, float]:
        """Return `low` and `high`."""
        return self.low, self.high

    def _values(self) -> dict[str, Any]:
        """Return the parameters, the table as base64 of its compressed float32 values."""
        packed = zlib.compress(self.table.cpu().numpy().astype("<f4").tobytes(), 9)
        return {
            "bins": self.bins,
            "low": self.low,
            "high": self.high,
            "outliers": self.outliers,
            "table": base64.b64encode(packed).decode("ascii"),
        }

    @classmethod
    def _from_values(cls, data: dict[str, Any]) -> Self:
        bins = whole(data["bins"], 2, MAX_BINS)
        try:
            unpacker = zlib.decompressobj()
            raw = unpacker.decompress(base64.b64decode(data["table"], validate=True), 4 * bins**2 + 1)
        except (ValueError, zlib.error) as error:
            raise ConfigError(f"the table of the noise histogram cannot be unpacked ({error})") from error
        if len(raw) != 4 * bins**2:
            raise ConfigError(f"the noise histogram does not have the {4 * bins**2} bytes of {bins} bins")
        table = np.frombuffer(raw, "<f4").reshape(bins, bins)
        return cls(table, low=data["low"], high=data["high"], outliers=data["outliers"])

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return PN2V's histogram (probabilities, lower and upper edges along the signal) and the outliers."""
        edges = self.low + self.width * np.arange(self.bins + 1)
        planes = np.empty((3, self.bins, self.bins))
        planes[0] = self.table.cpu().numpy()
        planes[1] = edges[:-1, None]
        planes[2] = edges[1:, None]
        return {"histogram": planes, "outliers": np.array(self.outliers)}

    def describe(self) -> str:
        """One line for logs and reports."""
        return (
            f"histogram of the noise, {self.bins} bins of {self.width:.4g} from {self.low:.4g} to "
            f"{self.high:.4g}{self._limit_words()}"
        )


def _filled(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normalise the rows; rows without counts are the nearest one with counts, shifted by their distance."""
    total = counts.sum(1)
    total[np.abs(total - 1.0) < 1e-5] = 1.0  # normalised before: keep every bit
    filled = np.flatnonzero(total > 1e-20)
    if not filled.size:
        raise ConfigError("the noise histogram is empty")
    out = np.zeros_like(counts)
    out[filled] = counts[filled] / total[filled, None]
    bins = len(counts)
    for i in np.flatnonzero(total <= 1e-20):
        nearest = int(filled[np.abs(filled - i).argmin()])
        columns = np.clip(np.arange(bins) + i - nearest, 0, bins - 1)
        np.add.at(out[i], columns, out[nearest])
    return out
