"""What the samples say about objects: which of them hold each, how well they match, and the expected scores."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from divseg.consensus.overlaps import overlaps
from divseg.consensus.run_lengths import RunLengths
from divseg.consensus.stack import LabelStack

THRESHOLDS = np.round(np.arange(0.5, 1.0, 0.05), 2)
"""IoU thresholds that mAP is the mean over."""


class ObjectEvidence:
    """Statistics of objects against all samples.

    Parameters
    ----------
    runs : RunLengths
        The n objects; they may overlap.
    stack : LabelStack
        The K samples.
    """

    def __init__(self, runs: RunLengths, stack: LabelStack) -> None:
        self.runs = runs
        self.stack = stack
        self.overlaps = overlaps(runs, stack)
        self.n = runs.n_objects
        self.n_samples = stack.n_samples

    @cached_property
    def holds(self) -> NDArray[np.bool_]:
        """Whether sample k holds object j (IoU > 0.5), shape (n, K)."""
        return self.overlaps.members >= 0

    @cached_property
    def existence(self) -> NDArray[np.float64]:
        """Fraction of the weight of the samples that hold each object, shape (n,)."""
        return self.stack.fraction(self.holds)

    @cached_property
    def mean_iou(self) -> NDArray[np.float64]:
        """Mean IoU with the members, NaN if there are none, shape (n,)."""
        weight = self.stack.support(self.holds)
        total = (self.overlaps.member_iou * self.stack.units).sum(axis=1)
        return np.divide(total, weight, out=np.full(self.n, np.nan), where=weight > 0)

    def reached(self, threshold: float) -> NDArray[np.bool_]:
        """Whether object j is matched in sample k at an IoU threshold of 0.5 or more, shape (n, K)."""
        return self.holds & (self.overlaps.member_iou >= threshold)

    @cached_property
    def hit_rates(self) -> NDArray[np.float64]:
        """Fraction of the weight of the samples that match each object at each of THRESHOLDS, shape (T, n)."""
        return np.stack([self.stack.fraction(self.reached(t)) for t in THRESHOLDS])

    @cached_property
    def iou_rate(self) -> NDArray[np.float64]:
        """Expected IoU with the member, which counts 0 if there is none, shape (n,)."""
        return self.stack.mean(self.overlaps.member_iou)

    @cached_property
    def _covers(self) -> NDArray[np.bool_]:
        """Pairs in which the object covers more than half of the sample's object, the SEG match."""
        c = self.overlaps
        return 2 * c.shared > self.stack.areas[c.second]

    @cached_property
    def _filled(self) -> int:
        """Weight units of the samples with any object, at least 1."""
        return max(int(self.stack.units[self.stack.counts > 0].sum()), 1)

    @cached_property
    def seg_gain(self) -> NDArray[np.float64]:
        """Contribution of each object to the expected SEG; exactly additive over disjoint objects, (n,)."""
        c = self.overlaps
        counts = np.maximum(self.stack.counts, 1)[c.sample]
        gain = np.where(self._covers, c.iou / counts, 0.0) * self.stack.units[c.sample]
        return np.bincount(c.first, gain, minlength=self.n) / self._filled

    @cached_property
    def _covered(self) -> NDArray[np.int64]:
        """Number of objects of sample k that object j covers, shape (n, K)."""
        c = self.overlaps
        cell = c.first[self._covers] * self.n_samples + c.sample[self._covers]
        return np.bincount(cell, minlength=self.n * self.n_samples).reshape(self.n, self.n_samples)

    def _det(self) -> NDArray[np.float64]:
        """DET of disjoint objects with each sample as truth, shape (K,); NaN for an empty sample.

        In units of 10 n_k for a sample with n_k objects, an object costs 5 (s - 1) for the split operations if it
        covers s > 1 of them and 1 if it covers none, and each of them that is not covered costs 10 (Matula et al.
        2015).
        """
        covered, counts = self._covered, self.stack.counts
        splits = np.maximum(covered - 1, 0).sum(axis=0)
        cost = 5 * splits + 10 * (counts - covered.sum(axis=0)) + (covered == 0).sum(axis=0)
        worst = 10 * counts
        fraction = np.divide(np.minimum(cost, worst), worst, out=np.full(len(counts), np.nan), where=worst > 0)
        return np.asarray(1 - fraction)

    def expected(self) -> dict[str, float]:
        """Weighted mean scores of the objects, as one label image, with each sample in turn as truth."""
        counts = self.stack.counts
        both = self.n + counts
        tp = np.stack([self.reached(t).sum(axis=0) for t in THRESHOLDS])
        ap = np.divide(tp, both - tp, out=np.full(tp.shape, np.nan), where=both > 0)
        f1 = np.divide(2 * tp[0], both, out=np.full(len(counts), np.nan), where=both > 0)
        iou = self.overlaps.member_iou.sum(axis=0)
        pq = np.divide(2 * iou, both, out=np.full(len(counts), np.nan), where=both > 0)
        scores = {"det": self._det(), "ap50": ap[0], "ap75": ap[5], "map": ap.mean(axis=0), "f1": f1, "pq": pq}
        seg = float(self.seg_gain.sum()) if counts.any() else np.nan
        return {"seg": seg} | {name: self._mean(values) for name, values in scores.items()}

    def _mean(self, values: NDArray[np.float64]) -> float:
        """Weighted mean over the samples for which a score is defined."""
        defined = ~np.isnan(values)
        units = self.stack.units[defined]
        return float((values[defined] * units).sum() / units.sum()) if len(units) else float("nan")
