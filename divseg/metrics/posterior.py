"""Intensity of objects over posterior samples: of each sample its own objects, in its own pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

INTERVAL = (0.05, 0.95)
"""Quantiles of the samples that bound the 90 % interval."""


class Moments(NamedTuple):
    """Intensity of the objects 1..n of one label image in one image; float32 arrays, shape (n,)."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]


def object_moments(labels: NDArray[np.integer], image: NDArray[np.floating]) -> Moments:
    """Return mean and standard deviation (with n) of an image in each object.

    Parameters
    ----------
    labels : integer array
        0 = background, objects 1..n.
    image : float array, same shape
        Intensities.
    """
    n = int(labels.max(initial=0))
    inside = np.flatnonzero(labels)
    owner, values = labels.ravel()[inside] - 1, image.ravel()[inside].astype(np.float64)
    count = np.maximum(np.bincount(owner, minlength=n), 1)
    mean = np.bincount(owner, values, minlength=n) / count
    variance = np.bincount(owner, (values - mean[owner]) ** 2, minlength=n) / count
    return Moments(mean.astype(np.float32), np.sqrt(variance).astype(np.float32))


def posterior_columns(
    labels: NDArray[np.integer],
    n: int,
    samples: Iterable[tuple[NDArray[np.integer], Sequence[Moments]]],
    backgrounds: Sequence[NDArray[np.float64]],
    channels: Sequence[str] = ("",),
) -> dict[str, NDArray[np.float64]]:
    """Return posterior mean and 90 % interval of the intensity of each object.

    A sample that holds the object (one of its own, the member, has an IoU above 0.5 with it) adds the intensity of the
    member, in the pixels of the member: the interval tells how unsure intensity and outline are, given that the object
    exists.

    Parameters
    ----------
    labels : integer array, shape (Y, X)
        Objects 1..n, 0 = background.
    n : int
        Largest label.
    samples : iterable of (integer array, sequence of Moments)
        Label image of each sample, and the intensity of its objects in each channel of that sample; seen one by one.
    backgrounds : sequence of float64 array, shape (n,)
        For each channel the intensity around each object, which is taken as known.
    channels : sequence of str
        Names of the channels, ``""`` for one whose columns need none.

    Returns
    -------
    dict of str to float64 array, shape (n,)
        ``posterior_mean posterior_std posterior_sum posterior_corrected posterior_corrected_sum``: mean over the
        samples that hold the object, and with the endings ``_q05`` and ``_q95`` quantiles. NaN if none holds it. Of
        a channel with a name ``posterior_NAME_mean`` and so on.
    """
    inside = np.flatnonzero(labels)
    pixels = inside[np.argsort(labels.ravel()[inside], kind="stable")]
    owner = labels.ravel()[pixels].astype(np.int64) - 1
    area = np.bincount(owner, minlength=n)
    drawn = list(_members(pixels, owner, area, samples))
    columns: dict[str, NDArray[np.float64]] = {}
    names = ("mean", "std", "sum", "corrected", "corrected_sum")
    for k, (channel, background) in enumerate(zip(channels, backgrounds, strict=True)):
        start = f"posterior_{channel}_" if channel else "posterior_"
        if not drawn or not n:
            columns |= {f"{start}{name}{end}": np.full(n, np.nan) for name in names for end in ("", "_q05", "_q95")}
            continue
        mean, std = (np.stack([one[1 + 2 * k + i] for one in drawn]) for i in range(2))
        size = np.stack([one[0] for one in drawn])
        figures = (mean, std, mean * size, mean - background, (mean - background) * size)
        for name, values in zip(names, figures, strict=True):
            columns |= _summary(start + name, values)
    return columns


def _members(
    pixels: NDArray[np.int64],
    owner: NDArray[np.int64],
    area: NDArray[np.int64],
    samples: Iterable[tuple[NDArray[np.integer], Sequence[Moments]]],
) -> Iterator[Sequence[NDArray[np.float64]]]:
    """Yield area, and mean and standard deviation in each channel, of the members in each sample; NaN without one."""
    for drawn, channels in samples:
        sizes = np.bincount(drawn.ravel())
        member: NDArray[np.int64] = _majority(owner, drawn.ravel()[pixels].astype(np.int64), area, sizes)
        held = member > 0
        known: list[NDArray[Any]] = [sizes[1:], *(values for moments in channels for values in moments)]
        found = [np.full(len(area), np.nan) for _ in known]
        for values, of in zip(found, known, strict=True):
            values[held] = of[member[held] - 1]
        yield found


@njit(cache=True, nogil=True)
def _majority(owner, values, area, sizes):  # type: ignore[no-untyped-def]
    """Return the label that each object has an IoU above 0.5 with, 0 if none.

    It has more than half of the pixels of the object, so the vote of Boyer and Moore (1981) finds it.
    """
    n = len(area)
    candidate, lead = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for i in range(len(owner)):
        k = owner[i]
        if lead[k] == 0:
            candidate[k] = values[i]
            lead[k] = 1
        elif candidate[k] == values[i]:
            lead[k] += 1
        else:
            lead[k] -= 1
    shared = np.zeros(n, np.int64)
    for i in range(len(owner)):
        shared[owner[i]] += candidate[owner[i]] == values[i]
    for k in range(n):
        other = candidate[k]
        if other == 0 or 3 * shared[k] <= area[k] + sizes[other]:  # 2 shared <= union
            candidate[k] = 0
    return candidate


def _summary(name: str, values: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return mean and quantiles over the first axis, what is not a number left out."""
    held = ~np.isnan(values)
    count = held.sum(axis=0)
    some = count > 0
    mean = np.divide(np.where(held, values, 0).sum(axis=0), count, out=np.full(len(count), np.nan), where=some)
    columns = {name: mean}
    ordered = np.sort(values, axis=0)  # NaN last
    rows = np.arange(len(count))
    for q in INTERVAL:
        at = q * np.maximum(count - 1, 0)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, np.maximum(count - 1, 0))
        part = at - low
        columns[f"{name}_q{round(100 * q):02d}"] = (1 - part) * ordered[low, rows] + part * ordered[high, rows]
    return columns
