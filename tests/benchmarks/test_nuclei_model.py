"""What `stardist:nuclei` is trained on: drawn images, changed patches, the split."""

import numpy as np
import pytest
from scipy.ndimage import label

from benchmarks.nuclei_model import augment, synthetic
from benchmarks.nuclei_model.augment import Augment
from benchmarks.nuclei_model.split import join
from benchmarks.nuclei_model.synthetic import DIAMETERS, draw, texture


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(3)
    return [draw(160, rng) for _ in range(40)]


def test_drawn_nuclei_are_brighter_than_what_is_around_them(drawn):
    contrast = [x[y > 0].mean() - x[y == 0].mean() for x, y in drawn if y.any()]
    assert np.mean(np.array(contrast) > 0.05) > 0.9


def test_drawn_labels_are_numbered_and_nearly_in_one_piece(drawn):
    for _, labels in drawn:
        numbers = np.unique(labels)
        assert numbers.tolist() == list(range(len(numbers)))
        sizes = [np.sort(np.bincount(label(labels == n)[0].ravel())[1:]) for n in numbers[1:]]
        assert all(size[-1] > 0.7 * size.sum() for size in sizes)


def test_drawn_images_have_small_and_large_nuclei(drawn):
    diameters = [np.sqrt(4 / np.pi * np.median(np.bincount(y.ravel())[1:])) for _, y in drawn if y.any()]
    assert min(diameters) < 2 * DIAMETERS[0]
    assert max(diameters) > DIAMETERS[1] / 2


def test_some_images_have_no_nucleus(monkeypatch):
    monkeypatch.setattr(synthetic, "EMPTY", 1.0)
    image, labels = draw(64, np.random.default_rng(0))
    assert not labels.any()
    assert np.isfinite(image).all()


def test_drawing_depends_on_the_random_numbers_alone():
    (a, b), (c, d) = draw(96, np.random.default_rng(5)), draw(96, np.random.default_rng(5))
    assert np.array_equal(a, c)
    assert np.array_equal(b, d)


def test_texture_varies_inside_and_is_nowhere_negative():
    labels = np.ones((64, 64), np.int32)
    factors = np.stack([texture(labels, 32.0, np.random.default_rng(k)) for k in range(30)])
    assert factors.min() > 0
    assert np.mean(factors.std(axis=(1, 2)) > 0.05) > 0.8


def test_a_changed_patch_has_its_nuclei_where_its_labels_are(monkeypatch):
    monkeypatch.setattr(augment, "SYNTHETIC", 0.0)
    y, x = np.mgrid[:128, :128]
    labels = np.zeros((128, 128), np.int32)
    for n, centre in enumerate(((30, 30), (40, 90), (90, 60)), start=1):
        labels[np.hypot(y - centre[0], x - centre[1]) < 14] = n
    image = (labels > 0).astype(np.float32)
    change = Augment(1)
    for _ in range(60):
        changed, truth = change(image, labels)
        assert changed.dtype == np.float32
        assert changed.shape == truth.shape == (128, 128)
        assert truth.any()
        assert changed[truth > 0].mean() > changed[truth == 0].mean() + 0.1


def test_some_patches_are_drawn():
    change = Augment(2)
    image, labels = np.zeros((64, 64), np.float32), np.zeros((64, 64), np.int32)
    drawn = sum(bool(change(image, labels)[1].any()) for _ in range(60))
    assert 0.5 * augment.SYNTHETIC < drawn / 60 < 1.5 * augment.SYNTHETIC


def test_an_image_joins_the_group_that_it_continues_or_looks_like():
    shapes = np.array(["a", "a", "a", "a", "a", "b"])
    features = np.array([[0.0, 0.0], [9.0, 1.0], [0.5, 0.5], [8.0, 1.0], [0.1, 0.0], [0.0, 0.0]])
    field = np.array([0, 1, 1, 2, 3, 4])
    groups = join(shapes, features, field, ["near", "far"], {"near": "train", "far": "test"})
    # the third continues the second, although it looks like the first; the last has a size of its own
    assert groups == ["near", "far", "far", "far", "near", "dsb-b"]


def test_of_two_groups_that_an_image_continues_the_more_cautious_takes_it():
    features = np.array([[0.0], [1.0], [0.0]])
    groups = join(np.array(["a"] * 3), features, np.zeros(3, int), ["x", "y"], {"x": "train", "y": "test"})
    assert groups == ["x", "y", "y"]
