from dataclasses import replace

import numpy as np
import pytest

from divseg.segment.stardist.objects import Job, find_objects, suppress


def test_seventy_thousand_objects():
    """More than the 65,535 that 16 bits can count."""
    side = 265
    points = np.stack(np.mgrid[:side, :side], -1).reshape(-1, 2) * 10 + 5
    prob = np.linspace(0.5, 1, len(points), dtype=np.float32)
    job = Job(prob, np.full((len(points), 8), 3, np.float32), points, (side * 10, side * 10), 0.4)
    labels = find_objects(job)
    assert labels.max() == len(labels.prob) == side**2 > 70_000
    assert len(np.unique(labels)) == side**2 + 1
    np.testing.assert_array_equal(labels.prob, np.sort(prob)[::-1])
    np.testing.assert_array_equal(labels[tuple(points[::-1].T)], np.arange(1, side**2 + 1))  # the most probable is 1


def test_overlap_is_measured_on_the_smaller_object():
    job = Job(
        prob=np.float32([0.9, 0.8, 0.7]),
        dist=np.float32([[10] * 32, [3] * 32, [10] * 32]),
        points=np.array([[20, 20], [22, 20], [20, 33]]),
        shape=(40, 60),
        nms=0.4,
    )
    np.testing.assert_array_equal(suppress(job).points, [[20, 20], [20, 33]])
    labels = find_objects(job)
    np.testing.assert_array_equal(labels.prob, np.float32([0.9, 0.7]))
    assert labels[20, 28] == 1  # the more probable one is on top
    assert find_objects(replace(job, nms=1.0)).prob.size == 3


def test_a_hidden_polygon_keeps_its_label():
    job = Job(
        prob=np.float32([0.7, 0.9, 0.8]),
        dist=np.float32([[5] * 32, [10] * 32, [3] * 32]),
        points=np.array([[20, 45], [20, 20], [20, 20]]),
        shape=(40, 60),
        nms=1.0,  # nothing is suppressed
    )
    labels = find_objects(job)
    np.testing.assert_array_equal(np.unique(labels), [0, 1, 3])
    np.testing.assert_array_equal(labels.prob, np.float32([0.9, 0.8, 0.7]))
    assert labels[20, 45] == 3


def test_objects_of_a_resized_image_are_painted_in_the_original():
    job = Job(
        np.float32([0.9]), np.full((1, 32), 4, np.float32), np.array([[9, 6]]), (20, 30), 0.4, label_shape=(60, 90)
    )
    labels = find_objects(job)
    assert labels.shape == (60, 90)
    y, x = np.nonzero(labels)
    # the middle of pixel 9 of 20 is that of pixels 27 to 29 of 60
    assert (y.mean(), x.mean()) == pytest.approx((28, 19), abs=0.1)
    assert y.size == pytest.approx(np.pi * 12**2, rel=0.05)


@pytest.mark.parametrize("shape", [(40, 60), (6, 20, 20)])
def test_no_candidates_no_objects(shape):
    none = np.zeros((0, len(shape)), np.int64)
    labels = find_objects(Job(np.zeros(0, np.float32), np.zeros((0, 8), np.float32), none, shape, 0.4))
    assert (labels.shape, labels.dtype, labels.prob.shape) == (shape, np.int32, (0,))
    assert not labels.any()


def test_a_hidden_polyhedron_has_no_label():
    rays = {"name": "Rays_Octo", "kwargs": {"n_level": 2}}
    n = 18
    job = Job(
        prob=np.float32([0.9, 0.8, 0.7]),
        dist=np.float32([[6] * n, [3] * n, [4] * n]),
        points=np.array([[10, 10, 10], [10, 11, 10], [10, 25, 10]]),
        shape=(20, 40, 20),
        nms=1.0,  # nothing is suppressed
        rays=rays,
    )
    labels = find_objects(job)
    np.testing.assert_array_equal(np.unique(labels), [0, 1, 2])
    assert labels[10, 25, 10] == 2
    np.testing.assert_array_equal(labels.prob, np.float32([0.9, 0.7]))
