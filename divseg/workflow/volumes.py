"""Volumes in a run: segmenters that take them."""

from __future__ import annotations

from divseg.errors import ConfigError
from divseg.segment import Segmenter
from divseg.specs import BETWEEN, parts_of, split_spec


def in_3d(spec: str) -> str:
    """Return the string of a segmenter for volumes: a thresholding or a function of the user's gets ``ndim=3``.

    Parameters
    ----------
    spec : str
        As for :func:`divseg.segmenter`, or several with `` + `` between them, or ``auto`` with candidates.
    """
    if len(several := parts_of(spec)) > 1:
        return BETWEEN.join(map(in_3d, several))
    word, colon, rest = spec.partition(":")
    if word.strip() == "auto" and colon:
        return "auto:" + "|".join(in_3d(part) for part in rest.split("|"))
    method, pairs = split_spec(spec)
    family = method.partition(":")[0].strip().lower()
    if family in ("auto", "stardist") or any(name == "ndim" for name, _ in pairs):
        return spec
    return f"{spec.rstrip().rstrip(',')},ndim=3"


def check_dimensions(segment: Segmenter, volume: bool) -> None:
    """Raise ConfigError if a segmenter does not take the images of a run: volumes, or planes."""
    if segment.ndim == 3 and not volume:
        raise ConfigError(f"segmenter {segment.name!r} takes volumes: give --volume, or a segmenter of planes")
    if segment.ndim == 2 and volume:
        raise ConfigError(
            f"segmenter {segment.name!r} takes planes: give --planes in place of --volume, or a segmenter of volumes "
            "such as otsu,split=distance or stardist:3D_demo"
        )
