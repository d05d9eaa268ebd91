"""Candidates to objects: suppression of overlapping ones, and the label image. Runs without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Job:
    """Candidates of one image and what is to be done with them.

    Attributes
    ----------
    prob, dist, points : array
        See :class:`divseg.segment.stardist.predict.Candidates`.
    shape : tuple of int
        Of the image that the network saw.
    nms : float
        Overlap above which the less probable of two candidates is suppressed: the intersection's share of the
        smaller one.
    rays : mapping, optional
        3D: class and arguments of the rays.
    full : tuple of int, optional
        2D: of the label image, where the network saw a resized one; otherwise `shape`.
    """

    prob: NDArray[np.float32]
    dist: NDArray[np.float32]
    points: NDArray[np.int64]
    shape: tuple[int, ...]
    nms: float
    rays: Mapping[str, Any] | None = None
    full: tuple[int, int] | None = None


@dataclass(frozen=True)
class StarDistObjects:
    """What StarDist found in one image.

    Attributes
    ----------
    labels : int32 array, shape (Y, X) or (Z, Y, X)
        Label image.
    label : int array, shape (n,)
        Label of each object, 0 for one that others hide wholly (3D). A 2D object that is hidden keeps its label, but
        no pixel has it.
    prob : float32 array, shape (n,)
        Object probability, falling.
    points : int array, shape (n, ndim)
        Pixel that the distances are counted from, not the centroid.
    dist : float32 array, shape (n, n_rays)
        Distance to the boundary along each ray, in pixels.
    """

    labels: NDArray[np.int32]
    label: NDArray[np.int64]
    prob: NDArray[np.float32]
    points: NDArray[np.int64]
    dist: NDArray[np.float32]

    @property
    def table(self) -> pd.DataFrame:
        """One row for each object: label, prob, and the point's coordinates (z,) y, x."""
        import pandas as pd

        axes = ("z", "y", "x")[-self.points.shape[1] :]
        columns = {name: self.points[:, i] for i, name in enumerate(axes)}
        return pd.DataFrame({"label": self.label, "prob": self.prob, **columns})


def find_objects(job: Job) -> StarDistObjects:
    """Suppress overlapping candidates and paint the others, as StarDist's ``predict_instances`` does."""
    return _polygons(job) if len(job.shape) == 2 else _polyhedra(job)


def _polygons(job: Job) -> StarDistObjects:
    from stardist.nms import non_maximum_suppression_sparse

    from divseg.segment.stardist.render import paint_polygons

    points, prob, dist = job.points, job.prob, job.dist
    if len(points):
        points, prob, dist, _ = non_maximum_suppression_sparse(dist, prob, points, nms_thresh=job.nms)
    full = job.full or (job.shape[0], job.shape[1])
    centres: NDArray[Any] = points
    if full != job.shape:
        # suppressed where they were found, as in StarDist, painted where they belong; the distances of all rays grow
        # alike, up to the rounding of the resized lengths
        factor = np.array(full) / np.array(job.shape)
        dist = (dist * factor.mean()).astype(np.float32)
        centres = (points + 0.5) * factor - 0.5
        points = np.clip(np.rint(centres), 0, np.array(full) - 1).astype(np.int64)
    labels = paint_polygons(dist, centres, prob, full)
    return StarDistObjects(labels, np.arange(1, len(points) + 1), prob, points, dist)


def _polyhedra(job: Job) -> StarDistObjects:
    from skimage.segmentation import relabel_sequential
    from stardist.geometry import polyhedron_to_label
    from stardist.nms import non_maximum_suppression_3d_sparse

    points, prob, dist = job.points, job.prob, job.dist
    if not len(points):
        return StarDistObjects(np.zeros(job.shape, np.int32), np.zeros(0, np.int64), prob, points, dist)
    rays = make_rays(job.rays or {})
    points, prob, dist, _ = non_maximum_suppression_3d_sparse(dist, prob, points, rays, nms_thresh=job.nms)
    painted = polyhedron_to_label(dist, points, rays=rays, prob=prob, shape=job.shape, verbose=False)
    labels, new, _ = relabel_sequential(np.asarray(painted))
    wide = np.zeros(len(points) + 1, np.int64)
    known = np.asarray(new)[: len(wide)]
    wide[: len(known)] = known
    return StarDistObjects(labels.astype(np.int32, copy=False), wide[1:], prob, points, dist)


def make_rays(rays: Mapping[str, Any]) -> Any:
    """Make StarDist's rays of their class and arguments."""
    from stardist import rays3d

    return getattr(rays3d, rays["name"])(**rays["kwargs"])
