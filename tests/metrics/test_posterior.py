"""Intensities over the samples: members by intersection over union, quantiles as NumPy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from divseg.metrics.posterior import Moments, object_moments, posterior_columns

LABELS = arrays(np.int32, (5, 6), elements=st.integers(0, 3))
IMAGE = arrays(np.float32, (5, 6), elements=st.floats(-100, 100, width=32))


@given(LABELS, IMAGE)
def test_moments_are_those_of_the_pixels(labels, image):
    moments = object_moments(labels, image)
    assert len(moments.mean) == labels.max()
    for label in np.unique(labels[labels > 0]):
        pixels = image[labels == label].astype(float)
        np.testing.assert_allclose(moments.mean[label - 1], pixels.mean(), atol=1e-4)
        np.testing.assert_allclose(moments.std[label - 1], pixels.std(), atol=1e-4)


@given(LABELS, st.lists(st.tuples(LABELS, IMAGE), min_size=1, max_size=5))
def test_members_are_those_with_half_of_the_union(labels, drawn):
    n = int(labels.max())
    background = np.linspace(1, 2, n)
    samples = ((other, [object_moments(other, image)]) for other, image in drawn)
    columns = posterior_columns(labels, n, samples, [background])
    for k in range(1, n + 1):
        means, sums = [], []
        for other, image in drawn:
            for j in np.unique(other[other > 0]):
                mine, theirs = labels == k, other == j
                if 2 * (mine & theirs).sum() > (mine | theirs).sum():
                    means.append(float(object_moments(other, image).mean[j - 1]))
                    sums.append(means[-1] * theirs.sum())
        for name, values in (("mean", means), ("sum", sums)):
            found = [columns[f"posterior_{name}{end}"][k - 1] for end in ("", "_q05", "_q95")]
            expected = [np.mean(values), *np.quantile(values, (0.05, 0.95))] if values else [np.nan] * 3
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    corrected = columns["posterior_mean"] - background
    np.testing.assert_allclose(columns["posterior_corrected"], corrected, rtol=1e-6, atol=1e-4)


def test_the_interval_covers_what_the_samples_say():
    rng = np.random.default_rng(0)
    labels = np.zeros((20, 20), np.int32)
    labels[5:15, 5:15] = 1

    def draw():
        for level in rng.normal(50, 3, 400):
            yield labels, [Moments(np.array([level], np.float32), np.ones(1, np.float32))]

    columns = posterior_columns(labels, 1, draw(), [np.array([10.0])])
    assert columns["posterior_mean"][0] == pytest.approx(50, abs=0.5)
    assert columns["posterior_mean_q95"][0] == pytest.approx(50 + 1.645 * 3, abs=1)
    assert columns["posterior_corrected_sum"][0] == pytest.approx(100 * 40, rel=0.02)


def test_samples_are_seen_one_by_one():
    labels, seen = np.ones((3, 3), np.int32), []

    def draw():
        for k in range(3):
            seen.append(k)
            yield labels, [Moments(np.ones(1, np.float32), np.ones(1, np.float32))]

    posterior_columns(labels, 1, draw(), [np.zeros(1)])
    assert seen == [0, 1, 2]
