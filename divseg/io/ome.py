"""What OME-XML says of its files, looked at before tifffile acts on it."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

from divseg.errors import FileProblem

_MOST_PLANES = 1_000_000
"""Planes of one position: a list of them is made before any is looked for."""


def parse_ome(xml: str) -> ElementTree.Element | None:
    """Return the root of OME-XML, None if it is broken."""
    try:
        return ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError):
        return None


def ome_pixels(root: ElementTree.Element) -> list[ElementTree.Element]:
    """Return the Pixels elements of OME-XML, one for each image."""
    return [node for node in root.iter() if _tag(node) == "Pixels"]


def check_ome(path: str | Path, root: ElementTree.Element) -> bool:
    """Tell whether OME-XML is about the file itself.

    One part of an OME-TIFF that is spread over files would give the planes of all files, each time that one of them
    is read, and the names of the others are whatever the file says: none of them is ever opened.

    Parameters
    ----------
    path : path
        The file that holds the XML.
    root : Element
        Its root.

    Returns
    -------
    bool
        False if pixels lie in other files too: what this one holds is then known from its TIFF directories alone.

    Raises
    ------
    FileProblem
        If it points at files in other folders, or claims more planes than any file has.
    """
    own = root.get("UUID")
    alone = True
    for node in root.iter():
        tag = _tag(node)
        name = node.get("FileName", "")
        if tag == "UUID" and node.text != own and not (own is None and name.lower() == Path(path).name.lower()):
            alone = False
            if set(name) & set("/\\:") or name == "..":
                raise FileProblem(
                    path,
                    f"its OME-XML says that its pixels lie in another folder ({name[:100]!r}), which is not looked at",
                    "export it as one file",
                )
        elif tag == "Pixels":
            _check_count(path, math.prod(max(_number(node.get(f"Size{axis}")), 1) for axis in "ZCT"))
        elif tag == "TiffData":
            _check_count(path, _number(node.get("PlaneCount") or node.get("NumPlanes")))
        elif tag.startswith("Modulo") and "Start" in node.attrib:
            first, last, step = (_number(node.get(name, "1")) for name in ("Start", "End", "Step"))
            _check_count(path, abs(last - first) / abs(step) if step else math.inf)
    return alone


def _check_count(path: str | Path, planes: float) -> None:
    if not planes <= _MOST_PLANES:
        raise FileProblem(path, f"its OME-XML claims {planes:g} planes", "it is damaged: export it again")


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _tag(node: ElementTree.Element) -> str:
    return str(node.tag).rpartition("}")[2]
