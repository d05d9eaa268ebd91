"""What a fusion returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, repr=False)
class Consensus:
    """One label image fused from K samples, with what the samples say about each of its objects.

    Shares of samples are posterior frequencies: they tell how the samples agree, and are no calibrated
    probabilities of being right, since errors that all samples share do not show in them. Where samples have
    weights, every share is one of their weight, every mean is weighted, and standard deviations and quantiles
    are those of a weighted sample (Kish's effective number of samples takes the place of their number).

    Attributes
    ----------
    labels : int32 array, shape (Y, X) or (Z, Y, X)
        Objects 1..n in the order in which a raster scan meets them; 0 is background.
    objects : DataFrame
        A row per label. A sample *holds* an object if one of its own objects, then called the *member*, has
        an IoU above 0.5 with it. Lengths are in pixels, areas in pixels (voxels in 3-D).

        ``label``
            Value in ``labels``.
        ``existence``
            Share of the samples that hold the object.
        ``mean_iou``
            Mean IoU of the object with its members; NaN without members.
        ``n_members``
            Number of samples that hold the object, whatever they weigh.
        ``area``
            Area in ``labels``.
        ``area_mean area_sd area_q05 area_q50 area_q95``
            Mean, standard deviation (n - 1; NaN for one member) and quantiles of the areas of the members.
        ``diameter``
            Diameter of the circle (3-D: ball) of the same area.
        ``diameter_mean diameter_sd diameter_q05 diameter_q50 diameter_q95``
            The same over the members.
        ``prob_mean`` (only where the segmenter gives probabilities)
            Mean of the probabilities that the segmenter gave the members, such as StarDist's object probability.
        ``p_split``
            Share of the samples in which at least two objects, each with more than half of its area inside,
            cover at least a tenth of the object each.
        ``p_merge``
            Share of the samples in which one object covers more than half of this object and more than half
            of at least one other.
        ``centroid_z`` (3-D only) ``centroid_y centroid_x``
            Centre of mass in ``labels``; pixel centres have integer coordinates.
        ``bbox_z_min bbox_z_max`` (3-D only) ``bbox_y_min bbox_y_max bbox_x_min bbox_x_max``
            Bounding box in ``labels``, maximum exclusive: ``labels[y_min:y_max, x_min:x_max]``.
    foreground : float32 array, shape of ``labels``
        Share of the samples in which the pixel belongs to an object.
    boundary : float32 array, shape of ``labels``
        Share of the samples in which the pixel belongs to an object and has a face neighbour outside it; the
        edge of the image is no boundary.
    n_samples : int
        Number of samples, empty ones included and those of weight 0 left out.
    counts : int64 array, shape (K,)
        Objects of each label image, in the order of the input.
    expected : dict of str to float
        Mean score of ``labels`` with each sample in turn as truth: ``seg det ap50 ap75 map f1 pq``. It tells
        how the samples agree, not how right they are. NaN where no sample allows the score.
    alternatives : DataFrame
        Hypotheses that were weighed and not taken: ``kind`` (merged: holds more than half of at least two
        objects; part: lies mostly in one bigger object; other shape: takes the place of an object; unlikely:
        too rare, with no object in its place), ``rivals`` (labels it overlaps, separated by blanks),
        ``existence mean_iou n_members area`` and centroid and bounding box as in ``objects``. Empty for
        methods that weigh none.
    method : str
        Name of the fusion method.
    weights : float64 array, shape (K,)
        Weight of each label image, with sum 1, in the order of the input.
    """

    labels: NDArray[np.int32]
    objects: pd.DataFrame
    foreground: NDArray[np.float32]
    boundary: NDArray[np.float32]
    n_samples: int
    counts: NDArray[np.int64]
    expected: dict[str, float]
    alternatives: pd.DataFrame
    method: str
    weights: NDArray[np.float64]

    def __repr__(self) -> str:
        scores = ", ".join(f"{name}={self.expected[name]:.3g}" for name in ("map", "seg"))
        return (
            f"Consensus({len(self.objects)} objects from {self.n_samples} samples by {self.method}, "
            f"shape={self.labels.shape}, expected {scores})"
        )
