"""The thresholding methods and their options."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from divseg.errors import ConfigError
from divseg.specs import Choice, Flag, Number, Option, canonical, read_options

SPLITS = ("none", "distance", "intensity", "combined")

_ALL = {
    "threshold": Option(
        Number(words=("sample", "image")),
        "sample",
        "from each image (sample), from the reference of fit() (image), or a fixed intensity",
    ),
    "low": Option(Number(words=("auto",)), "auto", "hysteresis: intensity that ends an object"),
    "high": Option(Number(words=("auto",)), "auto", "hysteresis: intensity that an object must reach somewhere"),
    "band": Option(
        Number(0, 1),
        0.25,
        "hysteresis: low and high lie this fraction of the way from Otsu's threshold to the class means",
    ),
    "window": Option(Number(3, 9999, odd=True), 51, "side of the surroundings in pixels, larger than an object"),
    "offset": Option(Number(), 0.5, "local: margin above the local mean, in standard deviations"),
    "k": Option(Number(-1, 1), 0.05, "sauvola: weight of the local contrast"),
    "smooth": Option(Number(0, 100), 0.0, "Gaussian smoothing before thresholding, sigma in pixels; 0 = none"),
    "background": Option(
        Number(0, 9999, whole=True), 0, "subtract the background: radius in pixels, above that of any object; 0 = no"
    ),
    "fill_holes": Option(Flag(), True, "fill holes in the foreground"),
    "max_hole": Option(Number(0, whole=True), 0, "largest hole in pixels that is filled; 0 = any"),
    "min_size": Option(
        Number(0, whole=True, words=("auto",)),
        10,
        "drop objects of fewer pixels; auto: of less than a tenth of the typical object's area",
    ),
    "max_size": Option(Number(0, whole=True), 0, "drop objects of more pixels; 0 = no limit"),
    "clear_border": Option(Flag(), False, "drop objects that touch the edge of the image"),
    "split": Option(Choice(SPLITS), "none", "divide touching objects by a watershed"),
    "h": Option(
        Number(0, words=("auto",)),
        "auto",
        "dip between two peaks that divides: pixels of distance (0.5), or foreground stds with split=intensity (0.2)",
    ),
    "h_relative": Option(
        Number(0, 1, words=("auto",)), "auto", "the same as a fraction of the higher peak (distance, combined: 0.04)"
    ),
    "split_smooth": Option(
        Number(0, 100, words=("auto",)),
        "auto",
        "smoothing before division, sigma in pixels (distance 1, intensity 2)",
    ),
    "min_distance": Option(Number(0), 0.0, "objects with centres nearer than this many pixels are not divided"),
    "connectivity": Option(Number(1, 3, whole=True), 1, "1: pixels of an object share a side; 2, 3: or a corner"),
    "ndim": Option(Number(2, 3, whole=True), 2, "2: planes (Y, X); 3: volumes (Z, Y, X)"),
    "anisotropy": Option(
        Number(0.01, 100, words=("auto",)),
        "auto",
        "distance between planes in units of the pixel size (ndim=3); auto: that of the image in a run, otherwise 1",
    ),
}

_SPECIAL = {
    "local": ("window", "offset"),
    "sauvola": ("window", "k"),
    "hysteresis": ("low", "high", "band"),
}
_GLOBAL = ("otsu", "li", "triangle", "yen", "isodata", "fixed")
_OWN = {name for names in _SPECIAL.values() for name in names}
_SPLITTING = ("h", "h_relative", "split_smooth", "min_distance")

METHODS: dict[str, dict[str, Option]] = {
    method: {name: option for name, option in _ALL.items() if name not in _OWN or name in _SPECIAL.get(method, ())}
    for method in (*_GLOBAL[:-1], "local", "sauvola", "hysteresis", "fixed")
}
"""Thresholding methods and the options of each."""


@dataclass(frozen=True)
class ThresholdOptions:
    """Values of all options, by the names that strings use; options of other methods have their defaults."""

    threshold: str | float
    low: str | float
    high: str | float
    band: float
    window: int
    offset: float
    k: float
    smooth: float
    background: int
    fill_holes: bool
    max_hole: int
    min_size: str | int
    max_size: int
    clear_border: bool
    split: str
    h: str | float
    h_relative: str | float
    split_smooth: str | float
    min_distance: float
    connectivity: int
    ndim: int
    anisotropy: str | float

    @property
    def fixed(self) -> bool:
        """Whether the user gave the threshold, so that it does not depend on the image."""
        return isinstance(self.threshold, float) or isinstance(self.low, float)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Distance between neighbouring pixels along each axis, in units of the pixel size in Y and X."""
        if self.ndim == 2:
            return (1.0, 1.0)
        return (self.anisotropy if isinstance(self.anisotropy, float) else 1.0, 1.0, 1.0)


def threshold_options(method: str, pairs: Iterable[tuple[str, str]]) -> tuple[str, ThresholdOptions, str]:
    """Read the options of a thresholding method.

    Parameters
    ----------
    method : str
        A name of :data:`METHODS`.
    pairs : iterable of (str, str)
        Option and text of its value.

    Returns
    -------
    method : str
        ``"fixed"`` if the threshold is a number, otherwise unchanged.
    options : ThresholdOptions
    name : str
        The canonical string.

    Raises
    ------
    ConfigError
        Unknown option, impossible value, or options that contradict each other or have no effect.
    """
    pairs = list(pairs)
    named = {name for name, _ in pairs}
    values = read_options(method, pairs, METHODS[method], elsewhere=_ALL)
    number = isinstance(values["threshold"], float)
    if number and method in _SPECIAL:
        more = " (or give low= and high=)" if method == "hysteresis" else ""
        raise ConfigError(
            f"segmenter option threshold={values['threshold']:g}: {method} has no single threshold; use fixed{more}"
        )
    if method == "fixed" and not number:
        raise ConfigError("segmenter 'fixed' needs its threshold: write fixed,threshold=<intensity>")
    if number:
        method = "fixed"
    if method == "hysteresis":
        _check_hysteresis(values, named)
    if values["split"] == "none" and (idle := [name for name in _SPLITTING if name in named]):
        raise ConfigError(f"segmenter option {idle[0]} has no effect without split=distance, intensity or combined")
    if values["split"] == "intensity" and "h_relative" in named:
        raise ConfigError("segmenter option h_relative has no effect with split=intensity; use h")
    if "max_hole" in named and not values["fill_holes"]:
        raise ConfigError("segmenter option max_hole has no effect with fill_holes=false")
    if "anisotropy" in named and values["ndim"] == 2:
        raise ConfigError("segmenter option anisotropy has no effect without ndim=3")
    if values["connectivity"] > values["ndim"]:
        raise ConfigError(f"segmenter option connectivity={values['connectivity']} is above ndim={values['ndim']}")
    if values["min_size"] != "auto" and values["max_size"] and values["max_size"] < values["min_size"]:
        raise ConfigError(
            f"segmenter options min_size={values['min_size']} and max_size={values['max_size']} leave no objects"
        )
    defaults = {name: option.default for name, option in _ALL.items()}
    return method, ThresholdOptions(**{**defaults, **values}), canonical(method, values, METHODS[method])


def _check_hysteresis(values: dict[str, object], named: set[str]) -> None:
    low, high = values["low"], values["high"]
    if isinstance(low, float) != isinstance(high, float):
        raise ConfigError("segmenter 'hysteresis' needs both low= and high=, or neither (then both are chosen)")
    if isinstance(low, float) and isinstance(high, float):
        if low > high:
            raise ConfigError(f"segmenter options low={low:g} and high={high:g}: low must not be above high")
        if "band" in named:
            raise ConfigError("segmenter option band has no effect with low= and high=")
        if values["threshold"] != "sample":
            raise ConfigError("segmenter option threshold=image has no effect with low= and high=")
