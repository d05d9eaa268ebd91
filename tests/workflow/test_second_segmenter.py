"""A second segmenter beside the best one."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage as ndi

from divseg.segment import segmenter
from divseg.workflow.second_segmenter import LEAST_SCORE, kind_of, second_segmenter
from divseg.workflow.segmenter_support import Judged

OTSU, LI, NETWORK = "otsu,smooth=1", "li,smooth=1", "stardist:nuclei"


@pytest.fixture(scope="module")
def judged():
    """Samples of discs that both kinds find."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96]
    clean = np.zeros((96, 96))
    for cy, cx in np.ndindex(3, 3):
        clean[np.hypot(y - 32 * cy - 16, x - 32 * cx - 16) < 9] = 100
    clean = ndi.gaussian_filter(clean, 1.0)
    return [Judged(np.stack([clean + rng.normal(0, 2, clean.shape) for _ in range(2)]).astype(np.float32))]


def ranking(*rows):
    return pd.DataFrame(rows, columns=["segmenter", "score"])


def test_the_best_of_another_kind_that_agrees(judged):
    assert second_segmenter(ranking((OTSU, 0.5), (LI, 0.5), (NETWORK, 0.48)), judged) == NETWORK
    assert second_segmenter(ranking((NETWORK, 0.5), (LI, 0.48), (OTSU, 0.47)), judged) == LI


def test_none_of_the_same_kind(judged):
    assert kind_of(segmenter(OTSU)) == kind_of(segmenter("local,smooth=2"))
    assert kind_of(segmenter(NETWORK)) != kind_of(segmenter(f"{NETWORK},scale=2"))
    assert second_segmenter(ranking((OTSU, 0.5), (LI, 0.5)), judged) is None


def test_none_that_is_clearly_worse(judged):
    assert second_segmenter(ranking((OTSU, 0.5), (NETWORK, 0.499 * LEAST_SCORE)), judged) is None
    assert second_segmenter(ranking((OTSU, 0.0), (NETWORK, 0.0)), judged) is None


def test_none_that_sees_other_things(judged):
    assert judged[0].labels(segmenter(OTSU)).max() == 9
    nothing = "python:tests.workflow.test_second_segmenter:nothing"
    assert second_segmenter(ranking((OTSU, 0.5), (nothing, 0.5)), judged) is None
    assert second_segmenter(ranking((OTSU, 0.5), (nothing, 0.5), (NETWORK, 0.5)), judged) == NETWORK


def test_none_that_does_just_the_same(judged):
    same = f"{NETWORK},max_candidates=100000"
    assert kind_of(segmenter(same)) != kind_of(segmenter(NETWORK))
    assert second_segmenter(ranking((NETWORK, 0.5), (same, 0.5), (OTSU, 0.48)), judged) == OTSU


def nothing(image):
    """A segmenter that finds nothing."""
    return np.zeros(image.shape, int)
