"""Disconnected pieces of one label as objects of their own."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from divseg.metrics.overlap import check_labels


def split_pieces(labels: ArrayLike, name: str = "labels") -> tuple[NDArray[Any], int]:
    """Give every connected piece of every label a label of its own.

    Pixels are connected to all neighbours of their own label, diagonal ones too (8 in 2-D, 26 in 3-D).

    Parameters
    ----------
    labels : array-like of integers or bool, any number of dimensions
        Label image, 0 = background.
    name : str
        What error messages call it.

    Returns
    -------
    pieces : int64 array
        Labels 1, 2, ... in the order in which a raster scan meets the pieces.
    added : int
        Number of pieces minus number of labels.

    Raises
    ------
    InputError
        Not integers, or negative labels.
    """
    array = np.ascontiguousarray(check_labels(labels, name))
    node = np.cumsum(array.ravel() != 0).reshape(array.shape) - 1
    n = int(node.max(initial=-1)) + 1
    pieces = np.zeros(array.shape, np.int64)
    if not n:
        return pieces, 0
    ends: list[tuple[NDArray[Any], NDArray[Any]]] = []
    half = 3**array.ndim // 2  # the offsets before the centre are those after it, reversed
    for offset in list(product((-1, 0, 1), repeat=array.ndim))[half + 1 :]:
        here = tuple(slice(max(0, -o), max(0, size - max(0, o))) for o, size in zip(offset, array.shape, strict=True))
        there = tuple(slice(max(0, o), max(0, size + min(0, o))) for o, size in zip(offset, array.shape, strict=True))
        same = (array[here] == array[there]) & (array[here] != 0)
        ends.append((node[here][same], node[there][same]))
    a, b = (np.concatenate(side) for side in zip(*ends, strict=True))
    graph = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(n, n))
    count, piece = connected_components(graph, directed=False)
    first = np.unique(piece, return_index=True)[1]
    rank = np.empty(count, np.int64)
    rank[np.argsort(first)] = np.arange(1, count + 1)
    inside = array != 0
    pieces[inside] = rank[piece]
    return pieces, count - len(np.unique(array[inside]))
