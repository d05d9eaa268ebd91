import numpy as np

from divseg.segment.stardist.objects import Job, find_objects


def test_seventy_thousand_objects():
    """More than the 65,535 that 16 bits can count."""
    side = 265
    points = np.stack(np.mgrid[:side, :side], -1).reshape(-1, 2) * 10 + 5
    prob = np.linspace(0.5, 1, len(points), dtype=np.float32)
    found = find_objects(Job(prob, np.full((len(points), 8), 3, np.float32), points, (side * 10, side * 10), 0.4))
    assert found.labels.max() == len(found.label) == side**2 > 70_000
    assert len(np.unique(found.labels)) == side**2 + 1
    np.testing.assert_array_equal(found.labels[tuple(found.points.T)], found.label)


def test_overlap_is_measured_on_the_smaller_object():
    job = Job(
        prob=np.float32([0.9, 0.8, 0.7]),
        dist=np.float32([[10] * 32, [3] * 32, [10] * 32]),
        points=np.array([[20, 20], [22, 20], [20, 33]]),
        shape=(40, 60),
        nms=0.4,
    )
    found = find_objects(job)
    np.testing.assert_array_equal(found.points, [[20, 20], [20, 33]])
    np.testing.assert_array_equal(found.prob, np.float32([0.9, 0.7]))
    assert found.labels[20, 28] == 1  # the more probable one is on top


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
    found = find_objects(job)
    np.testing.assert_array_equal(found.label, [1, 0, 2])
    np.testing.assert_array_equal(np.unique(found.labels), [0, 1, 2])
    assert list(found.table.columns) == ["label", "prob", "z", "y", "x"]
