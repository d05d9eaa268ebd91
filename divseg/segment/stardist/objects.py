"""Candidates to objects: suppression of overlapping ones, and the label image. Runs without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divseg.labels import LabelImage


@dataclass(frozen=True)
class Job:
    """Candidates of one image and what is to be done with them.

    Attributes
    ----------
    prob, dist, points : array
        See :class:`divseg.segment.stardist.predict.Candidates`.
    shape : tuple of int
        Shape of the image that the network saw.
    nms : float
        Overlap above which the less probable of two candidates is suppressed: area (volume) of the intersection as a
        fraction of that of the smaller one.
    rays : mapping, optional
        3D: class and arguments of the rays.
    label_shape : tuple of int, optional
        Shape of the label image if the network saw a resized image; otherwise `shape`.
    valid : bool array, shape of the label image, optional
        Objects are cut to these pixels.
    """

    prob: NDArray[np.float32]
    dist: NDArray[np.float32]
    points: NDArray[np.int64]
    shape: tuple[int, ...]
    nms: float
    rays: Mapping[str, Any] | None = None
    label_shape: tuple[int, ...] | None = None
    valid: NDArray[np.bool_] | None = None


def find_objects(job: Job) -> LabelImage:
    """Suppress overlapping candidates and paint the others, as StarDist's ``predict_instances`` does.

    Returns
    -------
    LabelImage
        int32 labels in the order of falling object probability, and these probabilities. A polygon that others hide
        keeps its label, although no pixel has it, and so does an object outside of `valid`; a hidden polyhedron has
        neither label nor probability.
    """
    objects = suppress(job)
    labels = _paint_polygons(objects) if len(job.shape) == 2 else _paint_polyhedra(objects)
    return labels if job.valid is None else LabelImage(np.where(job.valid, labels, 0), labels.prob)


def suppress(job: Job) -> Job:
    """Drop each candidate that overlaps a more probable one by more than ``nms``; the others in falling order."""
    if not len(job.points):
        return job
    if len(job.shape) == 2:
        from divseg.segment.stardist.suppression import kept_polygons

        kept = kept_polygons(job.dist, job.prob, job.points, job.nms)
    else:
        from stardist.nms import non_maximum_suppression_3d_sparse

        rays = make_rays(job.rays or {})
        *_, kept = non_maximum_suppression_3d_sparse(job.dist, job.prob, job.points, rays, nms_thresh=job.nms)
    return replace(job, prob=job.prob[kept], dist=job.dist[kept], points=job.points[kept])


def _paint_polygons(job: Job) -> LabelImage:
    from divseg.segment.stardist.render import paint_polygons

    dist, centres = job.dist, job.points
    height, width = shape = job.label_shape or job.shape
    if shape != job.shape:
        # suppressed in the resized image, as in StarDist, painted in the original one; the distances of all rays grow
        # alike, up to the rounding of the resized lengths
        factor = np.array(shape) / np.array(job.shape)
        dist = (dist * factor.mean()).astype(np.float32)
        centres = (centres + 0.5) * factor - 0.5
    return LabelImage(paint_polygons(dist, centres, job.prob, (height, width)), job.prob)


def _paint_polyhedra(job: Job) -> LabelImage:
    from skimage.segmentation import relabel_sequential
    from stardist.geometry import polyhedron_to_label

    shape = job.label_shape or job.shape
    if not len(job.points):
        return LabelImage(np.zeros(shape, np.int32), job.prob)
    rays, centres = make_rays(job.rays or {}), job.points
    if shape != job.shape:  # suppressed as the network saw them, painted as planes lie in the image
        factor = np.array(shape) / np.array(job.shape)
        rays, centres = rays.copy(scale=tuple(factor)), (centres + 0.5) * factor - 0.5
    painted = polyhedron_to_label(job.dist, centres, rays=rays, prob=job.prob, shape=shape, verbose=False)
    labels, _, painted_label = relabel_sequential(np.asarray(painted))
    return LabelImage(labels.astype(np.int32, copy=False), job.prob[np.asarray(painted_label)[1:] - 1])


def make_rays(rays: Mapping[str, Any]) -> Any:
    """Make StarDist's rays of their class and arguments."""
    from stardist import rays3d

    return getattr(rays3d, rays["name"])(**rays["kwargs"])
