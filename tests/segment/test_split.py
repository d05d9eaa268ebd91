import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from divseg.segment.options import threshold_options
from divseg.segment.split import drop_objects, fill_holes, split
from divseg.specs import split_spec


def options(spec="otsu,split=distance"):
    return threshold_options(*split_spec(spec))[1]


def divide(mask, spec="otsu,split=distance", image=None):
    return split(mask, mask.astype(np.float32) if image is None else image, options(spec))


def touching(r, r2, closeness=1.0, angle=0.3):
    """Two discs whose centres are `closeness` times the sum of their radii apart."""
    n = 2 * (r + r2) + 16
    y, x = np.indices((n, n)).astype(float)
    half = (r + r2) * closeness / 2
    cy, cx = n / 2 - np.sin(angle) * half, n / 2 - np.cos(angle) * half
    cy2, cx2 = n / 2 + np.sin(angle) * half, n / 2 + np.cos(angle) * half
    first = np.hypot(y - cy, x - cx) <= r
    second = np.hypot(y - cy2, x - cx2) <= r2
    return first, second


def rough(r, seed, amplitude, grain):
    """One blob whose outline is rough at the scale of `grain` pixels, by `amplitude` of its radius."""
    rng = np.random.default_rng(seed)
    n = int(3 * r + 20)
    y, x = np.indices((n, n)).astype(float)
    field = ndi.gaussian_filter(rng.normal(size=(n, n)), grain)
    blob = np.hypot(y - n / 2, x - n / 2) + amplitude * r * field / field.std() <= r
    regions = ndi.label(blob)[0]
    return ndi.binary_fill_holes(regions == np.argmax(np.bincount(regions.ravel())[1:]) + 1)


@pytest.mark.parametrize("r", [4, 6, 9, 14, 22, 40])
@pytest.mark.parametrize("split_by", ["distance", "combined"])
def test_touching_discs_of_one_size_are_divided(r, split_by):
    for angle in (0.0, 0.3, 0.8):
        first, second = touching(r, r, 0.97 if r > 6 else 1.0, angle)
        labels = divide(first | second, f"otsu,split={split_by}")
        assert labels.max() == 2
        # the cut goes through the neck
        ours = labels == labels[first & ~second][0]
        assert (ours & first).sum() / (ours | first).sum() > 0.95


@pytest.mark.parametrize(("r", "r2"), [(40, 20), (40, 8), (22, 6), (14, 7), (9, 5)])
def test_touching_discs_of_two_sizes_are_divided(r, r2):
    first, second = touching(r, r2, 0.98)
    assert divide(first | second).max() == 2


@pytest.mark.parametrize("r", [4, 6, 9, 14, 22, 40, 54])
def test_a_disc_is_one_object(r):
    first, _ = touching(r, 1, 1.2)
    assert divide(first).max() == 1


@pytest.mark.parametrize("r", [4, 8, 15, 25, 40, 54])
@pytest.mark.parametrize("grain", [1.0, "tenth of the radius"])
def test_a_rough_outline_makes_no_crowd(r, grain):
    blobs = [rough(r, seed, 0.06, grain if grain == 1.0 else max(1.0, 0.1 * r)) for seed in range(8)]
    assert [divide(blob).max() for blob in blobs] == [1] * 8


def test_the_defaults_are_what_keeps_rough_outlines_whole():
    blobs = [rough(r, seed, 0.06, 1.0) for r in (25, 40, 54) for seed in range(4)]
    assert max(divide(blob, "otsu,split=distance,h=0,h_relative=0").max() for blob in blobs) > 3
    assert max(divide(blob, "otsu,split=distance,h_relative=0").max() for blob in blobs) > 1
    small = [rough(r, seed, 0.1, 1.0) for r in (8, 10, 12, 15) for seed in range(8)]
    assert max(divide(blob, "otsu,split=distance,h=0,h_relative=0").max() for blob in small) > 1
    assert max(divide(blob).max() for blob in small) == 1


def test_objects_of_very_different_sizes_in_one_image():
    """From 30 to 9000 pixels, each touching a partner of its size."""
    mask = np.zeros((330, 330), bool)
    y, x = np.indices(mask.shape)
    top = 2
    for r in (54, 25, 12, 6, 4):
        for k in (0, 1):
            mask |= np.hypot(y - top - r, x - 3 - r - k * (2 * r)) <= r
        top += 2 * r + 4
    sizes = np.bincount(divide(mask).ravel())[1:]
    assert len(sizes) == 10
    assert sizes.min() < 60
    assert sizes.max() > 9000


def test_h_and_h_relative():
    first, second = touching(15, 15, 0.8)
    mask = first | second
    assert divide(mask).max() == 2
    assert divide(mask, "otsu,split=distance,h=8").max() == 1
    assert divide(mask, "otsu,split=distance,h_relative=0.6").max() == 1
    assert divide(mask, "otsu,split=distance,min_distance=40").max() == 1
    assert divide(mask, "otsu,split=distance,split_smooth=12").max() == 1


def test_no_splitting_is_connected_regions():
    first, second = touching(9, 9)
    mask = first | second
    assert np.array_equal(divide(mask, "otsu"), ndi.label(mask)[0])
    corner = np.eye(2, dtype=bool)
    assert divide(corner, "otsu").max() == 2
    assert divide(corner, "otsu,connectivity=2").max() == 1
    assert divide(corner, "otsu,split=distance").max() == 2


@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (1e-4, -7), (3e4, 1e5)])
@pytest.mark.parametrize("split_by", ["intensity", "combined"])
def test_a_dim_cleft_divides(split_by, gain, offset):
    """A bar has no neck, but two bright ends."""
    mask = np.zeros((30, 60), bool)
    mask[10:20, 10:50] = True
    x = np.arange(60)
    profile = np.exp(-(((x - 18) / 7) ** 2)) + np.exp(-(((x - 42) / 7) ** 2))
    image = gain * np.where(mask, 50 + 100 * profile[None], 0.0) + offset
    assert divide(mask, "otsu,split=distance", image).max() == 1
    labels = divide(mask, f"otsu,split={split_by}", image)
    assert labels.max() == 2
    assert abs(int((labels == 1).sum()) - int((labels == 2).sum())) <= 20
    assert divide(mask, f"otsu,split={split_by},h=50", image).max() == 1


@pytest.mark.parametrize("split_by", ["none", "distance", "intensity", "combined"])
def test_all_or_nothing(split_by):
    spec = f"otsu,split={split_by}"
    assert not divide(np.zeros((6, 7), bool), spec).any()
    assert (divide(np.ones((6, 7), bool), spec) == 1).all()


def test_touching_balls():
    z, y, x = np.indices((26, 40, 60)).astype(float)
    mask = (np.hypot(np.hypot(z - 13, y - 20), x - 18) <= 11) | (np.hypot(np.hypot(z - 13, y - 20), x - 40) <= 11)
    labels = divide(mask, "otsu,split=distance,ndim=3")
    assert labels.max() == 2
    assert abs(int((labels == 1).sum()) - int((labels == 2).sum())) < 0.05 * mask.sum()
    # every third plane only: the balls are as far apart as before when the spacing is known
    flat = divide(mask[::3], "otsu,split=distance,ndim=3,anisotropy=3")
    assert flat.max() == 2


@settings(deadline=None, max_examples=50)
@given(shape=st.sampled_from([(1, 1), (12, 15), (5, 6, 7)]), density=st.floats(0.1, 0.99), seed=st.integers(0, 999))
def test_filling_equals_scipy(shape, density, seed):
    mask = np.random.default_rng(seed).random(shape) < density
    assert np.array_equal(fill_holes(mask), ndi.binary_fill_holes(mask))


def test_large_holes_stay_open():
    mask = np.ones((12, 20), bool)
    mask[2:5, 2:5] = False  # 9 pixels
    mask[3:7, 10:14] = False  # 16 pixels
    filled = fill_holes(mask, 9)
    assert filled[3, 3]
    assert not filled[5, 12]
    assert fill_holes(mask, 16).all()
    assert not fill_holes(mask, 8)[3, 3]


LABELS = np.array(
    [
        [1, 1, 0, 2, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 3, 3, 3, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 4, 4, 5, 0],
        [0, 0, 0, 0, 0, 0],
    ],
    np.int32,
)


@pytest.mark.parametrize(
    ("limits", "labels_left"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"min_size": 2}, [1, 3, 4]),
        ({"max_size": 2}, [1, 2, 4, 5]),
        ({"min_size": 2, "max_size": 2}, [1, 4]),
        ({"clear_border": True}, [3, 4, 5]),
        ({"clear_border": True, "min_size": 2}, [3, 4]),
        ({"min_size": 99}, []),
    ],
)
def test_objects_are_dropped_and_numbered_anew(limits, labels_left):
    expected = np.zeros_like(LABELS)
    for new, old in enumerate(labels_left, 1):
        expected[old == LABELS] = new
    dropped = drop_objects(LABELS, **limits)
    assert dropped.dtype == np.int32
    assert np.array_equal(dropped, expected)


def squares(*sides):
    """Return labels of squares in a row, with a gap between them."""
    rows = [np.pad(np.full((side, side), k, np.int32), ((0, 60 - side), (0, 2))) for k, side in enumerate(sides, 1)]
    return np.concatenate(rows, axis=1)


def test_what_is_small_beside_the_typical_object_is_dropped():
    specks = [4] * 30  # many, but of fewer pixels than the objects together
    left = drop_objects(squares(20, *specks, 24, 8), min_size="auto")
    assert np.unique(left, return_counts=True)[1][1:].tolist() == [400, 576, 64]
    assert drop_objects(squares(20, *specks, 24, 6), min_size="auto").max() == 2  # 36 of 400 are less than a tenth
    assert drop_objects(squares(4, 3, 4), min_size="auto").max() == 2  # at least 10 pixels
    assert drop_objects(np.zeros((5, 5), np.int32), min_size="auto").max() == 0


def test_volumes_have_six_faces():
    labels = np.zeros((5, 5, 5), np.int32)
    labels[0, 2, 2], labels[2, 2, 2], labels[2, 2, 4] = 1, 2, 3
    assert np.argwhere(drop_objects(labels, clear_border=True)).tolist() == [[2, 2, 2]]
