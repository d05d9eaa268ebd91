"""Files of Nikon (.nd2), Zeiss (.czi) and Leica (.lif), by the readers nd2, pylibCZIrw and liffile.

They are the readers beneath bioio's, whose package for CZI is under the GPL, and whose others bring xarray and s3fs.
"""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from divseg.errors import CodecRequired, DivsegError, FileProblem, one_line
from divseg.io.axes import UNKNOWN
from divseg.io.ifd import COPY_AGAIN
from divseg.io.image import Index, PixelSize, native
from divseg.io.image_source import COLOURS, ImageSource
from divseg.io.limits import check_claim
from divseg.io.metadata import named, seconds
from divseg.io.pixel_size import MICRO, make_pixel_size

VENDORS = {".nd2": "nd2", ".czi": "pylibCZIrw", ".lif": "liffile"}
"""Suffixes, and the package that reads each."""

_MODULES = {".nd2": "nd2", ".czi": "pylibCZIrw.czi", ".lif": "liffile"}


@dataclass(frozen=True, kw_only=True)
class Nd2Source(ImageSource):
    """All positions of an ND2."""

    def load(self, index: Index, *, labels: bool = False) -> NDArray[np.generic]:
        """Read the frames that hold a part of it."""
        wanted = self.slices(index)
        with _reading(self.path) as nd2, nd2.ND2File(self.path) as file:
            return native(np.asarray(file.to_dask()[wanted].compute()))


@dataclass(frozen=True, kw_only=True)
class CziSource(ImageSource):
    """A scene of a CZI."""

    scene: int | None

    def load(self, index: Index, *, labels: bool = False) -> NDArray[np.generic]:
        """Read the planes that hold a part of it, and of them the rectangle alone."""
        wanted = self.slices(index)
        lead = "".join(letter for letter in self.axes if letter in "TCZ" and not self.colours)
        taken = [wanted[self.axes.index(letter)] for letter in lead]
        steps = [[t] if isinstance(t, int) else list(range(*t.indices(self.shape[k]))) for k, t in enumerate(taken)]
        y, x = (wanted[self.axes.index(letter)] for letter in "YX")
        with _reading(self.path) as czi, czi.open_czi(str(self.path)) as reader:
            planes = [
                reader.read(plane=dict(zip(lead, place, strict=True)), scene=self.scene)
                for place in itertools.product(*steps)
            ]
            data = np.stack([plane[..., ::-1] if self.colours else plane[..., 0] for plane in planes])
        data = data.reshape(*(len(s) for s in steps), *data.shape[1:])
        kept = tuple(0 if isinstance(t, int) else slice(None) for t in taken)
        rest = (y, x, wanted[-1]) if self.colours else (y, x)
        return native(data[(*kept, *rest)])


@dataclass(frozen=True, kw_only=True)
class LifSource(ImageSource):
    """An image of a LIF, which is read whole."""

    def load(self, index: Index, *, labels: bool = False) -> NDArray[np.generic]:
        """Read it, and take a part."""
        wanted = self.slices(index)
        with _reading(self.path) as liffile, liffile.LifFile(self.path) as file:
            return native(np.asarray(file.images[self.series].asarray()[wanted]))


def vendor_sources(path: Path) -> Sequence[ImageSource]:
    """Read the headers of the images in a file of a microscope's maker.

    Parameters
    ----------
    path : Path
        .nd2, .czi or .lif.

    Returns
    -------
    sequence of ImageSource
        Of a CZI one for each scene, of a LIF one for each image.

    Raises
    ------
    CodecRequired
        If the package that reads it is not installed.
    FileProblem
        If the file is damaged or cut off.
    """
    kinds: dict[str, Callable[[Path, Any], Sequence[ImageSource]]]
    kinds = {".nd2": _nd2_sources, ".czi": _czi_sources, ".lif": _lif_sources}
    with _reading(path) as package:
        sources = kinds[path.suffix.lower()](path, package)
    if not sources:
        raise FileProblem(path, "it holds no image", COPY_AGAIN)
    return sources


def _nd2_sources(path: Path, nd2: Any) -> list[Nd2Source]:
    with nd2.ND2File(path) as file:
        sizes = dict(file.sizes)
        colours = bool(file.is_rgb) and "S" in sizes
        axes = _letters(sizes, {"P": "S", "S": "C"} if colours else {"P": "S"})
        described = getattr(file.metadata, "channels", None) or []
        names = [str(c.channel.name or "") for c in described]
        size = None
        if described and all(described[0].volume.axesCalibrated[:2]):
            x, y, z = described[0].volume.axesCalibration
            size = _micrometres(y, x, z if described[0].volume.axesCalibrated[2] else None)
        return [
            _checked(
                Nd2Source(
                    path=path,
                    axes=axes,
                    shape=tuple(sizes.values()),
                    dtype=np.dtype(file.dtype).newbyteorder("="),
                    pixel_size=size,
                    interval=_nd2_interval(file.experiment),
                    channels=COLOURS[:3] if colours else _fitting(names, sizes.get("C", 1)),
                    colours=colours,
                )
            )
        ]


def _nd2_interval(loops: Sequence[Any]) -> float | None:
    for loop in loops or []:
        parameters = getattr(loop, "parameters", None)
        periods = getattr(parameters, "periods", None) or [parameters]
        if loop.type in ("TimeLoop", "NETimeLoop"):
            return seconds(getattr(periods[0], "periodMs", None), "ms")
    return None


def _czi_sources(path: Path, czi: Any) -> list[CziSource]:
    with czi.open_czi(str(path)) as reader:
        box = reader.total_bounding_box_no_pyramid
        kinds = set(reader.pixel_types.values())
        scenes = dict(reader.scenes_bounding_rectangle_no_pyramid)
        size, interval, names = _czi_facts(ElementTree.fromstring(reader.raw_metadata))
    if len(kinds) != 1:
        raise FileProblem(path, f"its channels have different types ({', '.join(sorted(kinds))})", "export it as TIFF")
    dtypes = {"Gray8": np.uint8, "Gray16": np.uint16, "Gray32Float": np.float32, "Bgr24": np.uint8, "Bgr48": np.uint16}
    kind = kinds.pop()
    colours = kind.startswith("Bgr")
    if kind not in dtypes or (colours and any(box.get(a, (0, 1))[1] > 1 for a in "TCZ")):
        raise FileProblem(path, f"pixels of type {kind} in several planes are not read", "export it as TIFF")
    lead = {} if colours else {letter: box[letter][1] for letter in "TCZ" if letter in box and box[letter][1] > 1}
    plain = (box["Y"][1], box["X"][1])
    areas = {k: (rect.h, rect.w) for k, rect in sorted(scenes.items())} or {None: plain}
    return [
        _checked(
            CziSource(
                path=path,
                axes="".join(lead) + ("YXC" if colours else "YX"),
                shape=(*lead.values(), *area, *([3] if colours else [])),
                dtype=np.dtype(dtypes[kind]),
                pixel_size=size,
                interval=interval,
                channels=COLOURS[:3] if colours else _fitting(names, lead.get("C", 1)),
                series=number,
                scene=scene if len(areas) > 1 else None,
                colours=colours,
            )
        )
        for number, (scene, area) in enumerate(areas.items())
    ]


def _czi_facts(root: ElementTree.Element) -> tuple[PixelSize | None, float | None, list[str]]:
    """Return pixel size, frame interval and names of channels that the XML of a CZI states; lengths are in metres."""
    steps: dict[str, float] = {}
    for distance in root.iter("Distance"):
        value = distance.findtext("Value")
        if value and distance.get("Id"):
            steps[str(distance.get("Id"))] = float(value) * 1e6
    increment = root.findtext(".//Information/Image/Dimensions/T/Positions/Interval/Increment")
    channels = root.findall(".//Information/Image/Dimensions/Channels/Channel")
    known = all(steps.get(axis, 0.0) > 0 for axis in "YX")
    size = _micrometres(steps["Y"], steps["X"], steps.get("Z") or None) if known else None
    return size, seconds(increment), [str(c.get("Name") or "") for c in channels]


def _lif_sources(path: Path, liffile: Any) -> list[LifSource]:
    sources = []
    with liffile.LifFile(path) as file:
        for number, image in enumerate(file.images):
            sizes = dict(image.sizes)
            if not {"Y", "X"} <= sizes.keys() or image.is_flim:
                continue
            colours = "S" in sizes
            axes = _letters(sizes, {"S": "C", "M": "S"} if colours else {"M": "S"})
            steps = {axis: _step(image.coords.get(axis)) for axis in "TZYX"}
            micro = {axis: None if step is None else step * 1e6 for axis, step in steps.items()}
            names = image.coords.get("C")
            texts = [] if names is None else [str(n) for n in np.asarray(names) if not str(n).isdigit()]
            sources.append(
                _checked(
                    LifSource(
                        path=path,
                        axes=axes,
                        shape=tuple(sizes.values()),
                        dtype=np.dtype(image.dtype).newbyteorder("="),
                        pixel_size=_micrometres(micro["Y"], micro["X"], micro["Z"]),
                        interval=seconds(steps["T"]),
                        channels=COLOURS[:3] if colours else _fitting(texts, sizes.get("C", 1)),
                        place=f"{number}_{image.name.rsplit('/', 1)[-1]}".replace(" ", "_"),
                        series=number,
                        colours=colours,
                    )
                )
            )
    return sources


def _letters(sizes: dict[str, int], known: dict[str, str]) -> str:
    letters = "".join(known.get(letter, letter if letter in "TCZYX" else UNKNOWN) for letter in sizes)
    return letters if all(letters.count(a) == 1 for a in set(letters) - {UNKNOWN}) else UNKNOWN * len(letters)


def _micrometres(y: float | None, x: float | None, z: float | None) -> PixelSize | None:
    return make_pixel_size(y, x, z or None, (MICRO,) * 3)[0]


def _step(places: Any) -> float | None:
    """Return the distance between places along an axis, None for fewer than two."""
    known = np.asarray([] if places is None else places)
    if len(known) < 2 or known.dtype.kind not in "fiu":
        return None
    return abs(float(known[-1]) - float(known[0])) / (len(known) - 1) or None


def _fitting(names: Sequence[str], count: int) -> tuple[str, ...]:
    return named(names) if len(names) == count else ()


def _checked(source: Any) -> Any:
    """Return a source whose planes may be held in memory."""
    plane = math.prod(n for letter, n in zip(source.axes, source.shape, strict=True) if letter in "YXC")
    check_claim(source.path, plane * source.dtype.itemsize)
    return source


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """Yield the package that reads a file; whatever it raises becomes a problem of the file."""
    suffix = path.suffix.lower()
    try:
        package = importlib.import_module(_MODULES[suffix])
    except ImportError as error:
        raise CodecRequired(
            path, f"{suffix} files need {VENDORS[suffix]}", 'install it: pip install "divseg[vendor]"'
        ) from error
    try:
        yield package
    except DivsegError:
        raise
    except Exception as error:  # a damaged file can make a reader raise almost anything
        raise FileProblem(
            path, f"it cannot be read: it is damaged or cut off ({one_line(error)})", COPY_AGAIN
        ) from error
