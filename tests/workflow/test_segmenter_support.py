"""How well samples support a segmenter: each figure sees what the others do not."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from divseg import segmenter
from divseg.workflow.segmenter_support import Judged, Support, explained_variance, measure_support, root_of, sharpness


def judged(clean, noise=1.0, valid=None, seed=0):
    rng = np.random.default_rng(seed)
    return Judged((clean + rng.normal(0, noise, (3, *clean.shape))).astype(np.float32), valid)


def discs(levels, radius=9, side=40):
    """One blurred disc of each level, side by side."""
    y, x = np.mgrid[:side, :side]
    disc = np.hypot(y - side / 2, x - side / 2) < radius
    return ndi.gaussian_filter(np.hstack([level * disc for level in levels]).astype(float), 1.0)


def support(image, spec):
    return image.support(segmenter(spec))


def test_explained_variance_is_that_of_the_levels_of_labels():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (30, 40)) * 2  # labels 1, 3, 5 are absent
    image = labels * 10.0 + rng.normal(0, 5, labels.shape)
    levels = np.repeat(ndi.mean(image, labels, [0, 2, 4, 6]), 2)[labels]
    assert explained_variance(image, labels) == pytest.approx(1 - np.var(image - levels) / np.var(image))
    assert explained_variance(labels, labels) == pytest.approx(1)
    assert explained_variance(image, np.zeros_like(labels)) == pytest.approx(0, abs=1e-9)
    assert explained_variance(np.full((5, 5), 7.0), np.eye(5, dtype=int)) == 0


def test_the_root_evens_out_photon_noise():
    rng = np.random.default_rng(0)
    bright, dark = (rng.poisson(level, 20000) for level in (400, 100))
    root = root_of(np.concatenate([np.zeros(4000), bright, dark]).reshape(-1, 100)).ravel()
    assert np.std(root[4000:24000]) == pytest.approx(np.std(root[24000:]), rel=0.05)


def test_pieces_are_not_found_again():
    image = judged(discs([100, 100]), noise=12)
    whole, shattered = support(image, "otsu,smooth=1"), support(image, "fixed,threshold=8,min_size=1")
    assert (whole.n_objects, whole.again) == (2, 2)
    assert shattered.n_objects > 20
    assert shattered.again < 0.2 * shattered.n_objects


def test_outlines_off_the_edges_have_less_gradient():
    image = judged(discs([100, 100]))
    on, off = support(image, "fixed,threshold=50"), support(image, "fixed,threshold=50,smooth=5")
    assert on.edges > 1.2 * off.edges > 0
    assert support(image, "fixed,threshold=999").edges == 0


def test_what_is_no_data_counts_for_nothing():
    clean = discs([100, 100])
    padded = np.hstack([clean, np.zeros((40, 30))])
    valid = np.ones(padded.shape, bool)
    valid[:, 80:] = False
    wrong = padded.copy()
    wrong[:, 80:] = 30
    spec = segmenter("otsu,smooth=1")
    apart = measure_support(["otsu"], [judged(padded, valid=valid), judged(wrong, valid=valid)], lambda _: spec)[0]
    where = [Support._fields.index(name) for name in ("again", "explained", "n_objects")]
    np.testing.assert_allclose(apart[0][where], apart[1][where])
    assert root_of(wrong, valid)[:, :80].max() == pytest.approx(np.sqrt(clean.max() * 1.001), rel=1e-3)


def test_a_grain_of_dust_does_not_decide():
    """The variance of the grain and its edges are not what a segmenter is judged by."""
    clean, (y, x) = discs([60, 100, 60, 100], side=60), np.indices((60, 240))
    grain = np.hypot(y - 5, x - 60) < 2.5
    plain, dusty = judged(clean), judged(np.where(grain, 5e4, clean))
    for spec in ("fixed,threshold=50", "fixed,threshold=50,smooth=4"):
        for name in ("explained", "edges"):
            assert getattr(support(dusty, spec), name) == pytest.approx(getattr(support(plain, spec), name), rel=0.3)


def test_a_constant_image_supports_nothing():
    image = Judged(np.zeros((3, 20, 20), np.float32))
    assert support(image, "otsu") == (0, 0, 0, 0, 1)


def test_smoothing_costs_sharpness():
    specs = ("otsu", "otsu,smooth=0.5", "otsu,smooth=1", "otsu,smooth=4", "stardist:nuclei")
    assert [sharpness(segmenter(spec)) for spec in specs] == [1, 1, 0.5, 0.125, 1]
