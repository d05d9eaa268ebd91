"""Colours of labels, made by rule: labels that follow one another differ in hue and in lightness."""

from __future__ import annotations

import colorsys
from functools import cache

import numpy as np
from numpy.typing import NDArray

_GOLDEN = (5**0.5 - 1) / 2
_LIGHTNESS, _SATURATION = (0.55, 0.75, 0.42), (1.0, 0.7, 0.85)


@cache
def label_colours() -> NDArray[np.uint8]:
    """Return a colour for each of 256 labels; black for 0.

    Hues follow one another by the golden ratio of a turn, which keeps any number of them in sequence apart (Martin
    Ankerl, 2009); lightness and saturation alternate between three pairs.

    Returns
    -------
    uint8 array, shape (256, 3)
        Red, green, blue.
    """
    colours = np.zeros((256, 3), np.uint8)
    for label in range(1, 256):
        hue, kind = (label * _GOLDEN) % 1, label % 3
        rgb = colorsys.hls_to_rgb(hue, _LIGHTNESS[kind], _SATURATION[kind])
        colours[label] = np.rint(255 * np.array(rgb))
    colours.setflags(write=False)
    return colours


def label_colour(label: int) -> list[int]:
    """Return red, green and blue of a label above 0; the colours of labels above 255 begin anew."""
    return [int(part) for part in label_colours()[(label - 1) % 255 + 1]]
