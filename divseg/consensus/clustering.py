"""Fusion by correlation clustering of the objects of all samples: the default method."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from divseg.consensus.contraction import contract
from divseg.consensus.exact import solve_small_components
from divseg.consensus.graph import object_graph
from divseg.consensus.hypotheses import Fused, fuse_masks, least_support
from divseg.consensus.local_search import improve
from divseg.consensus.prototypes import prototypes
from divseg.consensus.stack import LabelStack


def fuse_clustering(
    stack: LabelStack,
    *,
    target: str,
    existence: float | None,
    seed: int,
    links: int = 8,
    exact_below: int = 0,
) -> Fused:
    """Cluster the objects of all samples, let each cluster vote for a mask, and choose among the clusters.

    1. Objects of compared samples are linked by the log-odds of their IoU (minimum cost multicut, Alush &
       Goldberger, PAMI 2012; sparse in the samples, see :func:`divseg.consensus.graph.sample_pairs`).
    2. Greedy additive edge contraction and local search give clusters with at most one object of a sample.
    3. The superlevel set of a cluster's votes with the greatest mean IoU is its mask; objects of all samples
       are assigned anew to the masks they match, and vote again.
    4. Conflicts between merged and split hypotheses are resolved by maximum-weight set packing for the
       expected target score, and the chosen ones are painted.

    Time is linear in the number of samples and of pixels.

    Parameters
    ----------
    stack : LabelStack
    target : str
        Score that the selection maximises.
    existence : float or None
        Fixed threshold on the share of samples instead.
    seed : int
        Seed of the pairs of samples that are compared.
    links : int
        Samples that each sample is compared with.
    exact_below : int
        Components of the graph with at most this number of objects are solved exactly (integer programme).
    """
    cluster = cluster_objects(stack, links=links, seed=seed, exact_below=exact_below)
    # a hypothesis may begin as a part of all its members
    count, weight = least_support(stack, existence)
    enough = np.bincount(cluster, stack.object_units) >= (weight + 1) // 2
    enough &= np.bincount(cluster) >= (count + 1) // 2
    members = np.flatnonzero(enough[cluster]) if len(cluster) else np.empty(0, np.int64)
    rank = np.cumsum(enough) - 1
    masks = prototypes(stack, rank[cluster[members]], members).runs
    return fuse_masks(stack, masks, target, existence)


def cluster_objects(stack: LabelStack, *, links: int = 8, seed: int = 0, exact_below: int = 0) -> NDArray[np.int64]:
    """Return the cluster 0.. of every object of the stack, shape (N,)."""
    graph = object_graph(stack, links, seed)
    cluster = contract(graph.sample, graph.first, graph.second, graph.weight, np.arange(graph.n_objects))
    cluster = improve(graph, cluster)
    return solve_small_components(graph, cluster, exact_below) if exact_below else cluster
