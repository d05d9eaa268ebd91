"""Grey pictures that were saved in colour: all colours the same, nothing transparent."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def all_equal(picture: NDArray[np.generic], alpha: bool, opaque: int) -> bool:
    """Tell whether all colours of a picture are the same, and nothing in it is transparent.

    Parameters
    ----------
    picture : array, shape (..., C)
        Colours, the transparency last if there is one.
    alpha : bool
        Whether the last of the C is the transparency.
    opaque : int
        Its value where nothing shines through.
    """
    colours: NDArray[Any] = picture[..., :-1] if alpha else picture
    if alpha and not bool((picture[..., -1] == opaque).all()):
        return False
    return bool((colours[..., 1:] == colours[..., :1]).all())
