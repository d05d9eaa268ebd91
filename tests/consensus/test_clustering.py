"""Graph of samples, contraction and local search of the clustering problem."""

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from divseg.consensus.clustering import cluster_objects
from divseg.consensus.contraction import contract, renumber
from divseg.consensus.graph import ObjectGraph, object_graph, sample_pairs
from divseg.consensus.local_search import improve
from divseg.consensus.stack import LabelStack


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


def test_clusters_are_the_cells(cells):
    stack = LabelStack.of(cells)
    cluster = cluster_objects(stack)
    cell = (stack.boxes[:, 1] + stack.boxes[:, 4]) // 2 // 18 * 4 + (stack.boxes[:, 2] + stack.boxes[:, 5]) // 2 // 18
    assert np.array_equal(cluster, renumber(cell))
