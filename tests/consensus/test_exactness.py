"""Contraction and local search of the clustering problem, against its exact solution."""

import itertools

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from divseg.consensus.contraction import contract
from divseg.consensus.graph import ObjectGraph, object_graph
from divseg.consensus.local_search import improve
from divseg.consensus.stack import LabelStack


def random_graph(rng, samples=4, objects=2, density=0.8):
    """Objects of several samples with random log-odds between those of different samples."""
    sample = np.repeat(np.arange(samples), objects)
    pairs = [p for p in itertools.combinations(range(len(sample)), 2) if sample[p[0]] != sample[p[1]]]
    pairs = np.array([p for p in pairs if rng.random() < density])
    return ObjectGraph(sample, pairs[:, 0], pairs[:, 1], rng.normal(0.2, 1.5, len(pairs)).round(3))


def partitions(n):
    """All clusterings of n objects, as restricted growth strings."""

    def grow(prefix):
        if len(prefix) == n:
            yield np.array(prefix)
            return
        for c in range(max(prefix, default=-1) + 2):
            yield from grow([*prefix, c])

    return grow([])


def is_allowed(graph, cluster):
    return len(set(zip(cluster.tolist(), graph.sample.tolist(), strict=True))) == graph.n_objects


def energy(graph, cluster):
    """Sum of the weights of the edges that a clustering cuts: the multicut objective."""
    return float(graph.weight[cluster[graph.first] != cluster[graph.second]].sum())


def multicut(graph):
    """Clustering of least energy with objects of one sample apart; exact, by an integer program with lazy rows.

    ``min sum w_e x_e`` with x_e = 1 for cut edges, subject to x_e <= sum of x over every path between the
    ends of e, and sum of x >= 1 over every path between two objects of one sample. The inequalities are
    added if a solution violates them (Kappes et al., EMMCVPR 2011).
    """
    sample, first, second, n = graph.sample, graph.first, graph.second, graph.n_objects
    apart = np.argwhere(np.triu(sample[:, None] == sample[None, :], 1))
    rows = []
    while True:
        cut = solve(graph.weight, rows)
        edges = np.flatnonzero(~cut)
        ends = (np.concatenate([first[edges], second[edges]]), np.concatenate([second[edges], first[edges]]))
        joined = coo_array((np.concatenate([edges, edges]) + 1, ends), shape=(n, n)).tocsr()
        _, part = connected_components(joined, directed=False)
        before = len(rows)
        for e in np.flatnonzero(cut & (part[first] == part[second])):
            rows.append((path(joined, int(first[e]), int(second[e])), int(e)))
        for a, b in apart[part[apart[:, 0]] == part[apart[:, 1]]].tolist():
            rows.append((path(joined, a, b), -1))
        if len(rows) == before:
            return part


def solve(weight, rows):
    """Edges to cut under the inequalities of (path, edge) or (path, -1)."""
    matrix, low = np.zeros((max(len(rows), 1), len(weight))), np.zeros(max(len(rows), 1))
    for i, (edges, edge) in enumerate(rows):
        matrix[i, edges] = 1
        if edge >= 0:
            matrix[i, edge] = -1
        else:
            low[i] = 1
    constraint = LinearConstraint(csr_array(matrix), lb=low)
    options = {"mip_rel_gap": 0.0}
    result = milp(
        weight, integrality=np.ones(len(weight)), bounds=Bounds(0, 1), constraints=constraint, options=options
    )
    assert result.x is not None, result.message
    return result.x > 0.5


def path(joined, start, end):
    """Edges of a shortest path; the entries of `joined` are edge + 1."""
    _, before = breadth_first_order(joined, start, directed=False)
    edges = []
    while end != start:
        edges.append(int(joined[before[end], end]) - 1)
        end = int(before[end])
    return np.array(edges, np.int64)


@pytest.mark.parametrize("seed", range(12))
def test_exact_is_the_best_of_all_partitions_and_search_comes_near(seed):
    graph = random_graph(np.random.default_rng(seed), samples=4, objects=2)
    best = min(energy(graph, p) for p in partitions(8) if is_allowed(graph, p))
    exact = multicut(graph)
    assert is_allowed(graph, exact)
    assert energy(graph, exact) == pytest.approx(best)
    greedy = contract(graph.sample, graph.first, graph.second, graph.weight, np.arange(8))
    result = improve(graph, greedy)
    assert is_allowed(graph, greedy)
    assert is_allowed(graph, result)
    assert best - 1e-9 <= energy(graph, result) <= energy(graph, greedy) + 1e-9


def test_search_repairs_what_greed_did():
    gaps = []
    for seed in range(30):
        graph = random_graph(np.random.default_rng(100 + seed), samples=6, objects=2, density=0.6)
        greedy = contract(graph.sample, graph.first, graph.second, graph.weight, np.arange(12))
        result, exact = improve(graph, greedy), multicut(graph)
        gaps.append([energy(graph, c) - energy(graph, exact) for c in (greedy, result)])
    greedy_gap, found_gap = np.mean(gaps, axis=0)
    assert found_gap < 0.1 * greedy_gap
    assert np.mean(np.array(gaps)[:, 1] < 1e-6) >= 0.9


def components(graph):
    """The graph of every connected component."""
    n = graph.n_objects
    links = coo_array((np.ones(len(graph.first)), (graph.first, graph.second)), shape=(n, n))
    count, component = connected_components(links, directed=False)
    for c in range(count):
        nodes, edges = np.flatnonzero(component == c), np.flatnonzero(component[graph.first] == c)
        ends = (np.searchsorted(nodes, end[edges]) for end in (graph.first, graph.second))
        yield ObjectGraph(graph.sample[nodes], *ends, graph.weight[edges])


def test_samples_with_errors_are_clustered_nearly_optimally(make_cells):
    """Cells that are missed, and merged with a neighbour, more often than any segmenter would."""
    gaps = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        masks = [make_cells(rng, side=64, pitch=16, miss=0.25, jitter=1.5) for _ in range(7)]
        for mask in masks:
            labels = np.unique(mask[mask > 0])
            for a, b in zip(labels[::2], labels[1::2], strict=False):
                mask[mask == b] = a if rng.random() < 0.3 else b
        for graph in components(object_graph(LabelStack.of(masks), 8, 0)):
            if len(graph.first):
                start = contract(graph.sample, graph.first, graph.second, graph.weight, np.arange(graph.n_objects))
                gaps.append(energy(graph, improve(graph, start)) - energy(graph, multicut(graph)))
    assert len(gaps) >= 10
    assert min(gaps) > -1e-6
    assert max(gaps) < 1e-6
