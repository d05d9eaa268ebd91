"""An object is kept by the posterior samples, whatever else is fused beside them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage as ndi

from divseg import fuse
from divseg.consensus.fusion import METHODS
from divseg.consensus.witnesses import LEAST_EXISTENCE, LEAST_SNR
from divseg.errors import ConfigError, InputError

masks = arrays(np.bool_, (6, 9, 9), elements=st.booleans())


def label(stack):
    return [ndi.label(mask)[0] for mask in stack]


@given(masks, st.integers(1, 6), st.sampled_from([None, 0.0, 0.3, 0.8, 1.0]), st.sampled_from(sorted(METHODS)))
def test_nothing_is_kept_that_the_samples_do_not_hold(stack, samples, existence, method):
    labels = label(stack)
    result = fuse(labels, samples=samples, existence=existence, method=method)
    least = LEAST_EXISTENCE if existence is None else existence
    table = result.objects
    assert (table["existence"] >= least - 1e-9).all()
    assert table["label"].tolist() == sorted(set(result.labels.ravel()) - {0})
    assert result.n_samples == samples
    for number, said in zip(table["label"], table["existence"], strict=True):
        holders = 0
        for sample in labels[:samples]:
            ious = [
                ((sample == k) & (result.labels == number)).sum() / ((sample == k) | (result.labels == number)).sum()
                for k in range(1, sample.max() + 1)
            ]
            holders += max(ious, default=0) > 0.5
        assert said == pytest.approx(holders / samples)


@pytest.mark.parametrize("method", ["clustering", "mutex", "voting", "medoid"])  # majority merges what touches
def test_what_only_other_images_hold_is_an_alternative(pair, method):
    both, _, left = pair
    views = [left] * 4 + [both] * 6
    assert len(fuse(views, method=method).objects) == 2
    result = fuse(views, method=method, samples=4)
    assert np.array_equal(result.labels > 0, left > 0)
    assert result.objects["existence"].tolist() == [1]
    other = result.alternatives.query("kind == 'unlikely'")
    assert other["existence"].tolist() == [0]
    assert other["bbox_x_min"].tolist() == [12]
    assert len(fuse(views, method=method, samples=4, existence=0).objects) == 2


def test_the_samples_choose_among_what_others_propose(pair):
    """Most label images show one merged object; the samples hold two."""
    both, merged, _ = pair
    result = fuse([both] * 4 + [merged] * 6, samples=4)
    assert np.array_equal(result.labels, both)
    assert result.alternatives["kind"].tolist() == ["merged"]
    assert result.alternatives["existence"].tolist() == [0]


@pytest.mark.parametrize("blind", ["noisy", "mean"])
def test_what_the_images_do_not_show_is_faint(pair, blind):
    """The right object is not in the noisy image, though the samples show it; or the other way round."""
    both, _, left = pair
    wide = [np.pad(image, 20) for image in (both, left)]
    noisy, mean = (100.0 + 40 * (wide[int(name == blind)] > 0) for name in ("noisy", "mean"))
    images = (noisy + np.random.default_rng(0).normal(0, 10, mean.shape), mean, np.full(mean.shape, 5.0))
    samples = [wide[0]] * 5
    result = fuse(samples, samples=5, images=images)
    assert np.array_equal(result.labels, wide[1])
    assert result.objects["snr"].tolist()[0] > LEAST_SNR
    assert result.objects["contrast"].tolist() == pytest.approx([8], rel=0.1)
    assert result.alternatives[["kind", "existence"]].to_numpy().tolist() == [["faint", 1.0]]
    kept = fuse(samples, samples=5, images=images, snr=0)
    assert len(kept.objects) == 2
    assert "snr" not in fuse(samples, samples=5).objects


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"samples": 0}, InputError, "samples=0: there are 2 masks"),
        ({"samples": 3}, InputError, "samples=3: there are 2 masks"),
        ({"images": (np.zeros((4, 4)),) * 3}, ConfigError, "say with samples="),
        ({"samples": 2, "images": (np.zeros((4, 4)), np.zeros((4, 5)), np.zeros((4, 4)))}, InputError, "images: mean"),
        ({"samples": 2, "images": (np.zeros((4, 4)),) * 3, "snr": -1}, ConfigError, "snr=-1"),
    ],
)
def test_impossible_arguments(options, error, words):
    with pytest.raises(error, match=words):
        fuse([np.eye(4, dtype=int)] * 2, **options)
