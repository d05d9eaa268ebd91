"""What tells one input, or one configuration, from another."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from divseg.io.atomic import to_plain
from divseg.io.image import Image


def fingerprint(image: Image | ArrayLike) -> str:
    """Return the SHA-256 of an image's pixels, shape and dtype.

    Parameters
    ----------
    image : Image or array_like
        Any shape. Name, axes, file format and byte order do not matter.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    data = image.data if isinstance(image, Image) else np.asarray(image)
    data = np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{data.shape}|{data.dtype.str}|".encode())
    digest.update(data.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def config_hash(config: dict[str, Any]) -> str:
    """Return the SHA-256 of a configuration; the order of its keys does not matter.

    Parameters
    ----------
    config : dict
        Of anything JSON can hold, NumPy scalars and paths.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    text = json.dumps(to_plain(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
