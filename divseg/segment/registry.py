"""From the user's word for a segmenter to the segmenter."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from divseg.errors import ConfigError
from divseg.segment.protocol import Segmenter
from divseg.specs import split_spec, unknown

_THRESHOLDING = "divseg.segment.thresholding:ThresholdSegmenter"

FACTORIES: Mapping[str, str] = MappingProxyType(
    {
        "otsu": _THRESHOLDING,
        "li": _THRESHOLDING,
        "triangle": _THRESHOLDING,
        "yen": _THRESHOLDING,
        "isodata": _THRESHOLDING,
        "local": _THRESHOLDING,
        "sauvola": _THRESHOLDING,
        "hysteresis": _THRESHOLDING,
        "fixed": _THRESHOLDING,
        "stardist": "divseg.segment.stardist.segmenter:StarDistSegmenter",
        "python": "divseg.segment.user:UserSegmenter",
    }
)
"""Module and class of each method, imported on first use. The class makes itself with ``from_spec(method, pairs)``;
what follows a colon in the method (``stardist:nuclei``, ``python:module:function``) is its own affair."""

_WITH_COLON = ("stardist", "python")


def segmenter(spec: str) -> Segmenter:
    """Make a segmenter of a short string.

    Parameters
    ----------
    spec : str
        A method and its options, such as ``"otsu,smooth=1,split=distance,min_size=30"``: one of ``otsu``, ``li``,
        ``triangle``, ``yen``, ``isodata``, ``local``, ``sauvola``, ``hysteresis``, ``fixed`` (options:
        :mod:`divseg.segment.options`); ``stardist:NAME_OR_FOLDER`` for a StarDist model (options:
        :mod:`divseg.segment.stardist.options`); or ``python:module:function`` for a function of your own.

    Returns
    -------
    Segmenter
        A callable: ``segmenter("otsu")(images)``.

    Raises
    ------
    ConfigError
        Unknown method or option (with the known ones and the nearest of them), or an impossible value.
    ModelError
        A StarDist model that is not there, incomplete or damaged.
    """
    if not isinstance(spec, str):
        raise ConfigError(f"a segmenter is named by a string such as 'otsu,smooth=1', not by a {type(spec).__name__}")
    method, pairs = split_spec(spec)
    family, colon, rest = method.partition(":")
    family = family.strip().lower()
    if family not in FACTORIES or (colon and family not in _WITH_COLON):
        raise unknown("segmenter", method, FACTORIES)
    module, _, name = FACTORIES[family].partition(":")
    made: Segmenter = getattr(importlib.import_module(module), name).from_spec(f"{family}{colon}{rest}", pairs)
    return made
