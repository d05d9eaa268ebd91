"""Pixel size from ImageJ and OME metadata."""

from __future__ import annotations

import math
from typing import Any
from xml.etree import ElementTree

from divseg.io.image import PixelSize

MICRO = "µm"
_IN_MICROMETRES = {
    "m": 1e6,
    "meter": 1e6,
    "metre": 1e6,
    "cm": 1e4,
    "mm": 1e3,
    "millimeter": 1e3,
    "millimetre": 1e3,
    "µm": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometers": 1.0,
    "micrometre": 1.0,
    "micrometres": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "nanometre": 1e-3,
    "pm": 1e-6,
    "Å": 1e-4,
    "angstrom": 1e-4,
    "inch": 25400.0,
    "in": 25400.0,
}
_NO_UNIT = {"", "pixel", "pixels", "px", "null", "none", "reference frame"}


def unit_factor(unit: str) -> tuple[float, str] | None:
    """Return (factor, unit) that bring a length to µm, or (1, unit) if it is not known, None without a unit."""
    # ImageJ escapes the micro sign; U+00B5, U+03BC and U+212B look the same as their siblings
    unit = unit.strip().strip("\0").replace("\\u00B5", "µ").replace("\\u00b5", "µ")
    unit = unit.replace("\u03bc", "µ").replace("\u212b", "Å")
    if unit.lower() in _NO_UNIT:
        return None
    factor = _IN_MICROMETRES.get(unit, _IN_MICROMETRES.get(unit.lower()))
    return (factor, MICRO) if factor is not None else (1.0, unit)


def make_pixel_size(
    y: float | None, x: float | None, z: float | None, units: tuple[str, str, str]
) -> tuple[PixelSize | None, str | None]:
    """Return the pixel size, in µm if the units allow, and what was ignored because it makes no sense.

    Parameters
    ----------
    y, x, z : float or None
        Pixel size along each axis, in the `units` of the same order.
    units : tuple of str
        Units as they stand in the file.

    Returns
    -------
    PixelSize or None, str or None
    """
    if y is None or x is None:
        return None, None
    factors = [unit_factor(unit) for unit in units]
    if factors[0] is None or factors[1] is None:
        return None, None
    if not all(math.isfinite(v) and v > 0 for v in (y, x)):
        return None, f"the pixel size y={y:g} x={x:g} {units[0]} makes no sense and is ignored"
    (fy, unit), (fx, unit_x) = factors[0], factors[1]
    if unit != unit_x:
        return None, f"the pixel size has units {unit} along y but {unit_x} along x and is ignored"
    depth, note = None, None
    if z is not None and factors[2] is not None and factors[2][1] == unit:
        if math.isfinite(z) and z > 0:
            depth = z * factors[2][0]
        else:
            note = f"the plane distance z={z:g} {units[2]} makes no sense and is ignored"
    return PixelSize(y * fy, x * fx, depth, unit), note


def imagej_pixel_size(metadata: dict[str, Any], tags: Any) -> tuple[PixelSize | None, str | None]:
    """Return the pixel size of an ImageJ TIFF, whose resolution counts pixels per `unit`."""
    unit = str(metadata.get("unit", ""))
    if "XResolution" not in tags or "YResolution" not in tags:
        return None, None
    y, x = (_inverse(tags[key].value) for key in ("YResolution", "XResolution"))
    spacing = _number(metadata.get("spacing"))
    y_unit = str(metadata.get("yunit", unit))
    return make_pixel_size(y, x, spacing, (y_unit, unit, str(metadata.get("zunit", unit))))


def ome_pixel_size(pixels: ElementTree.Element) -> tuple[PixelSize | None, str | None]:
    """Return the pixel size that an OME Pixels element states; the unit is µm by default."""
    y, x, z = (_number(pixels.get(f"PhysicalSize{axis}")) for axis in "YXZ")
    units = tuple(pixels.get(f"PhysicalSize{axis}Unit", MICRO) for axis in "YXZ")
    return make_pixel_size(y, x, z, (units[0], units[1], units[2]))


def plane_distance(size: PixelSize | None) -> float | None:
    """Return the distance of planes in units of the pixel size in Y and X, None if it is not known."""
    return None if size is None or size.z is None else size.z / (size.y * size.x) ** 0.5


def _inverse(ratio: tuple[int, int]) -> float:
    return ratio[1] / ratio[0] if ratio[0] else math.inf


def _number(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return math.nan
