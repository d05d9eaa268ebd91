import numpy as np
import pytest
from scipy import ndimage as ndi

from divseg.segment.options import threshold_options
from divseg.segment.split import split
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
    # every third plane only: the balls are as far apart as before when the steps are known
    flat = divide(mask[::3], "otsu,split=distance,ndim=3,anisotropy=3")
    assert flat.max() == 2
