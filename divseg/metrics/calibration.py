"""The calibration of a confidence: a map from frequencies to probabilities, with margins for intervals."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from divseg.errors import DAMAGE, InputError, one_line
from divseg.io.json_file import read_json, real, whole
from divseg.metrics.risk import RiskCurve

FORMAT = "divseg calibration 2"
CALIBRATION = "calibration.json"
"""Name of the calibration in the folder of ``divseg calibrate``."""

LABELS, SIMULATED = "labels", "simulated"
"""What a calibration was made with: ground truth, or images simulated with a truth of their own."""

NEEDED = ("label", "existence", "mean_iou", "area_q05", "area_q95")
"""Columns of an object table that calibration reads."""


@dataclass(frozen=True)
class Curve:
    """Monotone, piecewise linear map; constant beyond its ends.

    Attributes
    ----------
    x, y : list of float
        Knots, both ascending.
    """

    x: list[float]
    y: list[float]

    def __post_init__(self) -> None:
        x, y = np.asarray(self.x, float), np.asarray(self.y, float)
        if x.ndim != 1 or x.shape != y.shape or not len(x) or (np.diff(x) <= 0).any() or (np.diff(y) < 0).any():
            raise InputError("a calibration curve needs as many y as x, at least one, x rising and y not falling")

    def __call__(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the curve at `values`."""
        return np.interp(np.asarray(values, float), self.x, self.y)


@dataclass(frozen=True)
class Calibration:
    """Turns posterior frequencies into probabilities, and spreads of samples into prediction intervals.

    It holds only for images, models, segmenters and fusion settings like those it was made with.

    Attributes
    ----------
    iou : float
        An object counts as right above this IoU with a true one.
    coverage : float
        Nominal fraction of true values within the intervals.
    source : str
        ``"labels"`` (images with ground truth) or ``"simulated"`` (:mod:`divseg.workflow.simulate`).
    method : str
        Fusion method that it was made with.
    n_images, n_objects : int
        Size of the data it was made with.
    p_true : Curve
        From :func:`object_score` to the probability of being right: isotonic regression.
    overlap : tuple of Curve
        The same for an IoU of at least .5, .55, ... .95.
    found : float
        Fraction of the true objects that were found with an IoU of at least .5.
    area : tuple of two float, or None
        Margins on the logarithm of the area below the 5 % and above the 95 % quantile (conformalised quantile
        regression); None if too few objects have a true partner.
    count : float or None
        Margin on log(1 + count) on both sides; None if there are too few images for `coverage`.
    risk : RiskCurve or None
        False objects by cut-off, on the labelled images; None of simulated ones, which allow no promise.
    check : dict of str to float
        Measured on left-out images (cross-validation in five parts): ``d_ece brier area_coverage
        count_coverage``, each ``_before`` and ``_after`` calibration.
    reliability : dict of str to list
        Of ``existence`` and ``p_true`` on left-out images: confidence, fraction that is right and number of objects,
        for each bin of :func:`divseg.reliability_curve`.
    settings : dict
        How the results were made, as far as known.

    Examples
    --------
    >>> import pandas as pd
    >>> from divseg import Calibration
    >>> from divseg.metrics.calibration import Curve
    >>> curve = Curve([0.0, 1.0], [0.1, 0.9])
    >>> calibration = Calibration("labels", 0.5, 0.9, "expected", 20, 400, curve, area=(0.1, 0.2), count=0.05)
    >>> columns = ["label", "existence", "mean_iou", "area_q05", "area_q95"]
    >>> objects = pd.DataFrame([[1, 1.0, 0.9, 90, 110], [2, 0.5, 0.5, 40, 60]], columns=columns)
    >>> calibration.apply(objects)[["p_true", "area_low", "area_high"]].round(2).to_numpy().tolist()
    [[0.82, 81.44, 134.35], [0.3, 36.19, 73.28]]
    >>> calibration.count_interval(10, 12)
    (9.0, 13.0)
    """

    source: str
    iou: float
    coverage: float
    method: str
    n_images: int
    n_objects: int
    p_true: Curve
    overlap: tuple[Curve, ...] = ()
    found: float = np.nan
    area: tuple[float, float] | None = None
    count: float | None = None
    risk: RiskCurve | None = None
    check: dict[str, float] = field(default_factory=dict)
    reliability: dict[str, list[list[float]]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def apply(self, objects: pd.DataFrame) -> pd.DataFrame:
        """Return the object table with calibrated columns.

        Parameters
        ----------
        objects : DataFrame
            ``Consensus.objects``, or rows of ``objects.csv``.

        Returns
        -------
        DataFrame
            A copy with ``p_true`` (probability of an IoU above `iou` with a true object) after ``existence`` and, if
            areas are calibrated, ``area_low area_high``: the true area lies between them with probability `coverage`,
            given that the object is right. NaN if no sample holds the object.

        Raises
        ------
        InputError
            If a column is missing.
        """
        check_columns(objects)
        table = objects.copy()
        table.insert(list(table).index("existence") + 1, "p_true", self.p_true(object_score(objects)))
        limits = self.area_intervals(objects["area_q05"].to_numpy(float), objects["area_q95"].to_numpy(float))
        if limits is not None:
            table["area_low"], table["area_high"] = limits
        return table

    def expected(self, score: ArrayLike) -> dict[str, float]:
        """Return the scores that an image with these objects will have, and its true number of objects.

        Parameters
        ----------
        score : array-like of float, shape (n,)
            :func:`object_score` of its objects.

        Returns
        -------
        dict of str to float
            ``map seg count``; NaN where nothing can be expected: without objects, or if no true object was found.

        Notes
        -----
        Each object reaches the IoU t with the probability that :attr:`overlap` gives, so the true positives of an
        image at t are expected to be the sum over its objects; the true objects are those at .5 divided by the fraction
        that is found. SEG takes the mean overlap of an object, which is the integral of that probability over t.
        """
        values = np.asarray(score, float)
        if not (len(values) and self.overlap and self.found > 0):
            return dict.fromkeys(("map", "seg", "count"), np.nan)
        tp = np.array([curve(values).sum() for curve in self.overlap])
        count = tp[0] / self.found
        ap = tp / (len(values) + np.maximum(count, tp) - tp)
        # from .5 on all have .5; beyond, the probability to reach t, by trapezoids to 0 at 1
        steps = np.concatenate([tp, [0.0]])
        overlap = 0.5 * tp[0] + 0.05 * float((steps[:-1] + steps[1:]).sum()) / 2
        return {"map": float(ap.mean()), "seg": float(min(overlap / count, 1.0)) if count > 0 else 0.0, "count": count}

    def cutoff(self, max_false: float) -> float:
        """Return the score above which objects are kept, so that at most `max_false` of them are false.

        Raises
        ------
        InputError
            If the calibration is of simulated images, or of too few labelled ones (:meth:`RiskCurve.cutoff`).
        ConfigError
            If `max_false` is not between 0 and 1.
        """
        if self.risk is None:
            raise InputError(
                "a calibration of simulated images can promise nothing about false objects: max_false needs one with "
                "ground truth (divseg calibrate RUN --truth MASKS)"
            )
        return self.risk.cutoff(max_false)

    def area_intervals(
        self, low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Prediction intervals of the true areas of objects that are right.

        Parameters
        ----------
        low, high : float64 arrays, shape (n,)
            5 and 95 % quantiles of the areas of the members.

        Returns
        -------
        tuple of two float64 arrays, shape (n,), or None
            None if areas could not be calibrated.
        """
        if self.area is None:
            return None
        low, high = low * np.exp(-self.area[0]), high * np.exp(self.area[1])
        # margins are negative if the samples spread too widely; low must not exceed high all the same
        middle = np.sqrt(low * high)
        return np.minimum(low, middle), np.maximum(high, middle)

    def count_interval(self, low: float, high: float) -> tuple[float, float] | None:
        """Prediction interval of the true number of objects of one image.

        Parameters
        ----------
        low, high : float
            5 and 95 % quantiles of the number of objects over the samples.

        Returns
        -------
        tuple of two float, or None
            Whole numbers; None if counts could not be calibrated.
        """
        if self.count is None:
            return None
        below, above = np.log1p(low) - self.count, np.log1p(high) + self.count
        if below > above:
            below = above = (below + above) / 2
        return float(max(0.0, np.floor(np.expm1(below) + 1e-9))), float(np.ceil(np.expm1(above) - 1e-9))

    def describe(self) -> dict[str, Any]:
        """Return the values that the record of a run holds."""
        settings = {"source": self.source, "iou": self.iou, "coverage": self.coverage, "method": self.method}
        size = {"n_images": self.n_images, "n_objects": self.n_objects}
        return {**settings, **size, "check": self.check, "reliability": self.reliability}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        from divseg.io import write_json

        write_json(path, {"format": FORMAT, **asdict(self)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read a file that :meth:`save` wrote, or the one in a folder of ``divseg calibrate``.

        Raises
        ------
        InputError
            If it cannot be read or is not a calibration.
        """
        path = Path(path)
        path = path / CALIBRATION if path.is_dir() else path
        try:
            record = read_json(path)
        except OSError as error:
            raise InputError(f"cannot read the calibration {path}: {error.strerror}") from None
        except ValueError as error:
            raise InputError(f"{path} is not a calibration: it is not a JSON file ({one_line(error)})") from None
        if not isinstance(record, Mapping) or record.get("format") != FORMAT:
            raise InputError(
                f'{path} is not a calibration: it lacks "format": {FORMAT!r}; make one with divseg calibrate'
            )
        values = {name: value for name, value in record.items() if name != "format"}
        try:
            if values["source"] not in (LABELS, SIMULATED):
                raise ValueError(f"source is {values['source']!r}")
            for name in ("iou", "coverage"):
                if not 0 <= (value := real(values[name])) <= 1:
                    raise ValueError(f"{name} is {value}")
            for name in ("n_images", "n_objects"):
                values[name] = whole(values[name])
            if not isinstance(values["method"], str) or not isinstance(values.get("settings", {}), dict):
                raise TypeError("method or settings have the wrong type")
            values["p_true"] = _curve(values["p_true"])
            values["overlap"] = tuple(_curve(curve) for curve in values["overlap"])
            values["found"] = np.nan if values["found"] is None else real(values["found"])
            if values["found"] < 0 or values["found"] > 1:
                raise ValueError(f"found is {values['found']}")
            values["check"] = {k: np.nan if v is None else real(v) for k, v in values.get("check", {}).items()}
            curves = values.get("reliability", {}).items()
            values["reliability"] = {name: [[real(v) for v in row] for row in rows] for name, rows in curves}
            risk = values["risk"]
            values["risk"] = (
                None
                if risk is None
                else RiskCurve(whole(risk["n_images"]), [real(v) for v in risk["cut"]], [real(v) for v in risk["risk"]])
            )
            margins = [] if values["area"] is None else [_margin(v) for v in values["area"]]
            values["area"] = (margins[0], margins[1]) if margins else None
            values["count"] = None if values["count"] is None else _margin(values["count"])
            return cls(**values)
        except DAMAGE as error:
            raise InputError(
                f"{path} is a damaged calibration ({type(error).__name__}: {one_line(error)}); "
                "make it again with divseg calibrate"
            ) from None


def _curve(record: Mapping[str, Any]) -> Curve:
    return Curve([real(v) for v in record["x"]], [real(v) for v in record["y"]])


def _margin(value: Any) -> float:
    """Return a margin on a logarithm; ValueError where its exponential would overflow."""
    if abs(margin := real(value)) > 50:
        raise ValueError(f"a margin of {margin}")
    return margin


def object_score(objects: pd.DataFrame) -> NDArray[np.float64]:
    """Return existence times mean IoU: fractional times spatial certainty.

    Siddiqui, Starke & Steinbach (arXiv 2309.10513) found the product better calibrated than either.
    """
    iou = np.nan_to_num(objects["mean_iou"].to_numpy(float), nan=0.0)
    return np.asarray(objects["existence"].to_numpy(float) * iou)


def check_columns(objects: pd.DataFrame) -> None:
    """Raise InputError if a table lacks a column that calibration reads."""
    missing = [name for name in NEEDED if name not in objects]
    if missing:
        raise InputError(f"the object table lacks the columns {', '.join(missing)}; give Consensus.objects")
