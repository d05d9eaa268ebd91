"""OME-Zarr: images, plates of wells and fields, and arrays without metadata. The package zarr is imported when used."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divseg.errors import CodecRequired, DivsegError, FileProblem, one_line
from divseg.io.axes import UNKNOWN
from divseg.io.image import Index, PixelSize, native
from divseg.io.image_source import ImageSource
from divseg.io.metadata import named, seconds
from divseg.io.pixel_size import make_pixel_size
from divseg.io.sources import is_zarr

_OLD_AXES = "TCZYX"  # of versions before 0.3, which do not name them
_NO_IMAGE = "it is not an OME-Zarr (no multiscales, no plate, no array)"
_TIMES = {"second": "s", "millisecond": "ms", "microsecond": "µs", "nanosecond": "ns", "minute": "min", "hour": "h"}


@dataclass(frozen=True, kw_only=True)
class ZarrSource(ImageSource):
    """An image in an OME-Zarr, at its finest resolution.

    Attributes
    ----------
    array : str
        Place of the array in the folder.
    """

    array: str

    def load(self, index: Index, *, labels: bool = False) -> NDArray[np.generic]:
        """Read a part of it: the chunks that hold it, no others."""
        wanted = self.slices(index)
        try:
            data = np.asarray(_open(self.path, self.array)[wanted])
        except DivsegError:
            raise
        except Exception as error:  # a damaged chunk can make a codec raise almost anything
            raise FileProblem(self.path, f"its pixels cannot be read ({one_line(error)})", "copy it again") from error
        return native(data)


def zarr_sources(path: Path) -> list[ZarrSource]:
    """Read the headers of the images in an OME-Zarr of version 0.1 to 0.5.

    Parameters
    ----------
    path : Path
        The folder: an image, a plate, a collection as bioformats2raw writes it, or an array alone.

    Returns
    -------
    list of ZarrSource
        Of a plate one for each field of each well, in the order of the plate. Labels that lie beside an image are not
        images.

    Raises
    ------
    CodecRequired
        If zarr is not installed.
    FileProblem
        If metadata or arrays are missing or damaged.
    """
    try:
        attributes = _attributes(path)
        if "plate" in attributes:
            return _plate(path, attributes["plate"])
        if "multiscales" in attributes:
            return [_image(path, "", attributes)]
        if "bioformats2raw.layout" in attributes:
            return _collection(path)
        if _is_array(path):
            return [_bare(path)]
        raise FileProblem(path, _NO_IMAGE, f"give the folder of the image in it{_example(path)}")
    except DivsegError:
        raise
    except Exception as error:  # metadata are JSON in which anything can stand
        raise FileProblem(
            path, f"its metadata cannot be read ({one_line(error)})", "copy or export it again"
        ) from error


def _plate(path: Path, plate: Mapping[str, Any]) -> list[ZarrSource]:
    sources: list[ZarrSource] = []
    empty: list[str] = []
    for well in plate["wells"]:
        place = _inside(path, well["path"])
        fields = _attributes(path / place).get("well", {}).get("images", []) if (path / place).is_dir() else []
        found = [field for field in fields if (path / place / _inside(path, field["path"])).is_dir()]
        if not found:
            empty.append(place)
        for field in found:
            inner = f"{place}/{field['path']}"
            where = f"{place.replace('/', '')}_{field['path']}"
            sources.append(_image(path, inner, _attributes(path / inner), where, len(sources)))
    if not sources:
        raise FileProblem(path, f"none of its {len(plate['wells'])} wells has an image", "copy or export it again")
    return _with_note(sources, [f"wells without images: {', '.join(empty)}"] if empty else [])


def _collection(path: Path) -> list[ZarrSource]:
    names = sorted((p.name for p in path.iterdir() if p.is_dir() and p.name.isdigit()), key=int)
    sources: list[ZarrSource] = []
    for name in names:
        attributes = _attributes(path / name)
        if "multiscales" in attributes:
            sources.append(_image(path, name, attributes, f"s{name}", len(sources)))
    if not sources:
        raise FileProblem(path, _NO_IMAGE, "copy or export it again")
    return sources


def _image(path: Path, place: str, attributes: Mapping[str, Any], where: str = "", number: int = 0) -> ZarrSource:
    if not attributes.get("multiscales"):
        raise FileProblem(path, f"there is no image at {place!r} in it (no multiscales)", "copy or export it again")
    multiscale = attributes["multiscales"][0]
    places = [_join(place, _inside(path, dataset["path"])) for dataset in multiscale["datasets"]]
    arrays = [_open(path, inner) for inner in places]
    level = max(range(len(arrays)), key=lambda k: math.prod(arrays[k].shape))
    finest, array = multiscale["datasets"][level], arrays[level]
    axes, units = _axes(multiscale, array.ndim)
    scale = [a * b for a, b in zip(_scale(finest, array.ndim), _scale(multiscale, array.ndim), strict=True)]
    size, interval, notes = _sizes(axes, units, scale)
    omero = attributes.get("omero") or {}
    return _source(
        path,
        places[level],
        array,
        axes,
        place=where,
        series=number,
        pixel_size=size,
        interval=interval,
        channels=named([str(c.get("label") or "") for c in omero.get("channels") or []]),
        notes=notes,
    )


def _bare(path: Path) -> ZarrSource:
    """Return an array that no multiscales describe; its dimensions may be named."""
    array = _open(path, "")
    described = _json(path / "zarr.json") if (path / "zarr.json").is_file() else {}
    names = described.get("dimension_names") or _attributes(path).get("_ARRAY_DIMENSIONS") or []
    letters = "".join(str(name or "").upper() for name in names)
    known = len(letters) == array.ndim and set(letters) <= set("TCZYX") and len(set(letters)) == len(letters)
    axes = letters if known else UNKNOWN * (array.ndim - 2) + "YX"
    return _source(path, "", array, axes, notes=("it has no OME metadata: axes and pixel size are not known",))


def _source(
    path: Path, inner: str, array: Any, axes: str, *, channels: Sequence[str] = (), notes: Sequence[str], **of: Any
) -> ZarrSource:
    dtype = np.dtype(array.dtype)
    shape = tuple(int(n) for n in array.shape)
    if len(shape) < 2 or 0 in shape:
        raise FileProblem(path, f"its array has the shape {shape}, no image", "copy or export it again")
    named_all = "C" in axes and len(channels) == shape[axes.index("C")]
    return ZarrSource(
        path=path,
        array=inner,
        axes=axes,
        shape=shape,
        dtype=dtype.newbyteorder("="),
        channels=tuple(channels) if named_all else (),
        notes=(*notes, *_missing_chunks(path / inner, array)),
        **of,
    )


def _missing_chunks(folder: Path, array: Any) -> Iterator[str]:
    """Yield a note if chunks are not there. Writers may leave out chunks that hold nothing, so it is not an error."""
    chunk = getattr(array, "shards", None) or array.chunks
    expected = math.prod(math.ceil(n / side) for n, side in zip(array.shape, chunk, strict=True))
    there = sum(not name.startswith(".") and name != "zarr.json" for _, _, names in os.walk(folder) for name in names)
    if there < expected:
        yield (
            f"{expected - there} of {expected} chunks are not there: their pixels are taken as {array.fill_value}; "
            "if they should be, copy it again"
        )


def _axes(multiscale: Mapping[str, Any], ndim: int) -> tuple[str, list[str]]:
    """Return a letter for each axis, and its unit."""
    described = multiscale.get("axes") or list(_OLD_AXES[-ndim:].lower())
    names = [a if isinstance(a, str) else str(a["name"]) for a in described]
    units = ["" if isinstance(a, str) else str(a.get("unit") or "") for a in described]
    axes = "".join(name.upper() if name.upper() in set("TCZYX") else UNKNOWN for name in names)
    return (axes, units) if len(axes) == ndim else (UNKNOWN * (ndim - 2) + "YX", [""] * ndim)


def _scale(described: Mapping[str, Any], ndim: int) -> list[float]:
    """Return the scale among the coordinate transformations of a dataset or a multiscale."""
    for transformation in described.get("coordinateTransformations") or []:
        if transformation.get("type") == "scale" and len(transformation.get("scale", [])) == ndim:
            return [float(step) for step in transformation["scale"]]
    return [1.0] * ndim


def _sizes(
    axes: str, units: Sequence[str], scale: Sequence[float]
) -> tuple[PixelSize | None, float | None, tuple[str, ...]]:
    """Return pixel size and frame interval; an axis without a unit has none."""
    step = dict(zip(axes, scale, strict=True))
    unit = dict(zip(axes, units, strict=True))
    size, note = make_pixel_size(
        step.get("Y"), step.get("X"), step.get("Z"), (unit.get("Y", ""), unit.get("X", ""), unit.get("Z", ""))
    )
    name = unit.get("T", "")
    return size, seconds(step.get("T"), _TIMES.get(name, name)) if name else None, () if note is None else (note,)


def _attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of a group or array: those of OME, wherever its version puts them."""
    if (folder / "zarr.json").is_file():
        attributes = _json(folder / "zarr.json").get("attributes") or {}
        return dict(attributes.get("ome") or attributes)
    return _json(folder / ".zattrs") if (folder / ".zattrs").is_file() else {}


def _json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FileProblem(file, f"it cannot be read ({one_line(error)})", "copy or export it again") from error
    if not isinstance(value, dict):
        raise FileProblem(file, "it holds no JSON object", "copy or export it again")
    return value


def _is_array(folder: Path) -> bool:
    if (folder / "zarr.json").is_file():
        return bool(_json(folder / "zarr.json").get("node_type") == "array")
    return (folder / ".zarray").is_file()


def _inside(path: Path, place: Any) -> str:
    """Return a place in the folder that its metadata name; one outside of it is never opened."""
    parts = str(place).split("/")
    if ".." in parts or str(place).startswith("/") or ":" in str(place) or "\\" in str(place):
        raise FileProblem(path, f"its metadata point out of its folder ({str(place)[:100]!r})", "export it again")
    return str(place)


def _join(place: str, inner: str) -> str:
    return f"{place}/{inner}" if place else inner


def _example(path: Path) -> str:
    inner = next((p for p in sorted(path.iterdir()) if is_zarr(p)), None)
    return "" if inner is None else f", such as {inner}"


def _open(path: Path, inner: str) -> Any:
    try:
        import zarr
    except ImportError as error:
        raise CodecRequired(path, "reading OME-Zarr needs zarr", 'install it: pip install "divseg[zarr]"') from error
    folder = path / inner
    if not _is_array(folder):
        raise FileProblem(path, f"its array {inner!r} is not there", "copy or export it again")
    try:
        return zarr.open_array(str(folder), mode="r")
    except Exception as error:
        raise FileProblem(path, f"its array {inner!r} cannot be read ({one_line(error)})", "export it again") from error


def _with_note(sources: list[ZarrSource], notes: Sequence[str]) -> list[ZarrSource]:
    return [replace(sources[0], notes=(*notes, *sources[0].notes)), *sources[1:]]
