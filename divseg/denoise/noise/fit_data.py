"""The data that a measured noise model was fitted to: saved with it, for plots and judgement."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from divseg.errors import DAMAGE, ModelError, one_line
from divseg.io.json_file import real


@dataclass(frozen=True)
class Slice:
    """Distribution of the observed values at one level of the signal.

    Attributes
    ----------
    signal : float
        Mean signal of the pixels, in intensity units.
    edges, density : list of float
        Edges of the bins, in intensity units, and the density in each bin: one fewer.
    """

    signal: float
    edges: list[float]
    density: list[float]


@dataclass(frozen=True)
class FitData:
    """The levels of the photon-transfer curve, some distributions, and warnings.

    Attributes
    ----------
    signal, variance, count : list of float
        Mean signal, variance of the noise and number of pixels of every level.
    slices : list of Slice
        Distributions of the observed values at a few levels, dark to bright.
    source : str
        What was measured, for example ``"1 smooth frame"``.
    correlation : tuple of float
        Correlation of the noise of horizontal and vertical neighbours.
    notes : list of str
        Warnings about the data or the fit.
    """

    signal: list[float]
    variance: list[float]
    count: list[float]
    slices: list[Slice] = field(default_factory=list)
    source: str = ""
    correlation: tuple[float, float] = (0.0, 0.0)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> FitData:
        """Rebuild the data from :meth:`to_dict`.

        Raises
        ------
        ModelError
            If something is missing.
        """
        try:
            slices = [Slice(real(s["signal"]), _reals(s["edges"]), _reals(s["density"])) for s in data["slices"]]
            return cls(
                _reals(data["signal"]),
                _reals(data["variance"]),
                _reals(data["count"]),
                slices,
                str(data["source"]),
                (float(data["correlation"][0]), float(data["correlation"][1])),
                [str(note) for note in data["notes"]],
            )
        except DAMAGE as error:
            reason = f"{type(error).__name__}: {one_line(error)}"
            raise ModelError(f"damaged fit data of a noise model ({reason})") from error


def _reals(values: Any) -> list[float]:
    return [real(value) for value in values]
