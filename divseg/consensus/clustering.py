"""Fusion by correlation clustering of the objects of all samples: the default method."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from divseg.consensus.cluster_masks import cluster_masks
from divseg.consensus.contraction import contract
from divseg.consensus.graph import object_graph
from divseg.consensus.hypotheses import FusionResult, fuse_masks, min_support
from divseg.consensus.local_search import improve
from divseg.consensus.stack import LabelStack
from divseg.consensus.witnesses import Witnesses
from divseg.specs import Number


def fuse_clustering(
    stack: LabelStack,
    *,
    objective: str,
    existence: float | None,
    witnesses: Witnesses | None = None,
    seed: int,
    links: Annotated[int, Number(2, whole=True)] = 8,
) -> FusionResult:
    """Cluster the objects of all samples, let each cluster vote for a mask, and choose among the clusters.

    1. Objects of compared samples are linked by the log-odds of their IoU (minimum cost multicut, Alush &
       Goldberger, PAMI 2012; sparse in the samples, see :func:`divseg.consensus.graph.sample_pairs`).
    2. Greedy additive edge contraction and local search give clusters with at most one object of a sample.
    3. The superlevel set of a cluster's votes with the greatest mean IoU is its mask; objects of all samples
       are assigned anew to the masks they match, and vote again.
    4. Conflicts between merged and split hypotheses are resolved by maximum-weight set packing for the
       expected score, and the chosen ones are rasterized.

    Time is linear in the number of samples and of pixels.

    Parameters
    ----------
    stack : LabelStack
    objective : str
        Score that the selection maximises.
    existence : float or None
        Fixed threshold on the fraction of samples instead.
    witnesses : Witnesses, optional
        Only what they hold is chosen.
    seed : int
        Seed of the pairs of samples that are compared.
    links : int
        Number of samples that each sample is compared with.
    """
    cluster = cluster_objects(stack, links=links, seed=seed)
    # a hypothesis may begin as a part of all its members
    _, weight = min_support(stack, existence)
    enough = np.bincount(cluster, stack.object_units) >= (weight + 1) // 2
    members = np.flatnonzero(enough[cluster]) if len(cluster) else np.empty(0, np.int64)
    rank = np.cumsum(enough) - 1
    masks = cluster_masks(stack, rank[cluster[members]], members).runs
    return fuse_masks(stack, masks, objective, existence, witnesses)


def cluster_objects(stack: LabelStack, *, links: int = 8, seed: int = 0) -> NDArray[np.int64]:
    """Return the cluster 0.. of every object of the stack, shape (N,)."""
    graph = object_graph(stack, links, seed)
    cluster = contract(graph.sample, graph.first, graph.second, graph.weight, np.arange(graph.n_objects))
    return improve(graph, cluster)
