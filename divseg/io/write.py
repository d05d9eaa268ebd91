"""Images out, as TIFF that Fiji and napari open with axes and pixel size."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import tifffile
from numpy.typing import ArrayLike, NDArray

from divseg.errors import InputError
from divseg.io.atomic import replacing
from divseg.io.image import PixelSize
from divseg.io.label_colours import label_colours

_MAX_IMAGEJ = 2**32 - 2**25
"""ImageJ TIFFs have 32-bit offsets."""
_AXES = {"YX": "YX", "ZYX": "ZYX", "TYX": "TYX", "CYX": "CYX", "SYX": "TYX", "SZYX": "TZYX"}
_AXES |= {"CZYX": "ZCYX", "SCYX": "TCYX", "SCZYX": "TZCYX"}
_COLOR_MAP, _CENTIMETER = 320, 3


def write_image(
    path: str | os.PathLike[str],
    image: ArrayLike,
    pixel_size: PixelSize | None = None,
    axes: str = "YX",
    compress: bool = False,
) -> None:
    """Write intensities as a float32 ImageJ TIFF (OME-TIFF above 4 GB), wholly or not at all.

    Parameters
    ----------
    path : path
        The file.
    image : array_like
        Pixels in the order of `axes`; become float32.
    pixel_size : PixelSize, optional
        Written so that Fiji shows it.
    axes : str
        Those of one image (``"YX"``, ``"ZYX"``), after (C) for channels, (T) for frames, (S) for samples, or ``"SC"``;
        samples are written as time, for which viewers show a slider, and channels after Z, as ImageJ has them.
    compress : bool
        Deflate the pixels, without loss. It makes a file much smaller only if its numbers are rounded
        (:mod:`divseg.io.rounding`).

    Raises
    ------
    InputError
        If `axes` do not fit the array.
    OutputError
        If it cannot be written.
    """
    data = np.ascontiguousarray(image, dtype=np.float32)
    _check_axes(path, data, axes)
    if axes.endswith("CZYX"):
        data = np.ascontiguousarray(np.moveaxis(data, -4, -3))
    write_tiff(path, data, _AXES[axes], pixel_size, compression="zlib" if compress else None)


def write_fractions(
    path: str | os.PathLike[str], image: ArrayLike, pixel_size: PixelSize | None = None, axes: str = "YX"
) -> None:
    """Write fractions from 0 to 1 as an ImageJ TIFF of 8 bits, deflated: 255 stands for 1.

    Fiji shows the fractions, since the file says what its numbers stand for; other programs show 0 to 255. A fraction
    is off by at most 1/510.

    Parameters
    ----------
    path, pixel_size, axes
        As for :func:`write_image`.
    image : array_like
        Fractions, in the order of `axes`.

    Raises
    ------
    InputError
        If `axes` do not fit the array, or a value is not a fraction.
    OutputError
        If it cannot be written.
    """
    data = np.asarray(image)
    _check_axes(path, data, axes)
    if not (float(data.min()) >= 0 and float(data.max()) <= 1):
        raise InputError(f"{os.fspath(path)}: fractions lie between 0 and 1, not {data.min():g} to {data.max():g}")
    # cf=0 is a straight line; c0 and c1 are what it adds and what it multiplies by
    meaning = {"cf": 0, "c0": 0.0, "c1": 1 / 255, "vunit": "fraction", "min": 0.0, "max": 255.0}
    scaled = np.rint(255 * data).astype(np.uint8)
    write_tiff(path, scaled, _AXES[axes], pixel_size, compression="zlib", shown=meaning)


def write_tiff(
    path: str | os.PathLike[str],
    data: NDArray[Any],
    axes: str,
    pixel_size: PixelSize | None,
    compression: str | None,
    shown: dict[str, Any] | None = None,
    label_lut: bool = False,
) -> None:
    """Write an array as ImageJ TIFF if its dtype and size allow, else as OME-TIFF.

    Parameters
    ----------
    path : path
        The file.
    data : array
        Pixels in the order of `axes`.
    axes : str
        Axes that ImageJ knows.
    pixel_size : PixelSize, optional
        Written so that Fiji shows it.
    compression : str, optional
        As in tifffile.
    shown : dict, optional
        Lines of ImageJ's description that tell how the pixels are shown.
    label_lut : bool
        Give the colours of :func:`divseg.io.label_colours.label_colours` as ImageJ's look-up table. ImageJ stretches
        its 256 colours over larger label images, so that labels that follow one another then share a colour.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    # A stack one pixel wide would come back from an ImageJ TIFF with its axes shifted
    small = data.nbytes < _MAX_IMAGEJ and data.shape[-1] > 1
    imagej = small and data.dtype in (np.uint8, np.uint16, np.float32)
    options = _imagej(axes, pixel_size, shown or {}) if imagej else _ome(axes, pixel_size, data.nbytes)
    if label_lut:
        # Where ImageJ itself writes the table of an image of 16 or 32 bits: 256 colours of 16 bits
        table = (label_colours().T.astype(np.uint16) * 257).ravel().tolist()
        options["extratags"] = [(_COLOR_MAP, "H", len(table), table, True)]
    with replacing(path) as file:
        tifffile.imwrite(file, data, photometric="minisblack", compression=compression, **options)


def _check_axes(path: str | os.PathLike[str], data: NDArray[Any], axes: str) -> None:
    if axes not in _AXES or len(axes) != data.ndim or 0 in data.shape:
        raise InputError(
            f"{os.fspath(path)}: axes {axes!r} and shape {data.shape} cannot be written; "
            f"give an array with axes {', '.join(_AXES)}"
        )


def _imagej(axes: str, pixel_size: PixelSize | None, shown: dict[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": axes, **shown}
    if pixel_size is None:
        return {"imagej": True, "metadata": metadata}
    metadata["unit"] = "um" if pixel_size.unit == "µm" else pixel_size.unit
    if pixel_size.z is not None and "Z" in axes:
        metadata["spacing"] = pixel_size.z
    return {"imagej": True, "metadata": metadata, "resolution": (1 / pixel_size.x, 1 / pixel_size.y)}


def _ome(axes: str, pixel_size: PixelSize | None, nbytes: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": axes}
    options: dict[str, Any] = {"ome": True, "metadata": metadata, "bigtiff": nbytes >= _MAX_IMAGEJ}
    if pixel_size is None:
        return options
    for axis in "xyz":
        size = getattr(pixel_size, axis)
        if size is not None and axis.upper() in axes:
            metadata[f"PhysicalSize{axis.upper()}"] = size
            metadata[f"PhysicalSize{axis.upper()}Unit"] = pixel_size.unit
    if pixel_size.unit == "µm":  # for ImageJ's own reader, which does not know OME-XML; it shows cm as µm
        options |= {"resolution": (1e4 / pixel_size.x, 1e4 / pixel_size.y), "resolutionunit": _CENTIMETER}
    return options
