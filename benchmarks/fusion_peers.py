"""Other tools that fuse label images, called as their users would, for the tables beside our own methods.

SimpleITK's STAPLE and label voting take labels for classes, so the objects of all samples must first be given
common identities; here they get the best that we have, the clusters of our own ``clustering``. bioimage-cpp's multicut
and mutex watershed work on the averaged affinities of pixels. The label fusion of the Cell Tracking Challenge is a Java
plug-in of Fiji; its voting is re-stated here in NumPy, sweeping the whole image for every marker as the original
does, and in a faster form on crops.

    pip install divseg[peers]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

Labels = NDArray[np.integer]

OFFSETS = ((0, 1), (1, 0), (0, 3), (3, 0), (0, 5), (5, 0), (0, 9), (9, 0))
"""Pairs of pixels whose affinity is averaged; the first two are neighbours."""

LEAST_SHARE = 0.05
"""Aligned identities in fewer samples than this are dropped: every identity costs STAPLE a row of its matrices."""


def align(masks: Iterable[Labels]) -> list[NDArray[np.uint16]]:
    """Give objects of different samples that are the same object the same label."""
    from divseg.consensus import LabelStack
    from divseg.consensus.clustering import cluster_objects

    stack = LabelStack.of(masks)
    cluster = cluster_objects(stack)
    frequent = np.bincount(cluster) >= LEAST_SHARE * stack.n_samples
    name = np.where(frequent, np.cumsum(frequent), 0)[cluster].astype(np.uint16)
    aligned = []
    for k in range(stack.n_samples):
        own = name[stack.object_offsets[k] : stack.object_offsets[k + 1]]
        aligned.append(np.concatenate([[0], own]).astype(np.uint16)[stack.decode(k)[0]])
    return aligned


def staple(masks: Iterable[Labels], iterations: int = 10) -> Labels:
    """SimpleITK's multi-label STAPLE on labels that are aligned first, at most so many iterations."""
    return pieces(staple_aligned(align(masks), iterations))


def staple_aligned(aligned: Iterable[Labels], iterations: int) -> Labels:
    """SimpleITK's multi-label STAPLE."""
    import SimpleITK as sitk

    images = [sitk.GetImageFromArray(m) for m in aligned]
    run = sitk.MultiLabelSTAPLEImageFilter()
    run.SetLabelForUndecidedPixels(0)
    run.SetMaximumNumberOfIterations(iterations)
    return np.asarray(sitk.GetArrayFromImage(run.Execute(images)))


def label_voting(masks: Iterable[Labels]) -> Labels:
    """SimpleITK's label voting (mode of every pixel) on aligned labels."""
    import SimpleITK as sitk

    images = [sitk.GetImageFromArray(m) for m in align(masks)]
    return pieces(sitk.GetArrayFromImage(sitk.LabelVoting(images, 0)))


def mutex_watershed(masks: Iterable[Labels]) -> Labels:
    """bioimage-cpp's mutex watershed on averaged affinities, in the foreground of more than half of the samples."""
    import bioimage_cpp as bic

    foreground, affinity = affinities(masks)
    weight = affinity.copy()
    weight[2:] = 1 - weight[2:]
    made = bic.segmentation.mutex_watershed(weight.astype(np.float32), OFFSETS, 2, mask=foreground > 0.5)
    return np.asarray(made).astype(np.int32)


def multicut(masks: Iterable[Labels]) -> Labels:
    """bioimage-cpp's multicut (greedy, then Kernighan-Lin) of the pixels, weights log-odds of averaged affinities."""
    import bioimage_cpp as bic

    foreground, affinity = affinities(masks)
    inside = foreground > 0.5
    node = np.full(inside.shape, -1)
    node[inside] = np.arange(inside.sum())
    edges, weights = [], []
    for (dy, dx), values in zip(OFFSETS, affinity, strict=True):
        a, b = node[: node.shape[0] - dy, : node.shape[1] - dx], node[dy:, dx:]
        both = (a >= 0) & (b >= 0)
        edges.append(np.stack([a[both], b[both]], axis=1))
        p = np.clip(values[: a.shape[0], : a.shape[1]][both], 0.02, 0.98)
        weights.append(np.log(p / (1 - p)))
    graph = bic.graph.undirected_graph(number_of_nodes=int(inside.sum()))
    graph.insert_edges(np.concatenate(edges))
    solvers = bic.graph.multicut
    greedy = solvers.GreedyAdditiveMulticut()
    refine = solvers.KernighanLinMulticut(number_of_outer_iterations=2)
    solver = solvers.ChainedMulticutSolvers([greedy, refine])
    made = solver.optimize(solvers.MulticutObjective(graph, np.concatenate(weights)))
    labels = np.zeros(inside.shape, np.int32)
    labels[inside] = np.asarray(made).astype(np.int32) + 1
    sizes = np.bincount(labels.ravel())
    labels[sizes[labels] < 10] = 0  # single pixels of the border, which no user would keep
    return labels


def affinities(masks: Iterable[Labels]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of samples with foreground, and per offset that with both pixels in one object."""
    count, inside, together = 0, np.zeros(1), np.zeros(1)
    for mask in masks:
        if count == 0:
            inside, together = np.zeros(mask.shape), np.zeros((len(OFFSETS), *mask.shape))
        inside += mask > 0
        for plane, (dy, dx) in zip(together, OFFSETS, strict=True):
            a, b = mask[: mask.shape[0] - dy, : mask.shape[1] - dx], mask[dy:, dx:]
            plane[: a.shape[0], : a.shape[1]] += (a == b) & (a > 0)
        count += 1
    for plane, (dy, dx) in zip(together, OFFSETS, strict=True):
        least = np.minimum(inside[: inside.shape[0] - dy, : inside.shape[1] - dx], inside[dy:, dx:])
        part = plane[: least.shape[0], : least.shape[1]]
        np.divide(part, least, out=part, where=least > 0)
    return inside / count, together


def marker_voting(masks: Iterable[Labels], markers: Labels, *, crops: bool = False) -> Labels:
    """Voting of the Cell Tracking Challenge (flat, half of the samples) around markers, re-stated in NumPy.

    Parameters
    ----------
    masks : iterable of integer arrays, shape (Y, X)
    markers : integer array, shape (Y, X)
    crops : bool
        Count the votes of a marker within the box of the objects that vote instead of over the whole image.
    """
    samples = list(masks)
    places = [ndi.find_objects(m) for m in samples] if crops else []
    votes_needed = len(samples) / 2
    owner, best, claims = np.zeros(markers.shape, np.int32), np.zeros(markers.shape), np.zeros(markers.shape, np.uint8)
    for number, box in enumerate(ndi.find_objects(markers.astype(np.int32)), start=1):
        if box is None:
            continue
        marker = markers[box] == number
        votes = np.zeros(markers.shape, np.int32)
        for k, mask in enumerate(samples):
            overlap = np.bincount(mask[box][marker])
            overlap[0] = 0
            label = int(overlap.argmax())
            if 2 * overlap[label] > marker.sum():
                where = places[k][label - 1] if crops else ...
                votes[where] += mask[where] == label
        taken = votes >= votes_needed
        claims += taken
        owner[taken & (votes > best)] = number
        best = np.maximum(best, votes * taken)
    owner[claims > 1] = 0
    return owner


def pieces(labels: Labels) -> Labels:
    """Keep the largest connected piece of every label: pixel votes leave crumbs."""
    made, _ = ndi.label(labels > 0)
    code = labels.astype(np.int64) * (made.max() + 1) + made
    values, inverse, sizes = np.unique(code, return_inverse=True, return_counts=True)
    label = values // (made.max() + 1)
    keep = np.zeros(len(values), bool)
    for name in np.unique(label[label > 0]):
        own = np.flatnonzero(label == name)
        keep[own[sizes[own].argmax()]] = True
    return np.where(keep[inverse.reshape(labels.shape)], labels, 0).astype(np.int32)


PEERS: dict[str, Callable[[Iterable[Labels]], Labels]] = {
    "SimpleITK STAPLE, aligned by clustering": staple,
    "SimpleITK label voting, aligned by clustering": label_voting,
    "bioimage-cpp mutex watershed": mutex_watershed,
    "bioimage-cpp multicut": multicut,
}


def available() -> dict[str, Callable[..., Any]]:
    """Return the peers that are installed; say which are not."""
    import importlib.util

    modules = {"SimpleITK": "SimpleITK", "bioimage-cpp": "bioimage_cpp"}
    absent = [name for name, module in modules.items() if importlib.util.find_spec(module) is None]
    if absent:
        print(f"without {' and '.join(absent)}: pip install divseg[peers]")
    return {name: run for name, run in PEERS.items() if name.split()[0] not in absent}
