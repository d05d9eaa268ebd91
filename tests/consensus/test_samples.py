import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from divseg.consensus.samples import encode, read_stack
from divseg.errors import InputError
from divseg.io import write_labels

images = hnp.arrays(
    st.sampled_from([np.uint8, np.int16, np.int64]),
    st.sampled_from([(1, 1), (5, 1), (1, 6), (4, 7)]),
    elements=st.integers(0, 4),
)
volumes = hnp.arrays(np.uint16, (3, 4, 5), elements=st.integers(0, 3))


def first_seen(labels):
    """Labels 1.. in the order of a raster scan."""
    names = [v for v in dict.fromkeys(labels.ravel().tolist()) if v]
    return np.vectorize(dict(zip([0, *names], range(len(names) + 1), strict=True)).get, otypes=[int])(labels)


def rim(labels):
    """Pixels of an object with a face neighbour outside it, by the definition."""
    found = np.zeros(labels.shape, bool)
    for at in np.ndindex(labels.shape):
        for axis in range(labels.ndim):
            for step in (-1, 1):
                near = list(at)
                near[axis] += step
                if labels[at] and 0 <= near[axis] < labels.shape[axis]:
                    found[at] |= labels[tuple(near)] != labels[at]
    return found


@given(st.one_of(images, volumes))
def test_the_runs_are_the_image(labels):
    stack = read_stack([labels])
    decoded = stack.decode(0).reshape(labels.shape)
    assert np.array_equal(decoded, first_seen(labels))
    assert stack.areas.tolist() == np.bincount(decoded.ravel())[1:].tolist()
    assert np.array_equal(encode(labels).starts, stack.starts)


@given(st.lists(volumes, min_size=1, max_size=3))
def test_maps_are_shares_of_samples(masks):
    stack = read_stack(masks)
    assert stack.foreground.dtype == stack.boundary.dtype == np.float32
    np.testing.assert_allclose(stack.foreground, np.mean([m > 0 for m in masks], axis=0), atol=1e-6)
    np.testing.assert_allclose(stack.boundary, np.mean([rim(m) for m in masks], axis=0), atol=1e-6)


@given(images)
def test_boundaries_of_planes(labels):
    assert np.array_equal(read_stack([labels]).boundary > 0, rim(labels))


def test_boxes_and_runs_of_objects(cells):
    stack = read_stack(cells)
    offsets, runs = stack.object_runs
    for i in (0, 7, stack.n_objects - 1):
        k = stack.sample_of[i]
        mask = stack.decode(k) == i - stack.object_offsets[k] + 1
        z, y, x = np.nonzero(mask)
        assert stack.boxes[i].tolist() == [z.min(), y.min(), x.min(), z.max() + 1, y.max() + 1, x.max() + 1]
        mine = runs[offsets[i] : offsets[i + 1]]
        assert stack.lengths[mine].sum() == mask.sum() == stack.areas[i]


def test_order_knows_neither_the_input_order_nor_labels_nor_place(cells):
    cells = [np.pad(c, 8) for c in cells]
    there = [cells[k] * 3 for k in (5, 2, 0, 1)]
    back = [np.roll(cells[k], (4, -3), (0, 1)) for k in (0, 1, 2, 5)]
    a, b = read_stack(there), read_stack(back)
    assert [(5, 2, 0, 1)[k] for k in a.order] == [(0, 1, 2, 5)[k] for k in b.order]
    assert np.array_equal(a.objects, b.objects)


def test_huge_labels_need_no_huge_table():
    labels = np.array([[0, 2**62, 7], [2**40, 2**40, 7]])
    assert read_stack([labels]).decode(0)[0].tolist() == [[0, 1, 2], [3, 3, 2]]
    assert read_stack([labels[1:] + 1]).decode(0)[0].tolist() == [[1, 1, 2]]


def test_booleans_are_one_object():
    assert read_stack([np.eye(3, dtype=bool)]).counts.tolist() == [1]


def test_empty_samples_count(cells):
    stack = read_stack([*cells[:3], np.zeros_like(cells[0])])
    assert stack.n_samples == 4
    assert sorted(stack.counts.tolist())[0] == 0


def test_identical_samples_are_known(cells):
    assert read_stack([cells[0], cells[0] * 2]).identical
    assert not read_stack(cells[:2]).identical


def test_a_generator_is_read_once(cells):
    assert read_stack(c for c in cells).n_samples == len(cells)


def test_files_are_read_one_by_one(cells, tmp_path):
    files = [tmp_path / f"{k}.tif" for k in range(3)]
    for file, mask in zip(files, cells, strict=False):
        write_labels(file, mask)
    stack = read_stack(str(file) if file.stem == "1" else file for file in files)
    same = read_stack(cells[:3])
    assert stack.order.tolist() == same.order.tolist()
    assert np.array_equal(stack.starts, same.starts)
    (tmp_path / "2.tif").write_text("no image")
    with pytest.raises(InputError, match=r"2\.tif"):
        read_stack(files)


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        ([], "no masks"),
        ("masks.tif", "is the path masks.tif; give a list of files"),
        (np.zeros((4, 4), int), r"\(4, 4\); give K label images"),
        ([np.zeros((4, 4))], "mask 0 has dtype float64"),
        ([np.zeros((4, 4), int), np.full((4, 4), -2)], "mask 1 holds the negative label -2"),
        ([np.zeros((4, 4), int), np.zeros((4, 5), int)], r"mask 1 has shape \(4, 5\) but mask 0 has shape \(4, 4\)"),
        ([np.zeros(4, int)], r"mask 0 has shape \(4,\)"),
        ([np.zeros((0, 4), int)], r"mask 0 has shape \(0, 4\)"),
    ],
)
def test_bad_masks_are_told_in_one_line(masks, words):
    with pytest.raises(InputError, match=words) as caught:
        read_stack(masks)
    assert "\n" not in str(caught.value)
