"""Files as other programs write them, and what their makers know of them."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

CHANNELS = ("DAPI", "GFP")
ORDER = "TCZYX"
Y, X = 18, 21  # no two sides of a file are alike
SIZES = {"T": 3, "C": 2, "Z": 4, "Y": Y, "X": X}


@dataclass(frozen=True)
class Foreign:
    """A file, and the truth about it.

    Attributes
    ----------
    file : str
        Its name.
    write : callable
        Writes pixels, in the order of `axes`, to a path.
    axes : str
        Axes in the file.
    dtype : str
        Of the pixels.
    size : tuple or None
        (z, y, x) in µm as far as the file says.
    channels : tuple of str
        Names that the file says.
    interval : float or None
        Seconds between frames.
    read : dict
        Further arguments for reading it.
    """

    file: str
    write: Callable[[Path, np.ndarray], Any]
    axes: str
    dtype: str = "uint16"
    size: tuple[float | None, float, float] | None = None
    channels: tuple[str, ...] = ()
    interval: float | None = None
    read: dict[str, Any] = field(default_factory=dict)

    def pixels(self) -> np.ndarray:
        """Return random pixels in the order of the file."""
        shape = tuple(3 if axis == "S" else SIZES[axis] for axis in self.axes)
        values = np.random.default_rng(zlib.crc32(self.file.encode())).integers(0, 250, shape)
        return values.astype(self.dtype)

    def __str__(self) -> str:
        return self.file


def tiff(**options: Any) -> Callable[[Path, np.ndarray], Any]:
    """Write by tifffile."""

    def write(path: Path, data: np.ndarray) -> None:
        chosen = {"photometric": "minisblack", **options}
        tifffile.imwrite(path, data, **chosen)

    return write


def fiji(axes: str, **options: Any) -> Callable[[Path, np.ndarray], Any]:
    """Write as Fiji does."""
    metadata = {"axes": axes, "unit": "um", "spacing": 0.5, "finterval": 2.5}
    if "C" in axes:
        metadata["Labels"] = list(CHANNELS) * int(np.prod([SIZES[a] for a in axes if a in "TZ"]))
    return tiff(imagej=True, resolution=(1 / 0.1, 1 / 0.2), metadata=metadata, **options)


def ome(axes: str, **options: Any) -> Callable[[Path, np.ndarray], Any]:
    """Write an OME-TIFF."""
    metadata = {"axes": axes, "PhysicalSizeX": 100, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.2}
    metadata |= {"PhysicalSizeZ": 0.5, "TimeIncrement": 2500, "TimeIncrementUnit": "ms"}
    if "C" in axes:
        metadata["Channel"] = {"Name": list(CHANNELS)}
    return tiff(ome=True, metadata=metadata, **options)


def picture(path: Path, data: np.ndarray) -> None:
    """Write by imageio."""
    import imageio.v3 as iio

    iio.imwrite(path, data)


def zarr_image(axes: str, version: str = "0.4", **options: Any) -> Callable[[Path, np.ndarray], Any]:
    """Write an OME-Zarr of two levels by zarr."""

    def write(path: Path, data: np.ndarray) -> None:
        zarr = pytest.importorskip("zarr", reason="needs the extra zarr")
        group = zarr.open_group(str(path), mode="w", zarr_format=3 if version == "0.5" else 2)
        write_levels(group, axes, data, version, **options)

    return write


def write_levels(group: Any, axes: str, data: np.ndarray, version: str = "0.4", **options: Any) -> None:
    """Write the levels of an image into a group of zarr."""
    fine, coarse = data, data[..., ::2, ::2]
    for name, level in (("fine", fine), ("coarse", coarse)):
        chunks = tuple(min(n, 8) for n in level.shape)
        array = group.create_array(name, shape=level.shape, dtype=level.dtype, chunks=chunks, **options)
        array[...] = level
    kinds = {"t": "time", "c": "channel"}
    units = {"t": "millisecond", "z": "micrometer", "y": "micrometer", "x": "nanometer"}
    steps = {"t": 2500.0, "c": 1.0, "z": 0.25, "y": 0.2, "x": 100.0}
    names = axes.lower()
    described = [
        {"name": a, "type": kinds.get(a, "space"), **({"unit": units[a]} if a in units else {})} for a in names
    ]
    whole = [2.0 if a == "z" else 1.0 for a in names]  # the scale of all levels multiplies that of each
    datasets = [
        {
            "path": name,
            "coordinateTransformations": [
                {"type": "scale", "scale": [steps[a] * (factor if a in "yx" else 1) for a in names]}
            ],
        }
        for name, factor in (("coarse", 2.0), ("fine", 1.0))  # the finest is not always the first
    ]
    attributes = {
        "multiscales": [
            {
                "version": version,
                "axes": described,
                "datasets": datasets,
                "coordinateTransformations": [{"type": "scale", "scale": whole}],
            }
        ],
        "omero": {"channels": [{"label": name} for name in CHANNELS]},
    }
    group.attrs.update({"ome": {"version": version, **attributes}} if version == "0.5" else attributes)


def czi_file(path: Path, data: np.ndarray) -> None:
    """Write a CZI (T, C, Z, Y, X) by pylibCZIrw."""
    czi = pytest.importorskip("pylibCZIrw.czi", reason="needs the extra vendor")
    with czi.create_czi(str(path)) as writer:
        for t, c, z in np.ndindex(data.shape[:3]):
            writer.write(data[t, c, z][..., None], plane={"T": t, "C": c, "Z": z})
        names = dict(enumerate(CHANNELS))
        writer.write_metadata("x", channel_names=names, scale_x=1e-7, scale_y=2e-7, scale_z=5e-7)


def lif_file(path: Path, data: np.ndarray) -> None:
    """Write a LIF (T, C, Z, Y, X): XML in UTF-16 that describes an image, and a block of memory."""
    t, c, z, y, x = data.shape
    item = data.itemsize
    plane = y * x * item
    stored = np.ascontiguousarray(data.transpose(0, 2, 1, 3, 4))  # channels of a plane follow each other
    steps = [("1", x, 1e-7, "m", item), ("2", y, 2e-7, "m", x * item), ("3", z, 5e-7, "m", c * plane)]
    steps.append(("4", t, 2.5, "s", z * c * plane))
    dimensions = "".join(
        f'<DimensionDescription DimID="{k}" NumberOfElements="{n}" Origin="0" Length="{step * (n - 1)}" '
        f'Unit="{unit}" BitInc="0" BytesInc="{inc}"/>'
        for k, n, step, unit, inc in steps
    )
    channels = "".join(
        f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{8 * item}" NameOfMeasuredQuantity="" Min="0" '
        f'Max="255" Unit="" LUTName="Gray" IsLUTInverted="0" BytesInc="{k * plane}" BitInc="0"/>'
        for k in range(c)
    )
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="p" Visibility="1"><Children>'
        '<Element Name="one" Visibility="1"><Data><Image TextDescription=""><ImageDescription>'
        f"<Channels>{channels}</Channels><Dimensions>{dimensions}</Dimensions></ImageDescription></Image></Data>"
        f'<Memory Size="{stored.nbytes}" MemoryBlockID="MemBlock_1"/><Children/></Element>'
        "</Children></Element></LMSDataContainerHeader>"
    )
    name = "MemBlock_1".encode("utf-16-le")
    block = struct.pack("<BQBI", 0x2A, stored.nbytes, 0x2A, len(name) // 2) + name
    text = xml.encode("utf-16-le")
    head = struct.pack("<BI", 0x2A, len(xml)) + text
    path.write_bytes(
        struct.pack("<II", 0x70, len(head)) + head + struct.pack("<II", 0x70, len(block)) + block + stored.tobytes()
    )


def nd2_file(path: Path, data: np.ndarray) -> None:
    """Write an ND2 (T, Z, C, Y, X): chunks of XML and of pixels, and a map of them at the end."""
    t, z, c, y, x = data.shape
    frames = np.ascontiguousarray(data.transpose(0, 1, 3, 4, 2)).reshape(t * z, -1)  # channels of a pixel side by side
    attributes = {"uiWidth": x, "uiHeight": y, "uiComp": c, "uiWidthBytes": x * c * data.itemsize}
    bits = 8 * data.itemsize
    attributes |= {"uiSequenceCount": t * z, "uiBpcInMemory": bits, "uiBpcSignificant": bits, "eCompression": 2}
    probe = {"m_sName": "dye"}
    planes = {
        f"a{k}": {"sDescription": name, "uiCompCount": 1, "pFluorescentProbe": probe} for k, name in enumerate(CHANNELS)
    }
    picture = {"dCalibration": 0.1, "bCalibrated": True, "sPicturePlanes": {"uiCount": c, "sPlaneNew": planes}}
    depth = {"eType": 4, "uLoopPars": {"uiCount": z, "dZStep": 0.5}}
    time = {"uiCount": t, "dStart": 0.0, "dPeriod": 2500.0, "dDuration": 2500.0 * t}
    loops = {"eType": 1, "uLoopPars": time, "ppNextLevelEx": {"i0000000000": depth}}
    chunks = {
        b"ImageAttributesLV!": clx("SLxImageAttributes", attributes),
        b"ImageMetadataSeqLV|0!": clx("SLxPictureMetadata", picture),
        b"ImageMetadataLV!": clx("SLxExperiment", loops),
        **{b"ImageDataSeq|%d!" % k: bytes(8) + frame.tobytes() for k, frame in enumerate(frames)},
    }
    magic, reserve = 0x0ABECEDA, 4072
    parts = [struct.pack("<IIQ32s64s", magic, 32, 64, b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0")]
    places: list[bytes] = []
    for name, content in chunks.items():
        at = sum(map(len, parts))
        parts.append(struct.pack("<IIQ", magic, reserve, len(content)) + name.ljust(reserve, b"\0") + content)
        places.append(name + struct.pack("<QQ", at, len(content)))
    at = sum(map(len, parts))
    table = b"".join(places) + b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", at)
    parts.append(struct.pack("<IIQ", magic, 32, len(table)) + b"ND2 FILEMAP SIGNATURE NAME 0001!" + table)
    path.write_bytes(b"".join(parts))


def clx(name: str, values: dict[str, Any]) -> bytes:
    """Return values as XML of Nikon's variants."""
    kinds = {bool: "bool", int: "lx_int32", float: "double", str: "CLxStringW"}

    def element(tag: str, value: Any) -> str:
        if isinstance(value, dict):
            return f"<{tag}>{''.join(element(k, v) for k, v in value.items())}</{tag}>"
        return f'<{tag} runtype="{kinds[type(value)]}" value="{str(value).lower() if value is True else value}"/>'

    return f"<variant>{element(name, values)}</variant>".encode()


def plate(path: Path, rng: np.random.Generator, empty: bool = True) -> dict[str, np.ndarray]:
    """Write a plate of two wells with two fields each, and perhaps a well without; return pixels by name."""
    zarr = pytest.importorskip("zarr", reason="needs the extra zarr")
    root = zarr.open_group(str(path), mode="w", zarr_format=2)
    pixels = {}
    for well in ("A/1", "B/12"):
        group = root.create_group(well)
        group.attrs["well"] = {"version": "0.4", "images": [{"path": "0"}, {"path": "1"}]}
        for k in ("0", "1"):
            pixels[f"{well.replace('/', '')}_{k}"] = rng.integers(0, 250, (2, Y, X)).astype("uint16")
            write_levels(group.create_group(k), "CYX", pixels[f"{well.replace('/', '')}_{k}"])
    wells = [{"path": path} for path in ("A/1", *(["A/2"] if empty else []), "B/12")]
    root.attrs["plate"] = {"version": "0.4", "wells": wells, "rows": [{"name": "A"}, {"name": "B"}]}
    return pixels


def edit_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the metadata of a file of JSON."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


FULL: dict[str, Any] = {"size": (0.5, 0.2, 0.1), "channels": CHANNELS, "interval": 2.5}
PLANE: dict[str, Any] = {"size": (None, 0.2, 0.1)}

FILES = [
    *(Foreign(f"plain_{kind}.tif", tiff(), "YX", kind) for kind in ("uint8", "uint16", "int16", "uint32", "int32")),
    *(Foreign(f"plain_{kind}.tif", tiff(), "YX", kind) for kind in ("float32", "float64")),
    Foreign("deflated.tif", tiff(compression="zlib", predictor=True), "YX"),
    Foreign("big.tif", tiff(bigtiff=True), "YX"),
    Foreign("endian.tif", tiff(byteorder=">"), "YX"),
    Foreign("tiles.tif", tiff(tile=(16, 16)), "YX"),
    Foreign("stack_z.tif", tiff(), "ZYX", read={"axes": "ZYX"}),
    Foreign("stack_t.tif", tiff(), "TYX", read={"axes": "TYX"}),
    Foreign("stack_czyx.tif", tiff(), "CZYX", read={"axes": "CZYX"}),
    Foreign("stack_last.tif", tiff(), "YXC", read={"axes": "YXC"}),
    Foreign("fiji_yx.tif", fiji("YX"), "YX", **PLANE),
    Foreign("fiji_zyx.tif", fiji("ZYX"), "ZYX", size=(0.5, 0.2, 0.1)),
    Foreign("fiji_tyx.tif", fiji("TYX"), "TYX", interval=2.5, **PLANE),
    Foreign("fiji_cyx.tif", fiji("CYX"), "CYX", channels=CHANNELS, **PLANE),
    Foreign("fiji_tzcyx.tif", fiji("TZCYX"), "TZCYX", **FULL),
    Foreign("fiji_float.tif", fiji("TZCYX"), "TZCYX", "float32", **FULL),
    Foreign("fiji_deflated.tif", fiji("TZCYX", compression="zlib"), "TZCYX", "uint8", **FULL),
    Foreign("a.ome.tif", ome("TCZYX"), "TCZYX", **FULL),
    Foreign("b.ome.tif", ome("CZTYX"), "CZTYX", "float32", **FULL),
    Foreign("c.ome.tif", ome("ZCTYX", compression="zlib"), "ZCTYX", "uint8", **FULL),
    Foreign("d.ome.tif", ome("YX"), "YX", "int16", **PLANE),
    Foreign("e.ome.tiff", ome("TCZYX", bigtiff=True, tile=(16, 16)), "TCZYX", **FULL),
    Foreign("rgb.tif", tiff(photometric="rgb"), "YXS", "uint8", channels=("red", "green", "blue")),
    Foreign("grey.png", picture, "YX", "uint8"),
    Foreign("grey16.png", picture, "YX", "uint16"),
    Foreign("rgb.png", picture, "YXS", "uint8", channels=("red", "green", "blue")),
    Foreign("full.zarr", zarr_image("TCZYX"), "TCZYX", **FULL),
    Foreign("float.zarr", zarr_image("TCZYX", compressors=None), "TCZYX", "float32", **FULL),
    Foreign("zyx.ome.zarr", zarr_image("ZYX"), "ZYX", "uint8", size=(0.5, 0.2, 0.1)),
    Foreign("v5.zarr", zarr_image("TCZYX", "0.5"), "TCZYX", **FULL),
    Foreign("v5_yx.zarr", zarr_image("YX", "0.5", shards=(16, 16)), "YX", "uint32", **PLANE),
    Foreign("v5_tyx.zarr", zarr_image("TYX", "0.5"), "TYX", "int16", interval=2.5, **PLANE),
    Foreign("a.czi", czi_file, "TCZYX", size=(0.5, 0.2, 0.1), channels=CHANNELS),
    Foreign("b.czi", czi_file, "TCZYX", "uint8", size=(0.5, 0.2, 0.1), channels=CHANNELS),
    Foreign("a.nd2", nd2_file, "TZCYX", **FULL | {"size": (0.5, 0.1, 0.1)}),
    Foreign("b.nd2", nd2_file, "TZCYX", "uint8", **FULL | {"size": (0.5, 0.1, 0.1)}),
    Foreign("a.lif", lif_file, "TCZYX", size=(0.5, 0.2, 0.1), interval=2.5),
]
"""Files over all formats, axes and dtypes."""
