"""The stack of label images, held as runs of equal labels along the last axis."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from divseg.consensus.run_lengths import RunLengths, as_volume, draw_runs, from_runs, run_boxes, to_runs
from divseg.consensus.stack_file import read_stack, write_stack
from divseg.consensus.weights import weight_units
from divseg.errors import InputError
from divseg.io import read_labels
from divseg.labels import LabelImage, check_labels

Mask: TypeAlias = "ArrayLike | LabelImage | str | os.PathLike[str]"
"""A label image: an array, perhaps with a probability for each object, or a file."""


@dataclass(frozen=True, eq=False)
class LabelStack:
    """K label images of one field of view, each with a weight, in a compact form.

    Memory goes with the length of all object outlines, not with the number of pixels. Make one with
    :meth:`of`, and give it to :func:`divseg.fuse` and :func:`divseg.assess` in place of the label images.

    Label images of positive weight are the *samples*. What methods compute goes through them in a canonical
    order, that of a hash of their content that does not depend on label values or the position in the image: nothing
    depends on the order of the input, on label values, or on a shift of all samples.

    Parameters
    ----------
    shape : tuple of int
        Shape of one label image, (Y, X) or (Z, Y, X).
    images : tuple of K RunLengths
        Runs of each label image, in the order of the input.
    input_units : int64 array, shape (K,)
        Weight of each label image in whole units, all 1 if they weigh the same.

    Examples
    --------
    >>> import numpy as np
    >>> images = [np.array([[1, 1, 0, 2]]), np.array([[1, 1, 0, 0]]), np.array([[5, 5, 0, 3]])]
    >>> stack = LabelStack.of(images)
    >>> len(stack), stack.input_counts.tolist()
    (3, [2, 1, 2])
    >>> stack.labels(2).tolist()
    [[1, 1, 0, 2]]
    >>> stack.select([0, 1], weights=[3, 1]).foreground.tolist()
    [[1.0, 1.0, 0.0, 0.75]]
    """

    shape: tuple[int, ...]
    images: tuple[RunLengths, ...] = field(repr=False)
    input_units: NDArray[np.int64]

    @classmethod
    def of(cls, masks: Iterable[Mask] | NDArray[Any], weights: ArrayLike | None = None) -> Self:
        """Read label images one by one and keep their runs.

        Parameters
        ----------
        masks : iterable of integer arrays or of paths, or one integer array
            K label images of one shape (Y, X) or (Z, Y, X), or their files; an array has K along its first axis.
            A :class:`divseg.labels.LabelImage` may have a probability for each object.
        weights : array-like of K numbers, optional
            Weight of each, all the same by default; one of weight 0 counts nowhere.

        Raises
        ------
        InputError
            No masks, wrong dimensions, different shapes, not integers, negative labels, probabilities that do not
            fit the labels, or weights that are not one number of at least 0 for each.
        """
        if isinstance(masks, str | os.PathLike):
            raise InputError(
                f"masks is the path {os.fspath(masks)}; give a list of files, or for a folder use `divseg fuse`"
            )
        if isinstance(masks, np.ndarray) and masks.ndim not in (3, 4):
            raise InputError(
                f"masks is one array of shape {masks.shape}; "
                "give K label images as (K, Y, X) or (K, Z, Y, X), or as a list"
            )
        units = None if weights is None else weight_units(weights)
        shape: tuple[int, ...] = ()
        images: list[RunLengths] = []
        for index, mask in enumerate(masks):
            labels = read_labels(mask) if isinstance(mask, str | os.PathLike) else mask
            array = check_labels(labels, f"mask {index}")
            if images and array.shape != shape:
                raise InputError(
                    f"mask {index} has shape {array.shape} but mask 0 has shape {shape}; all must show the same pixels"
                )
            if units is not None and index == len(units):
                raise InputError(f"weights has shape {units.shape} but there are more masks; give one number for each")
            shape = array.shape
            prob = labels.prob if isinstance(labels, LabelImage) else None
            runs = to_runs(array)
            images.append(runs if prob is None else replace(runs, prob=_prob_of(runs, array, prob, f"mask {index}")))
        return cls(shape, tuple(images), _input_units(units, len(images)))

    def select(self, indices: Sequence[int] | NDArray[np.integer], weights: ArrayLike | None = None) -> Self:
        """Return the stack of some of the label images: what :meth:`of` would make of them.

        Parameters
        ----------
        indices : sequence of int
            Numbers of label images in the order of the input, from 0; each as often as it is to be there.
        weights : array-like of float, optional
            Weight of each of them, all the same by default, whatever their weights in this stack.

        Raises
        ------
        InputError
            No indices, one that is not there, or weights that are not one number of at least 0 for each.
        """
        numbers = np.asarray(indices)
        if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
            raise InputError(f"indices={indices!r}: give a list of numbers of label images, from 0 to {len(self) - 1}")
        for index in numbers.tolist():
            if not 0 <= index < len(self):
                raise InputError(
                    f"there is no label image {index} in a stack of {len(self)}; give 0 to {len(self) - 1}"
                )
        units = None if weights is None else weight_units(weights)
        return replace(
            self,
            images=tuple(self.images[i] for i in numbers.tolist()),
            input_units=_input_units(units, len(numbers)),
        )

    def labels(self, index: int) -> LabelImage:
        """Return one label image, its objects numbered 1..n in the order in which a raster scan meets them.

        Parameters
        ----------
        index : int
            Number of the label image in the order of the input, from 0.
        """
        runs = self.images[index]
        return LabelImage(from_runs(runs, self.volume).reshape(self.shape), runs.prob)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the stack to an .npz file, wholly or not at all; equal stacks make equal bytes.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        write_stack(path, self.shape, self.images, self.input_units)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a stack that :meth:`save` wrote.

        Raises
        ------
        InputError
            There is no such file, it is damaged, or it is not a label stack of this version.
        """
        return cls(*read_stack(path))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def n_inputs(self) -> int:
        """Number of label images K, those of weight 0 included."""
        return len(self.images)

    @property
    def volume(self) -> tuple[int, int, int]:
        """Shape as (Z, Y, X)."""
        return as_volume(self.shape)

    @property
    def input_counts(self) -> NDArray[np.int64]:
        """Objects of each label image in the order of the input, shape (K,)."""
        return np.array([r.n_objects for r in self.images], np.int64)

    @property
    def input_weights(self) -> NDArray[np.float64]:
        """Weight of each label image in the order of the input, with sum 1, shape (K,)."""
        return self.input_units / self.total

    @cached_property
    def _ordering(self) -> tuple[list[int], bool]:
        """Samples in canonical order, and whether all of them hold the same objects."""
        samples = np.flatnonzero(self.input_units).tolist()
        # flat indices of all samples change by one constant if everything is shifted
        origin = min((int(self.images[k].starts[0]) for k in samples if len(self.images[k].starts)), default=0)
        digests = {}
        for k in samples:
            runs = self.images[k]
            digest = hashlib.blake2b((runs.starts - origin).tobytes(), digest_size=16)
            digest.update(runs.lengths.tobytes())
            digest.update(runs.objects.tobytes())
            digests[k] = digest.digest()
        return sorted(samples, key=lambda k: (digests[k], self.input_units[k])), len(set(digests.values())) == 1

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Number of each sample in the input, shape (S,)."""
        return np.array(self._ordering[0], np.int64)

    @property
    def identical(self) -> bool:
        """Whether all samples hold the same objects."""
        return self._ordering[1]

    @cached_property
    def _samples(self) -> list[RunLengths]:
        return [self.images[k] for k in self._ordering[0]]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Runs as in :class:`RunLengths`, sample after sample, shape (R,)."""
        return np.concatenate([s.starts for s in self._samples])

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Pixels of each run, shape (R,)."""
        return np.concatenate([s.lengths for s in self._samples])

    @cached_property
    def objects(self) -> NDArray[np.int32]:
        """Object of each run, numbered through all samples, shape (R,)."""
        pairs = zip(self._samples, self.object_offsets[:-1], strict=True)
        return np.concatenate([s.objects + np.int32(offset) for s, offset in pairs])

    @cached_property
    def areas(self) -> NDArray[np.int64]:
        """Pixels of each object, shape (N,)."""
        return np.concatenate([s.areas for s in self._samples])

    @cached_property
    def prob(self) -> NDArray[np.float64] | None:
        """Probability of each object, NaN if its label image has none, shape (N,); None if none has."""
        if all(r.prob is None for r in self.images):
            return None
        return np.concatenate([np.full(s.n_objects, np.nan) if s.prob is None else s.prob for s in self._samples])

    @cached_property
    def run_offsets(self) -> NDArray[np.int64]:
        """First run of each sample, shape (S + 1,)."""
        return np.cumsum([0, *(len(s.starts) for s in self._samples)], dtype=np.int64)

    @cached_property
    def object_offsets(self) -> NDArray[np.int64]:
        """First object of each sample, shape (S + 1,)."""
        return np.cumsum([0, *(s.n_objects for s in self._samples)], dtype=np.int64)

    @cached_property
    def units(self) -> NDArray[np.int64]:
        """Weight of each sample in whole units, shape (S,)."""
        return self.input_units[self.order]

    @property
    def foreground(self) -> NDArray[np.float32]:
        """Fraction of the samples in which a pixel is in an object, shape of a label image."""
        return self._maps[0]

    @property
    def boundary(self) -> NDArray[np.float32]:
        """Fraction of the samples in which a pixel is at the border of an object, shape of a label image."""
        return self._maps[1]

    @cached_property
    def _maps(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        image, foreground, boundary = (np.zeros(self.volume, np.int32) for _ in range(3))
        for runs, unit in zip(self._samples, self.units, strict=True):
            image.fill(0)
            draw_runs(runs.starts, runs.lengths, runs.objects, image.reshape(-1))
            _count(image, foreground, boundary, np.int32(unit))
        counts = np.stack([foreground, boundary]).reshape(2, *self.shape)
        inside, rim = (counts / np.float32(self.total)).astype(np.float32)
        return inside, rim

    @property
    def n_samples(self) -> int:
        """Number of samples S, the label images of positive weight."""
        return len(self.order)

    @property
    def n_objects(self) -> int:
        """Number of objects N in all samples."""
        return len(self.areas)

    @cached_property
    def total(self) -> int:
        """Weight units of all samples together."""
        return int(self.input_units.sum())

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """Weight of each sample, with sum 1, shape (S,)."""
        return self.units / self.total

    @cached_property
    def uniform(self) -> bool:
        """Whether all samples weigh the same."""
        return bool((self.units == 1).all())

    def support(self, happens: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Weight units of the samples in which something happens, whole numbers; shape (..., S) to (...)."""
        return np.asarray(happens.astype(float) @ self.units.astype(float))

    def fraction(self, happens: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Fraction of the weight of the samples in which something happens, shape (..., S) to (...)."""
        return np.asarray(self.support(happens) / self.total)

    def mean(self, values: NDArray[np.number]) -> NDArray[np.float64]:
        """Weighted mean of a value of each sample, shape (..., S) to (...)."""
        return np.asarray((values * self.units).sum(axis=-1) / self.total)

    @cached_property
    def object_units(self) -> NDArray[np.int64]:
        """Weight units of the sample of each object, shape (N,)."""
        return self.units[self.sample_of]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Objects of each sample, shape (S,)."""
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

    def sample(self, k: int) -> RunLengths:
        """Return the runs of sample `k` in canonical order, its objects counted from 0."""
        return self._samples[k]

    def decode(self, k: int) -> NDArray[np.int32]:
        """Return sample `k` in canonical order as a label image with labels 1..n, shape (Z, Y, X)."""
        return from_runs(self._samples[k], self.volume)


def _input_units(units: NDArray[np.int64] | None, count: int) -> NDArray[np.int64]:
    """Return the weight units of `count` label images, or say what is wrong (:class:`InputError`)."""
    if not count:
        raise InputError("no masks to fuse: give at least one label image")
    if units is None:
        return np.ones(count, np.int64)
    if len(units) != count:
        raise InputError(f"weights has shape {units.shape}; give one number for each of the {count} masks")
    return units


def _prob_of(runs: RunLengths, labels: NDArray[Any], prob: NDArray[np.float32], name: str) -> NDArray[np.float64]:
    """Probability of each object of the runs of a label image."""
    _, first = np.unique(runs.objects, return_index=True)
    values = labels.reshape(-1)[runs.starts[first]]
    if len(values) and int(values.max()) > len(prob):
        raise InputError(f"{name} has the label {values.max()} but {len(prob)} probabilities; give one for each label")
    return prob[values.astype(np.int64) - 1].astype(np.float64)


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
    position = offsets.copy()
    order = np.empty(objects.size, np.int64)
    for r in range(objects.size):
        order[position[objects[r]]] = r
        position[objects[r]] += 1
    return order
