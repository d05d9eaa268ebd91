"""Hashes of pixels and of settings: what tells one input, or one configuration, from another."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from divseg.io.atomic import to_plain


def hash_array(array: ArrayLike) -> str:
    """Return the SHA-256 of an array's values, shape and dtype; byte order and memory layout do not matter.

    Parameters
    ----------
    array : array_like
        Any shape.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    data = np.asarray(array)
    data = np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{data.shape}|{data.dtype.str}|".encode())
    digest.update(data.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def config_hash(config: dict[str, Any]) -> str:
    """Return the SHA-256 of a configuration; the order of its keys does not matter.

    Parameters
    ----------
    config : dict
        Anything that JSON can hold, NumPy scalars and paths.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    text = json.dumps(to_plain(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
