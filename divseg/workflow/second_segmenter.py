"""A second segmenter beside the best one: samples that both segment are fused, and each outvotes the other's errors.

A threshold and a network err in different ways, and so does a network at two scales. Where the samples support both
nearly as well, and where both draw nearly the same objects, the fusion of both is better than that of either; where
they see different things, or one is clearly worse, the better one alone is. The lab book has the figures, with each
set of images left out in turn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from divseg.metrics import evaluate
from divseg.segment import Segmenter, segmenter
from divseg.segment.thresholding import ThresholdSegmenter
from divseg.workflow.segmenter_support import Judged

LEAST_SCORE = 0.9
"""Score of a second segmenter as a fraction of the best one's."""

LEAST_AGREEMENT = 0.45
"""mAP of the objects of a second segmenter in the mean samples, with those of the best one as truth."""


def kind_of(segment: Segmenter) -> str:
    """Return what a segmenter has in common with those that err as it does: all thresholdings are of one kind."""
    return "thresholding" if isinstance(segment, ThresholdSegmenter) else segment.name


def second_segmenter(ranking: pd.DataFrame, judged: Sequence[Judged]) -> str | None:
    """Return the segmenter that works beside the first of a ranking, None if it works best alone.

    Parameters
    ----------
    ranking : DataFrame
        Of :func:`divseg.workflow.choose_segmenter.rank_segmenters`, best first: ``segmenter`` and ``score``.
    judged : sequence of Judged
        The images that it was made on.

    Returns
    -------
    str or None
        The best one of another kind than the first (:func:`kind_of`) with at least `LEAST_SCORE` of its score whose
        objects agree with those of the first at least by `LEAST_AGREEMENT`, and are not just the same.
    """
    names, scores = ranking["segmenter"].tolist(), ranking["score"].tolist()
    first = segmenter(names[0])
    drawn = [image.labels(first) for image in judged]
    tried = {kind_of(first)}
    for name, score in zip(names[1:], scores[1:], strict=True):
        if not score >= LEAST_SCORE * scores[0] > 0:
            return None
        other = segmenter(name)
        if kind_of(other) in tried:
            continue
        tried.add(kind_of(other))
        pairs = [(image.labels(other), own) for image, own in zip(judged, drawn, strict=True)]
        if all(np.array_equal(*pair) for pair in pairs):  # such as a scale that scale=auto takes
            continue
        if np.mean([evaluate(*pair).map for pair in pairs]) >= LEAST_AGREEMENT:
            return str(name)
    return None
