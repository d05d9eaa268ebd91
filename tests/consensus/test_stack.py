import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from divseg.consensus.run_lengths import to_runs
from divseg.consensus.stack import LabelStack
from divseg.errors import InputError
from divseg.io import write_labels
from divseg.labels import LabelImage

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
    edge = np.zeros(labels.shape, bool)
    for at in np.ndindex(labels.shape):
        for axis in range(labels.ndim):
            for step in (-1, 1):
                near = list(at)
                near[axis] += step
                if labels[at] and 0 <= near[axis] < labels.shape[axis]:
                    edge[at] |= labels[tuple(near)] != labels[at]
    return edge


@given(st.one_of(images, volumes))
def test_the_runs_are_the_image(labels):
    stack = LabelStack.of([labels])
    decoded = stack.decode(0).reshape(labels.shape)
    assert np.array_equal(decoded, first_seen(labels))
    assert stack.areas.tolist() == np.bincount(decoded.ravel())[1:].tolist()
    assert np.array_equal(to_runs(labels).starts, stack.starts)


@given(st.lists(volumes, min_size=1, max_size=3))
def test_maps_are_shares_of_samples(masks):
    stack = LabelStack.of(masks)
    assert stack.foreground.dtype == stack.boundary.dtype == np.float32
    np.testing.assert_allclose(stack.foreground, np.mean([m > 0 for m in masks], axis=0), atol=1e-6)
    np.testing.assert_allclose(stack.boundary, np.mean([rim(m) for m in masks], axis=0), atol=1e-6)


@given(images)
def test_boundaries_of_planes(labels):
    assert np.array_equal(LabelStack.of([labels]).boundary > 0, rim(labels))


def test_boxes_and_runs_of_objects(cells):
    stack = LabelStack.of(cells)
    offsets, runs = stack.object_runs
    for i in (0, 7, stack.n_objects - 1):
        k = stack.sample_of[i]
        mask = stack.decode(k) == i - stack.object_offsets[k] + 1
        z, y, x = np.nonzero(mask)
        assert stack.boxes[i].tolist() == [z.min(), y.min(), x.min(), z.max() + 1, y.max() + 1, x.max() + 1]
        mine = runs[offsets[i] : offsets[i + 1]]
        assert stack.lengths[mine].sum() == mask.sum() == stack.areas[i]


def test_the_order_depends_neither_on_the_input_order_nor_on_labels_nor_position(cells):
    cells = [np.pad(c, 8) for c in cells]
    there = [cells[k] * 3 for k in (5, 2, 0, 1)]
    back = [np.roll(cells[k], (4, -3), (0, 1)) for k in (0, 1, 2, 5)]
    a, b = LabelStack.of(there), LabelStack.of(back)
    assert [(5, 2, 0, 1)[k] for k in a.order] == [(0, 1, 2, 5)[k] for k in b.order]
    assert np.array_equal(a.objects, b.objects)


def test_the_order_of_equal_label_images_is_that_of_their_weights(cells):
    images = [cells[0], cells[1], cells[0]]
    assert LabelStack.of(images, [1, 1, 2]).units.tolist() == LabelStack.of(images, [2, 1, 1]).units.tolist()


def test_huge_labels_need_no_huge_table():
    labels = np.array([[0, 2**62, 7], [2**40, 2**40, 7]])
    assert LabelStack.of([labels]).decode(0)[0].tolist() == [[0, 1, 2], [3, 3, 2]]
    assert LabelStack.of([labels[1:] + 1]).decode(0)[0].tolist() == [[1, 1, 2]]


def test_booleans_are_one_object():
    assert LabelStack.of([np.eye(3, dtype=bool)]).counts.tolist() == [1]


def test_empty_samples_count(cells):
    stack = LabelStack.of([*cells[:3], np.zeros_like(cells[0])])
    assert stack.n_samples == 4
    assert sorted(stack.counts.tolist())[0] == 0


def test_identical_samples_are_recognised(cells):
    assert LabelStack.of([cells[0], cells[0] * 2]).identical
    assert not LabelStack.of(cells[:2]).identical


def test_a_generator_is_read_once(cells):
    assert LabelStack.of(c for c in cells).n_samples == len(cells)


def test_files_are_read_one_by_one(cells, tmp_path):
    files = [tmp_path / f"{k}.tif" for k in range(3)]
    for file, mask in zip(files, cells, strict=False):
        write_labels(file, mask)
    stack = LabelStack.of(str(file) if file.stem == "1" else file for file in files)
    same = LabelStack.of(cells[:3])
    assert stack.order.tolist() == same.order.tolist()
    assert np.array_equal(stack.starts, same.starts)
    (tmp_path / "2.tif").write_text("no image")
    with pytest.raises(InputError, match=r"2\.tif"):
        LabelStack.of(files)


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        ([], "no masks"),
        ("masks.tif", "is the path masks.tif; give a list of files"),
        (np.zeros((4, 4), int), r"\(4, 4\); give K label images"),
        ([np.zeros((4, 4))], "mask 0: a label image holds integers, not float64"),
        ([np.zeros((4, 4), int), np.full((4, 4), -2)], "mask 1: label -2 is negative"),
        ([np.zeros((4, 4), int), np.zeros((4, 5), int)], r"mask 1 has shape \(4, 5\) but mask 0 has shape \(4, 4\)"),
        ([np.zeros(4, int)], r"mask 0: shape \(4,\)"),
        ([np.zeros((0, 4), int)], r"mask 0: shape \(0, 4\) has no pixels"),
    ],
)
def test_bad_masks_are_reported_in_one_line(masks, words):
    with pytest.raises(InputError, match=words) as caught:
        LabelStack.of(masks)
    assert "\n" not in str(caught.value)


@st.composite
def scored_masks(draw):
    """Label images, some with a probability for each label."""
    masks = draw(st.lists(volumes, min_size=1, max_size=4))
    return [LabelImage(m, np.linspace(0.2, 0.9, 3 + k)) if draw(st.booleans()) else m for k, m in enumerate(masks)]


@given(scored_masks(), st.data())
def test_a_selection_is_the_stack_of_the_selected(masks, data):
    indices = data.draw(st.lists(st.integers(0, len(masks) - 1), min_size=1, max_size=6))
    weights = data.draw(
        st.none() | st.lists(st.sampled_from([0, 1, 2.5, 0.1]), min_size=len(indices), max_size=len(indices))
    )
    if weights is not None and not any(weights):
        weights[0] = 1
    stack = LabelStack.of(
        masks, data.draw(st.sampled_from([None, range(1, len(masks) + 1), [1] + [0] * (len(masks) - 1)]))
    )
    same_stack(stack.select(indices, weights), LabelStack.of([masks[i] for i in indices], weights))


@given(scored_masks(), st.booleans())
def test_a_stack_on_disk_is_the_stack(masks, weighted):
    stack = LabelStack.of(masks, [0.3 + (k == 1) * 1e-3 for k in range(len(masks))] if weighted else None)
    with tempfile.TemporaryDirectory() as folder:
        stack.save(Path(folder, "a.npz"))
        loaded = LabelStack.load(f"{folder}/a.npz")
        loaded.save(Path(folder, "b.npz"))
        assert Path(folder, "a.npz").read_bytes() == Path(folder, "b.npz").read_bytes()
    same_stack(loaded, stack)
    for k, mask in enumerate(masks):
        assert np.array_equal(loaded.labels(k), first_seen(mask))
        assert (loaded.labels(k).prob is None) == (getattr(mask, "prob", None) is None)


def same_stack(a, b):
    """Equal in every field, bit for bit."""
    assert (a.shape, len(a), a.identical, a.total) == (b.shape, b.n_inputs, b.identical, b.total)
    arrays = ["order", "starts", "lengths", "objects", "areas", "run_offsets", "object_offsets", "units"]
    inputs = ["input_units", "input_counts", "input_weights"]
    for name in [*arrays, *inputs, "foreground", "boundary", "prob"]:
        one, two = getattr(a, name), getattr(b, name)
        if two is None:
            assert one is None, name
        else:
            assert (one.dtype, one.shape, one.tobytes()) == (two.dtype, two.shape, two.tobytes()), name


def test_label_images_of_the_stack_are_in_the_order_of_the_input(cells):
    stack = LabelStack.of(cells, [1, 0, *range(1, 11)])
    assert len(stack) == 12
    assert stack.n_samples == 11
    for k, mask in enumerate(cells):
        labels = stack.labels(k)
        assert labels.dtype == np.int32
        assert np.array_equal(labels, first_seen(mask))
    volume = LabelStack.of([np.stack([cells[0]] * 2)]).labels(0)
    assert volume.shape == (2, 72, 72)


def test_probabilities_follow_their_objects():
    image = np.array([[3, 3, 0], [1, 0, 2]])
    stack = LabelStack.of([image, LabelImage(image, [0.1, 0.2, 0.3, 0.9])], weights=[1, 0])
    assert np.isnan(stack.prob).tolist() == [True] * 3, "only label images of positive weight count"
    assert stack.labels(0).prob is None
    assert stack.labels(1).prob.tolist() == np.float32([0.3, 0.1, 0.2]).tolist()
    with pytest.raises(InputError, match="mask 0 has the label 3 but 2 probabilities"):
        LabelStack.of([LabelImage(image, [0.1, 0.2])])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([],), "no masks"),
        (([0, 3],), "there is no label image 3 in a stack of 3; give 0 to 2"),
        (([-1],), "there is no label image -1"),
        (([0.5],), "give a list of numbers"),
        ((1,), "give a list of numbers"),
        (([0, 1], [1, 2, 3]), r"weights has shape \(3,\); give one number for each of the 2 masks"),
        (([0, 1], [0, 0]), "not all zero"),
    ],
)
def test_impossible_selections_are_refused(cells, arguments, words):
    with pytest.raises(InputError, match=words):
        LabelStack.of(cells[:3]).select(*arguments)


def test_a_stack_on_disk_is_small(tmp_path):
    """Cells side by side, 20 pixels wide, drawn a little differently in each of eight label images."""
    rng = np.random.default_rng(0)
    line = np.arange(512)
    masks = []
    for _ in range(8):
        y, x = np.meshgrid(line, line, indexing="ij")
        wave = rng.normal(0, 1.5, (2, 512)).round().astype(int)
        masks.append((y + wave[0] + 20) // 20 * 30 + (x + wave[1][:, None] + 20) // 20)
    LabelStack.of(masks).save(tmp_path / "cells.npz")
    assert (tmp_path / "cells.npz").stat().st_size < 0.1 * 4 * 8 * 512**2


def test_a_file_that_is_not_a_stack_is_refused_in_one_line(cells, tmp_path):
    LabelStack.of(cells).save(tmp_path / "whole.npz")
    data = (tmp_path / "whole.npz").read_bytes()
    files = {"half": data[: len(data) // 2], "empty": b"", "text": b"no stack", "flipped": flipped(data)}
    for name, content in files.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
    np.savez(tmp_path / "foreign.npz", labels=cells[0])
    np.savez(tmp_path / "old.npz", format=np.array(b"divseg label stack 0"))
    words = dict.fromkeys(files, "or a damaged one") | {
        "foreign": "not a label stack; give",
        "old": "has the format 'divseg label stack 0', this version reads 'divseg label stack 1'",
        "missing": "there is no such file",
    }
    for name, expected in words.items():
        text = message(tmp_path / f"{name}.npz")
        assert f"{name}.npz: " in text
        assert expected in text
        assert "\n" not in text


def flipped(data):
    """A byte in the middle, among the runs, is changed."""
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 255]) + data[len(data) // 2 + 1 :]


def message(path):
    with pytest.raises(InputError) as caught:
        LabelStack.load(path)
    return str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"n_runs": np.array([1, 2])},
        {"n_objects": np.array([1, 1])},
        {"lengths": np.array([1, 9, 1], np.uint8)},
        {"shape": np.array([4])},
        {"units": np.array([1])},
        {"units": np.array([0, 0])},
        {"prob": np.array([0.5], np.float32)},
        {"prob": np.array([None], object)},
    ],
)
def test_arrays_that_do_not_fit_one_another_are_refused(tmp_path, change):
    """Image after image is drawn by compiled loops, which check nothing."""
    path = tmp_path / "stack.npz"
    LabelStack.of([np.array([[0, 1, 2]]), np.array([[0, 0, 3]])]).save(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **arrays)
    assert len(LabelStack.load(path)) == 2
    np.savez(path, **arrays | change, allow_pickle=True)
    assert "damaged" in message(path)
