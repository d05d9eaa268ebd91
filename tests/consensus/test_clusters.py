"""Graph of samples, contraction, local search and exact solution of the clustering problem."""

import itertools

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from divseg.consensus.clustering import cluster_objects
from divseg.consensus.contraction import contract, renumber
from divseg.consensus.exact import multicut, solve_small_components
from divseg.consensus.graph import ObjectGraph, object_graph, sample_pairs
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


@pytest.mark.parametrize("n_samples", [1, 2, 5, 13, 14, 40, 101])
def test_every_sample_meets_enough_others(n_samples):
    pairs = sample_pairs(n_samples, 12, seed=0)
    assert np.array_equal(pairs, np.unique(np.sort(pairs, axis=1), axis=0))
    degree = np.bincount(pairs.ravel(), minlength=n_samples)
    if n_samples <= 13:
        assert (degree == n_samples - 1).all()
        return
    assert degree.max() <= 12
    assert degree.mean() > 8
    links = coo_array((np.ones(len(pairs)), pairs.T), shape=(n_samples, n_samples))
    assert connected_components(links, directed=False)[0] == 1


def test_links_are_log_odds_of_the_iou():
    one = np.array([[1, 1, 1, 1, 0, 2, 2, 2]])
    two = np.array([[1, 1, 1, 0, 0, 0, 2, 2]])
    graph = object_graph(LabelStack.of([one, two]), 12, 0)
    order = np.argsort(graph.weight)
    np.testing.assert_allclose(graph.weight[order], [np.log(2), np.log(3)])
    same = object_graph(LabelStack.of([one, one]), 12, 0)
    np.testing.assert_allclose(same.weight, np.log(0.98 / 0.02))


def test_contraction_joins_by_total_weight():
    """0 and 1 join first; then 2 is drawn to them less than it is pushed away."""
    sample = np.arange(4)
    cluster = contract(sample, np.array([0, 0, 1, 2]), np.array([1, 2, 2, 3]), np.array([3.0, 2.0, -2.5, 0.1]), sample)
    assert cluster.tolist() == [0, 0, 1, 1]


def test_objects_of_one_sample_stay_apart():
    graph = ObjectGraph(np.array([0, 0, 1]), np.array([0, 1]), np.array([2, 2]), np.array([2.0, 1.0]))
    cluster = contract(graph.sample, graph.first, graph.second, graph.weight, np.arange(3))
    assert cluster.tolist() == [0, 1, 0]
    assert improve(graph, np.array([0, 1, 1])).tolist() == [0, 1, 0]


def test_samples_beyond_64_stay_apart_too():
    sample = np.array([70, 70, 6])
    cluster = contract(sample, np.array([0, 1]), np.array([2, 2]), np.array([1.0, 2.0]), np.arange(3))
    assert cluster.tolist() == [0, 1, 1]


@pytest.mark.parametrize("seed", range(12))
def test_exact_is_the_best_of_all_partitions_and_search_comes_near(seed):
    graph = random_graph(np.random.default_rng(seed), samples=4, objects=2)
    best = min(graph.energy(p) for p in partitions(8) if is_allowed(graph, p))
    exact = multicut(graph.sample, graph.first, graph.second, graph.weight)
    assert is_allowed(graph, exact)
    assert graph.energy(exact) == pytest.approx(best)
    greedy = contract(graph.sample, graph.first, graph.second, graph.weight, np.arange(8))
    found = improve(graph, greedy)
    assert is_allowed(graph, greedy)
    assert is_allowed(graph, found)
    assert best - 1e-9 <= graph.energy(found) <= graph.energy(greedy) + 1e-9


def test_search_repairs_what_greed_did():
    gaps = []
    for seed in range(30):
        graph = random_graph(np.random.default_rng(100 + seed), samples=6, objects=2, density=0.6)
        greedy = contract(graph.sample, graph.first, graph.second, graph.weight, np.arange(12))
        found, exact = improve(graph, greedy), multicut(graph.sample, graph.first, graph.second, graph.weight)
        gaps.append([graph.energy(c) - graph.energy(exact) for c in (greedy, found)])
    greedy_gap, found_gap = np.mean(gaps, axis=0)
    assert found_gap < 0.1 * greedy_gap
    assert np.mean(np.array(gaps)[:, 1] < 1e-6) >= 0.9


def test_small_components_are_solved_and_others_left():
    rng = np.random.default_rng(0)
    a, b = random_graph(rng, samples=3), random_graph(rng, samples=6)
    graph = ObjectGraph(
        np.concatenate([a.sample, b.sample]),
        np.concatenate([a.first, b.first + 6]),
        np.concatenate([a.second, b.second + 6]),
        np.concatenate([a.weight, b.weight]),
    )
    alone = np.arange(18)
    solved = solve_small_components(graph, alone, 6)
    assert len(np.unique(solved[6:])) == 12
    assert a.energy(solved[:6]) == pytest.approx(a.energy(multicut(a.sample, a.first, a.second, a.weight)))


def test_clusters_are_the_cells(cells):
    stack = LabelStack.of(cells)
    cluster = cluster_objects(stack)
    cell = (stack.boxes[:, 1] + stack.boxes[:, 4]) // 2 // 18 * 4 + (stack.boxes[:, 2] + stack.boxes[:, 5]) // 2 // 18
    assert np.array_equal(cluster, renumber(cell))
    assert np.array_equal(cluster_objects(stack, exact_below=12), cluster)
