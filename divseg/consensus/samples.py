"""The stack of label images, held as runs of equal labels along the last axis."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from divseg.consensus.masks import Mask, open_mask, probabilities
from divseg.consensus.weights import weight_units
from divseg.errors import InputError


@dataclass(frozen=True, eq=False)
class Runs:
    """Horizontal runs of objects, sorted by start; they end at the latest with their image row.

    Attributes
    ----------
    starts : int64 array, shape (R,)
        Flat index of the first pixel.
    lengths : int32 array, shape (R,)
        Pixels.
    objects : int32 array, shape (R,)
        Object of the run, counted from 0. Runs of one label image are disjoint; those of a set of
        hypotheses may overlap.
    areas : int64 array, shape (N,)
        Pixels of each object.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int32]
    objects: NDArray[np.int32]
    areas: NDArray[np.int64]

    @property
    def n_objects(self) -> int:
        """Number of objects."""
        return len(self.areas)


@dataclass(frozen=True, eq=False)
class LabelStack:
    """K label images in a compact form and a canonical order, each with a weight.

    Memory goes with the length of all object outlines, not with the number of pixels. The samples are
    sorted by a hash of their content that knows neither label values nor the place in the image, so that
    nothing computed from the stack depends on the order of the samples, on label values, or on a shift of
    all samples. Label images of weight 0 are not in the stack.

    Attributes
    ----------
    shape : tuple of int
        Of one image, as given.
    volume : tuple of three int
        The same as (Z, Y, X).
    starts, lengths, objects : arrays, shape (R,)
        Runs as in :class:`Runs`, sample after sample, objects numbered through the whole stack.
    run_offsets, object_offsets : int64 arrays, shape (K + 1,)
        Where the runs and the objects of each sample begin.
    areas : int64 array, shape (N,)
        Pixels of each object.
    order : int64 array, shape (K,)
        Place of each sample in the input.
    units : int64 array, shape (K,)
        Weight of each sample in whole units, all 1 where the samples weigh the same.
    input_counts : int64 array
        Objects of each label image of the input, those of weight 0 included.
    foreground, boundary : float32 arrays
        Maps of :class:`divseg.consensus.Consensus`.
    identical : bool
        All samples hold the same objects.
    prob : float64 array, shape (N,), optional
        Probability that the segmenter gave each object, NaN where it gave none; None where it never gives any.
    """

    shape: tuple[int, ...]
    volume: tuple[int, int, int]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int32]
    objects: NDArray[np.int32]
    run_offsets: NDArray[np.int64]
    object_offsets: NDArray[np.int64]
    areas: NDArray[np.int64]
    order: NDArray[np.int64]
    units: NDArray[np.int64]
    input_counts: NDArray[np.int64]
    foreground: NDArray[np.float32] = field(repr=False)
    boundary: NDArray[np.float32] = field(repr=False)
    identical: bool
    prob: NDArray[np.float64] | None = field(default=None, repr=False)

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return len(self.order)

    @property
    def n_objects(self) -> int:
        """Number of objects in all samples."""
        return len(self.areas)

    @cached_property
    def total(self) -> int:
        """Weight units of all samples together."""
        return int(self.units.sum())

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """Weight of each sample, with sum 1, shape (K,)."""
        return self.units / self.total

    @cached_property
    def uniform(self) -> bool:
        """Whether all samples weigh the same."""
        return bool((self.units == 1).all())

    def support(self, happens: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Weight units of the samples in which something happens, whole numbers; shape (..., K) to (...)."""
        return np.asarray(happens.astype(float) @ self.units.astype(float))

    def share(self, happens: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Share of the weight of the samples in which something happens, shape (..., K) to (...)."""
        return np.asarray(self.support(happens) / self.total)

    def mean(self, values: NDArray[np.number]) -> NDArray[np.float64]:
        """Weighted mean of a value of each sample, shape (..., K) to (...)."""
        return np.asarray((values * self.units).sum(axis=-1) / self.total)

    @cached_property
    def object_units(self) -> NDArray[np.int64]:
        """Weight units of the sample of each object, shape (N,)."""
        return self.units[self.sample_of]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Objects of each sample, in the canonical order, shape (K,)."""
        return np.diff(self.object_offsets)

    @cached_property
    def sample_of(self) -> NDArray[np.int64]:
        """Sample of each object, shape (N,)."""
        return np.repeat(np.arange(self.n_samples), self.counts)

    @cached_property
    def object_runs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Offsets (N + 1,) and indices (R,) of the runs of each object."""
        offsets = np.zeros(self.n_objects + 1, np.int64)
        np.cumsum(np.bincount(self.objects, minlength=self.n_objects), out=offsets[1:])
        return offsets, _by_object(self.objects, offsets)

    @cached_property
    def boxes(self) -> NDArray[np.int64]:
        """Bounding box (z, y, x minima, then exclusive maxima) of each object, shape (N, 6)."""
        return run_boxes(self.starts, self.lengths, self.objects, self.n_objects, *self.volume[1:])

    def sample(self, k: int) -> Runs:
        """Return the runs of sample `k` (canonical order), its objects counted from 0."""
        a, b = self.run_offsets[k], self.run_offsets[k + 1]
        first, last = self.object_offsets[k], self.object_offsets[k + 1]
        local = (self.objects[a:b] - first).astype(np.int32)
        return Runs(self.starts[a:b], self.lengths[a:b], local, self.areas[first:last])

    def decode(self, k: int) -> NDArray[np.int32]:
        """Return sample `k` (canonical order) as a label image with labels 1..n, shape (Z, Y, X)."""
        return draw(self.sample(k), self.volume)


def read_stack(masks: Iterable[Mask] | NDArray[Any], weights: ArrayLike | None = None) -> LabelStack:
    """Read label images one by one and keep their runs.

    Parameters
    ----------
    masks : iterable of integer arrays or of paths, or one integer array
        K label images of one shape (Y, X) or (Z, Y, X), or their files; an array has K along its first axis.
    weights : array-like of K numbers, optional
        Weight of each, all the same by default. A label image of weight 0 is read and left out.

    Raises
    ------
    InputError
        No masks, wrong dimensions, different shapes, not integers, negative labels, or other weights than one
        number of at least 0 for each.
    """
    units = None if weights is None else weight_units(weights)
    if isinstance(masks, str | os.PathLike):
        raise InputError(
            f"masks is the path {os.fspath(masks)}; give a list of files, or for a folder or stacks use `divseg fuse`"
        )
    if isinstance(masks, np.ndarray) and masks.ndim not in (3, 4):
        raise InputError(
            f"masks is one array of shape {masks.shape}; give K label images as (K, Y, X) or (K, Z, Y, X), or as a list"
        )
    shape: tuple[int, ...] = ()
    volume = (0, 0, 0)
    foreground = boundary = np.empty(0, np.int32)
    samples: list[Runs] = []
    chances: dict[int, NDArray[np.float64]] = {}
    unit = 1
    for index, mask in enumerate(masks):
        array, scored = open_mask(mask, f"mask {index}")
        if not samples:
            shape, volume = array.shape, as_volume(array.shape)
            foreground, boundary = np.zeros(volume, np.int32), np.zeros(volume, np.int32)
        elif array.shape != shape:
            raise InputError(
                f"mask {index} has shape {array.shape} but mask 0 has shape {shape}; all must show the same pixels"
            )
        if units is not None:
            if index == len(units):
                raise InputError(f"weights has shape {units.shape} but there are more masks; give one number for each")
            unit = int(units[index])
        codes, highest = _as_codes(array.reshape(volume))
        if unit > 0:
            _count(codes, foreground, boundary, np.int32(unit))
        runs = Runs(*_encode(codes, highest))
        samples.append(runs)
        if scored is not None:
            first = np.unique(runs.objects, return_index=True)[1]
            chances[index] = probabilities(scored, array.reshape(-1)[runs.starts[first]])
    if not samples:
        raise InputError("no masks to fuse: give at least one label image")
    if units is None:
        units = np.ones(len(samples), np.int64)
    elif len(samples) < len(units):
        raise InputError(f"weights has shape {units.shape}; give one number for each of the {len(samples)} masks")
    return _stacked(samples, units, shape, volume, foreground, boundary, chances)


def encode(labels: NDArray[Any]) -> Runs:
    """Return the runs of one label image; objects are numbered in the order a raster scan meets them."""
    return Runs(*_encode(*_as_codes(labels.reshape(as_volume(labels.shape)))))


def nothing() -> Runs:
    """Return the runs of no objects."""
    return Runs(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64))


def draw(runs: Runs, volume: tuple[int, int, int]) -> NDArray[np.int32]:
    """Return the label image (object + 1) of disjoint runs, shape (Z, Y, X)."""
    image = np.zeros(volume, np.int32)
    _draw(runs.starts, runs.lengths, runs.objects, image.reshape(-1))
    return image


def as_volume(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return a shape (Y, X) or (Z, Y, X) as (Z, Y, X)."""
    z, y, x = (1,) * (3 - len(shape)) + tuple(shape)
    return z, y, x


def _as_codes(volume: NDArray[Any]) -> tuple[NDArray[np.int32], int]:
    """Return a volume as contiguous int32 with values small enough for a lookup table, and the highest."""
    highest = int(volume.max())
    if highest > 8 * volume.size + 1000:
        values, inverse = np.unique(volume, return_inverse=True)
        volume = inverse.reshape(volume.shape) + int(values[0] != 0)
        highest = len(values)
    return np.ascontiguousarray(volume, dtype=np.int32), highest


def _stacked(
    samples: list[Runs],
    units: NDArray[np.int64],
    shape: tuple[int, ...],
    volume: tuple[int, int, int],
    foreground: NDArray[np.int32],
    boundary: NDArray[np.int32],
    chances: dict[int, NDArray[np.float64]],
) -> LabelStack:
    kept = np.flatnonzero(units).tolist()
    # flat indices of all samples change by one constant when everything is shifted
    origin = min((int(samples[k].starts[0]) for k in kept if len(samples[k].starts)), default=0)
    digests = {}
    for k in kept:
        s = samples[k]
        digest = hashlib.blake2b((s.starts - origin).tobytes(), digest_size=16)
        digest.update(s.lengths.tobytes())
        digest.update(s.objects.tobytes())
        digests[k] = digest.digest()
    order = sorted(kept, key=lambda k: (digests[k], units[k]))
    ordered = [samples[k] for k in order]
    run_offsets = np.cumsum([0, *(len(s.starts) for s in ordered)], dtype=np.int64)
    object_offsets = np.cumsum([0, *(s.n_objects for s in ordered)], dtype=np.int64)
    objects = np.concatenate([s.objects + np.int32(o) for s, o in zip(ordered, object_offsets[:-1], strict=True)])
    total = np.float32(units.sum())
    return LabelStack(
        shape,
        volume,
        np.concatenate([s.starts for s in ordered]),
        np.concatenate([s.lengths for s in ordered]),
        objects.astype(np.int32, copy=False),
        run_offsets,
        object_offsets,
        np.concatenate([s.areas for s in ordered]),
        np.array(order, np.int64),
        units[order],
        np.array([s.n_objects for s in samples], np.int64),
        (foreground / total).astype(np.float32).reshape(shape),
        (boundary / total).astype(np.float32).reshape(shape),
        len(set(digests.values())) == 1,
        np.concatenate([chances.get(k, np.full(samples[k].n_objects, np.nan)) for k in order]) if chances else None,
    )


@njit(cache=True, nogil=True)
def _encode(labels: Any, highest: int) -> tuple[Any, Any, Any, Any]:  # pragma: no cover - compiled
    nz, ny, nx = labels.shape
    index = np.full(highest + 1, -1, np.int32)
    areas = np.zeros(highest + 1, np.int64)
    room = 1024 + nx
    starts, lengths, objects = np.empty(room, np.int64), np.empty(room, np.int32), np.empty(room, np.int32)
    n = 0
    n_objects = 0
    for z in range(nz):
        for y in range(ny):
            flat = (z * ny + y) * nx
            row = labels[z, y]
            if n + nx > room:
                starts = np.concatenate((starts, np.empty(room, np.int64)))
                lengths = np.concatenate((lengths, np.empty(room, np.int32)))
                objects = np.concatenate((objects, np.empty(room, np.int32)))
                room *= 2
            begin = n
            first, before = 0, row[0]
            for x in range(1, nx):
                label = row[x]
                if label != before:
                    if before != 0:
                        starts[n], lengths[n], objects[n] = flat + first, x - first, before
                        n += 1
                    first, before = x, label
            if before != 0:
                starts[n], lengths[n], objects[n] = flat + first, nx - first, before
                n += 1
            for r in range(begin, n):
                label = objects[r]
                if index[label] < 0:
                    index[label] = n_objects
                    n_objects += 1
                objects[r] = index[label]
                areas[index[label]] += lengths[r]
    return starts[:n].copy(), lengths[:n].copy(), objects[:n].copy(), areas[:n_objects].copy()


@njit(cache=True, nogil=True)
def _count(labels: Any, foreground: Any, boundary: Any, unit: Any) -> None:  # pragma: no cover - compiled
    """Add `unit` where a pixel is foreground, and where it has a face neighbour outside its object.

    Whole rows without branches: the compiler turns them into vector instructions.
    """
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            row = labels[z, y]
            # at the edge of the image a row is its own neighbour: no boundary there
            up, down = labels[z, max(y - 1, 0)], labels[z, min(y + 1, ny - 1)]
            inside, rim = foreground[z, y], boundary[z, y]
            for x in range(nx):
                inside[x] += unit if row[x] != 0 else np.int32(0)
            if nz == 1:
                for x in range(1, nx - 1):
                    own = row[x]
                    apart = (up[x] != own) | (down[x] != own) | (row[x - 1] != own) | (row[x + 1] != own)
                    rim[x] += unit if (own != 0) & apart else np.int32(0)
            else:
                over, under = labels[max(z - 1, 0), y], labels[min(z + 1, nz - 1), y]
                for x in range(1, nx - 1):
                    own = row[x]
                    apart = (up[x] != own) | (down[x] != own) | (row[x - 1] != own) | (row[x + 1] != own)
                    apart |= (over[x] != own) | (under[x] != own)
                    rim[x] += unit if (own != 0) & apart else np.int32(0)
            for x in range(0, nx, max(nx - 1, 1)):
                own = row[x]
                apart = up[x] != own or down[x] != own or row[max(x - 1, 0)] != own or row[min(x + 1, nx - 1)] != own
                apart = apart or labels[max(z - 1, 0), y, x] != own or labels[min(z + 1, nz - 1), y, x] != own
                rim[x] += unit if own != 0 and apart else np.int32(0)


@njit(cache=True, nogil=True)
def _by_object(objects: Any, offsets: Any) -> NDArray[np.int64]:  # pragma: no cover - compiled
    """Sort runs by their objects, otherwise as they are, by counting."""
    place = offsets.copy()
    order = np.empty(objects.size, np.int64)
    for r in range(objects.size):
        order[place[objects[r]]] = r
        place[objects[r]] += 1
    return order


@njit(cache=True, nogil=True)
def _draw(starts: Any, lengths: Any, objects: Any, flat: Any) -> None:  # pragma: no cover - compiled
    for r in range(starts.size):
        for p in range(starts[r], starts[r] + lengths[r]):
            flat[p] = objects[r] + 1


@njit(cache=True, nogil=True)
def run_boxes(
    starts: Any, lengths: Any, objects: Any, n_objects: int, ny: int, nx: int
) -> NDArray[np.int64]:  # pragma: no cover - compiled
    """Bounding box (z, y, x minima, then exclusive maxima) of each object from its runs, shape (N, 6)."""
    boxes = np.empty((n_objects, 6), np.int64)
    boxes[:, :3] = np.iinfo(np.int64).max
    boxes[:, 3:] = 0
    for r in range(starts.size):
        row, x = divmod(starts[r], nx)
        z, y = divmod(row, ny)
        box = boxes[objects[r]]
        box[0], box[1], box[2] = min(box[0], z), min(box[1], y), min(box[2], x)
        box[3], box[4], box[5] = max(box[3], z + 1), max(box[4], y + 1), max(box[5], x + lengths[r])
    return boxes
