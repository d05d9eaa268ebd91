"""What OME-XML and ImageJ say of an image beside its pixels: pixel size, frame interval, names of channels."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from divseg.io.image import PixelSize
from divseg.io.pixel_size import imagej_pixel_size, ome_pixel_size

_SECONDS = {
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "seconds": 1.0,
    "ms": 1e-3,
    "µs": 1e-6,
    "ns": 1e-9,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}


@dataclass(frozen=True)
class Facts:
    """What is known of an image beside its pixels.

    Attributes
    ----------
    pixel_size : PixelSize, optional
        None if it is not known.
    interval : float, optional
        Seconds from one frame to the next.
    channels : tuple of str
        Names of the channels; empty if there are none.
    notes : tuple of str
        What was ignored because it makes no sense.
    """

    pixel_size: PixelSize | None = None
    interval: float | None = None
    channels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def ome_facts(pixels: ElementTree.Element) -> Facts:
    """Return what a Pixels element of OME-XML says."""
    size, note = ome_pixel_size(pixels)
    unit = pixels.get("TimeIncrementUnit", "s").replace("\u03bc", "µ")
    interval = seconds(pixels.get("TimeIncrement"), unit)
    names = [node.get("Name") or "" for node in pixels if str(node.tag).rpartition("}")[2] == "Channel"]
    return Facts(size, interval, named(names), () if note is None else (note,))


def imagej_facts(metadata: Mapping[str, Any], tags: Any, n_channels: int) -> Facts:
    """Return what the description and the tags of an ImageJ TIFF say.

    Parameters
    ----------
    metadata : mapping
        ImageJ's description, as tifffile reads it.
    tags : tifffile.TiffTags
        Tags of the first page.
    n_channels : int
        Channels of the hyperstack; the labels of its slices, channels fastest, may name them.
    """
    size, note = imagej_pixel_size(dict(metadata), tags)
    interval = seconds(metadata.get("finterval"), str(metadata.get("tunit", "s")))
    labels = metadata.get("Labels") or ()
    names = _names_in_labels([str(label) for label in labels], n_channels)
    return Facts(size, interval, names, () if note is None else (note,))


def seconds(value: Any, unit: str = "s") -> float | None:
    """Return a time in seconds; None for what is not a positive number of a known unit."""
    try:
        number = float(value) * _SECONDS.get(unit.strip() or "s", math.nan)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def named(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of channels without space around them; none at all if all are empty."""
    stripped = tuple(" ".join(name.split()) for name in names)
    return stripped if any(stripped) else ()


def _names_in_labels(labels: list[str], n_channels: int) -> tuple[str, ...]:
    """Return the names that the labels of slices give channels: the same for all slices of each."""
    if n_channels < 2 or not labels or len(labels) % n_channels:
        return ()
    # Fiji puts the place before the name: "c:1/2 z:1/5 - DAPI"
    plain = [re.sub(r"^(?:[cztm]:\d+/\d+;?\s*)+-?\s*", "", label) for label in labels]
    of_channel = [set(plain[k::n_channels]) for k in range(n_channels)]
    if any(len(names) != 1 for names in of_channel):
        return ()
    return named([names.pop() for names in of_channel])
