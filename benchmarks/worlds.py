"""A synthetic world with known truth: cells, and samples of them with independent or shared errors.

Every cell is a noisy ellipse. A sample misses cells, splits cells, merges touching neighbours, moves the
boundary of every cell by a smooth random displacement, and adds false objects on background. Each cell has its
own miss, split and merge probabilities (Beta distributed about the level's mean), as a posterior has sure
and unsure places.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi


@dataclass(frozen=True)
class Level:
    """How wrong the samples are.

    Attributes
    ----------
    miss, split, merge : float
        Mean probabilities of a cell in a sample; merge counts for a cell with a touching neighbour.
    jitter : float
        Standard deviation in pixels of the displacement of boundaries.
    ghosts : float
        Expected false objects of a sample, as a share of the number of cells.
    spread : float
        Concentration of the Beta distribution of the probabilities over cells; small is diverse.
    """

    miss: float
    split: float
    merge: float
    jitter: float
    ghosts: float
    spread: float = 4.0


LEVELS = {
    "easy": Level(miss=0.04, split=0.055, merge=0.09, jitter=2.0, ghosts=0.05),
    "hard": Level(miss=0.13, split=0.10, merge=0.13, jitter=1.95, ghosts=0.12),
}


@dataclass(frozen=True)
class World:
    """Truth and what happens to it.

    Attributes
    ----------
    truth : int32 array, shape (Y, X)
        Label image.
    level : Level
        How wrong the samples are.
    correlation : float
        Share of the variance of errors that all cells of one sample have in common: with 0 every cell fails
        on its own, with 1 a sample is bad everywhere or nowhere.
    seed : int
        Of the world; sample k depends on (seed, k) only.
    """

    truth: NDArray[np.int32]
    level: Level
    correlation: float = 0.0
    seed: int = 0

    def samples(self, count: int) -> Iterator[NDArray[np.int32]]:
        """Yield label images, int32 of shape (Y, X)."""
        rates = _cell_rates(self)
        touching = _touching_pairs(self.truth)
        boxes = ndi.find_objects(self.truth)
        for k in range(count):
            yield _sample(self, rates, touching, boxes, np.random.default_rng([self.seed, 1, k]))


def make_world(
    level: str | Level = "hard",
    *,
    cells: int = 110,
    side: int = 384,
    radius: float | None = None,
    correlation: float = 0.0,
    seed: int = 0,
) -> World:
    """Draw a world of about `cells` cells in a square of `side` pixels.

    Parameters
    ----------
    level : str or Level
        ``easy`` or ``hard``, or rates of your own.
    cells, side : int
        Number of cells aimed at, and the side of the square in pixels.
    radius : float, optional
        Mean radius in pixels; by default cells fill about 40 % of the square.
    correlation : float
        See :class:`World`.
    seed : int
        Seed of truth and samples.
    """
    rng = np.random.default_rng([seed, 0])
    if radius is None:
        radius = float(np.sqrt(0.4 * side * side / (cells * np.pi)))
    truth = np.zeros((side, side), np.int32)
    label = 0
    for _ in range(60 * cells):
        if label == cells:
            break
        a, b = radius * rng.uniform(0.75, 1.25, 2)
        place, angle = rng.uniform(0, side, 2), rng.uniform(0, np.pi)
        rows, cols, inside = _ellipse(place, a, b, angle, side)
        patch = truth[rows, cols]
        taken = (patch > 0) & inside
        # cells may touch and push into one another a little
        if inside.sum() < 1.2 * radius**2 or taken.sum() > 0.12 * inside.sum():
            continue
        label += 1
        patch[inside & (patch == 0)] = label
    return World(truth, LEVELS[level] if isinstance(level, str) else level, correlation, seed)


def _ellipse(
    place: NDArray[np.float64], a: float, b: float, angle: float, side: int
) -> tuple[slice, slice, NDArray[np.bool_]]:
    reach = int(np.ceil(max(a, b))) + 1
    y0, x0 = (max(0, int(p) - reach) for p in place)
    y1, x1 = (min(side, int(p) + reach + 1) for p in place)
    dy, dx = np.mgrid[y0:y1, x0:x1]
    dy, dx = dy - place[0], dx - place[1]
    u, v = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    return slice(y0, y1), slice(x0, x1), (u / a) ** 2 + (v / b) ** 2 <= 1


def _touching_pairs(truth: NDArray[np.int32]) -> NDArray[np.int64]:
    """Pairs of labels that share a border, or have a gap of one pixel."""
    wide = ndi.maximum_filter(truth, 3)
    pairs = [
        np.stack([p.ravel(), q.ravel()], axis=1) for p, q in ((wide[1:], truth[:-1]), (wide[:, 1:], truth[:, :-1]))
    ]
    both = np.concatenate(pairs)
    both = both[(both > 0).all(axis=1) & (both[:, 0] != both[:, 1])]
    return np.unique(np.sort(both, axis=1), axis=0) if len(both) else np.empty((0, 2), np.int64)


def _cell_rates(world: World) -> dict[str, NDArray[np.float64]]:
    rng = np.random.default_rng([world.seed, 2])
    n = int(world.truth.max())
    level = world.level
    return {
        name: rng.beta(level.spread * mean, level.spread * (1 - mean), n + 1)
        for name, mean in (("miss", level.miss), ("split", level.split), ("merge", level.merge))
    }


def _happens(rates: NDArray[np.float64], correlation: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw events with given rates whose causes are shared within the sample to the given degree."""
    from scipy.stats import norm

    cause = np.sqrt(correlation) * rng.normal() + np.sqrt(1 - correlation) * rng.normal(size=len(rates))
    return np.asarray(norm.cdf(cause) < rates)


def _sample(
    world: World,
    rates: dict[str, NDArray[np.float64]],
    touching: NDArray[np.int64],
    boxes: list[tuple[slice, slice]],
    rng: np.random.Generator,
) -> NDArray[np.int32]:
    truth, level, rho = world.truth, world.level, world.correlation
    n = len(boxes)
    name = np.arange(n + 1)
    merged = _happens(rates["merge"], rho, rng)
    for a, b in rng.permutation(touching).tolist():
        # a cell merges with at most one neighbour
        if merged[a] and name[a] == a and name[b] == b:
            name[b] = a
            merged[a] = merged[b] = False
    missed = _happens(rates["miss"], rho, rng)
    name = np.where(missed[name], 0, name)
    name[0] = 0
    image = name[truth]
    fresh = n + 1
    split = _happens(rates["split"], rho, rng)
    for cell in np.flatnonzero(split[1:]) + 1:
        if name[cell] != cell or np.count_nonzero(name == cell) > 1:
            continue
        box = boxes[cell - 1]
        patch, mask = image[box], truth[box] == cell
        ys, xs = np.nonzero(mask)
        angle = rng.uniform(0, np.pi)
        side = (ys - ys.mean()) * np.sin(angle) + (xs - xs.mean()) * np.cos(angle) > rng.normal(0, 1.0)
        patch[ys[side], xs[side]] = fresh
        fresh += 1
    image = _displaced(image, level.jitter, rng)
    radius = np.sqrt(np.count_nonzero(truth) / (np.pi * max(n, 1)))
    for _ in range(rng.poisson(level.ghosts * n)):
        a, b = radius * rng.uniform(0.5, 1.1, 2)
        rows, cols, inside = _ellipse(rng.uniform(0, len(truth), 2), a, b, rng.uniform(0, np.pi), len(truth))
        patch = image[rows, cols]
        if np.count_nonzero(patch[inside]) < 0.3 * inside.sum():
            patch[inside & (patch == 0)] = fresh
            fresh += 1
    return image.astype(np.int32)


def _displaced(image: NDArray[np.integer], jitter: float, rng: np.random.Generator) -> NDArray[np.integer]:
    """Move every pixel by a smooth random field, and each object a little as a whole."""
    if jitter <= 0:
        return image
    coarse = [-(-s // 6) + 3 for s in image.shape]
    field = []
    for axis in range(2):
        knots = rng.normal(0.0, jitter * 1.35, coarse)
        shift = ndi.zoom(knots, 6, order=1)[: image.shape[0], : image.shape[1]]
        grid = np.arange(image.shape[axis]).reshape((-1, 1) if axis == 0 else (1, -1))
        field.append(np.clip(np.rint(grid + shift), 0, image.shape[axis] - 1).astype(np.int64))
    return image[field[0], field[1]]
