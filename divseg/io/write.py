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

_MAX_IMAGEJ = 2**32 - 2**25
"""ImageJ TIFFs have 32-bit offsets."""
_AXES = {"YX": "YX", "ZYX": "ZYX", "TYX": "TYX", "CYX": "CYX", "SYX": "TYX"}


def write_image(
    path: str | os.PathLike[str],
    image: ArrayLike,
    pixel_size: PixelSize | None = None,
    axes: str = "YX",
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
        ``"YX"``, ``"ZYX"``, ``"TYX"``, ``"CYX"`` or ``"SYX"``; samples (S) are written as time, for which
        viewers show a slider.

    Raises
    ------
    InputError
        If `axes` do not fit the array.
    OutputError
        If it cannot be written.
    """
    data = np.ascontiguousarray(image, dtype=np.float32)
    if axes not in _AXES or len(axes) != data.ndim or 0 in data.shape:
        raise InputError(
            f"{os.fspath(path)}: axes {axes!r} and shape {data.shape} cannot be written; "
            f"give an array with axes {', '.join(_AXES)}"
        )
    write_tiff(path, data, _AXES[axes], pixel_size, compression=None)


def write_tiff(
    path: str | os.PathLike[str],
    data: NDArray[Any],
    axes: str,
    pixel_size: PixelSize | None,
    compression: str | None,
) -> None:
    """Write an array as ImageJ TIFF if its dtype and size allow, else as OME-TIFF."""
    # A stack one pixel wide would come back from an ImageJ TIFF with its axes shifted
    small = data.nbytes < _MAX_IMAGEJ and data.shape[-1] > 1
    imagej = small and data.dtype in (np.uint8, np.uint16, np.float32)
    options = _imagej(axes, pixel_size) if imagej else _ome(axes, pixel_size, data.nbytes)
    with replacing(path) as file:
        tifffile.imwrite(file, data, photometric="minisblack", compression=compression, **options)


def _imagej(axes: str, pixel_size: PixelSize | None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": axes}
    if pixel_size is None:
        return {"imagej": True, "metadata": metadata}
    metadata["unit"] = "um" if pixel_size.unit == "µm" else pixel_size.unit
    if pixel_size.z is not None and "Z" in axes:
        metadata["spacing"] = pixel_size.z
    return {"imagej": True, "metadata": metadata, "resolution": (1 / pixel_size.x, 1 / pixel_size.y)}


def _ome(axes: str, pixel_size: PixelSize | None, nbytes: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": axes}
    if pixel_size is not None:
        for axis in "xyz":
            size = getattr(pixel_size, axis)
            if size is not None and axis.upper() in axes:
                metadata[f"PhysicalSize{axis.upper()}"] = size
                metadata[f"PhysicalSize{axis.upper()}Unit"] = pixel_size.unit
    return {"ome": True, "metadata": metadata, "bigtiff": nbytes >= _MAX_IMAGEJ}
