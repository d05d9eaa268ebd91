"""Synthetic fields of view with known truth: kinds of images on which no rule of divseg was tuned.

A field is a clean image in grey levels above a dark background of 8, drawn with the labels of its objects; noise is
added by :mod:`benchmarks.sets` as to any other set. The kinds differ in what a segmenter may stumble over:

- ``field_large``: large clear nuclei, among dim debris that is not an object;
- ``field_small``: many nuclei of a few pixels;
- ``field_faint``: most nuclei hardly brighter than the background;
- ``field_crowded``: nuclei that touch one another nearly everywhere;
- ``field_elongated``: curved rods;
- ``field_textured``: nuclei of very different brightness, a bright spot or two in each;
- ``field_spread``: cells with a bright body and thin faint extensions, on an uneven background;
- ``field_uneven``: nuclei under uneven light;
- ``field_empty``: nothing.

    python -m benchmarks.fields --out FOLDER

draws one of each kind as a picture beside its truth.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

Image = NDArray[np.float64]
Labels = NDArray[np.int32]
Random = np.random.Generator

BACKGROUND = 8.0
SIDE = 256
COUNT = 12
"""Fields of a kind."""


class Canvas:
    """A clean image and its labels, on which objects are drawn one after another; the first keeps its place."""

    def __init__(self, rng: Random, side: int = SIDE) -> None:
        self.rng, self.side = rng, side
        self.image: Image = np.full((side, side), BACKGROUND)
        self.labels: Labels = np.zeros((side, side), np.int32)
        self.grid = np.mgrid[:side, :side].astype(float)

    def outline(self, place: NDArray, radius: float, stretch: float = 1.0, rough: float = 0.06) -> NDArray[np.bool_]:
        """Return the inside of a smooth star-convex outline."""
        angle = self.rng.uniform(0, 2 * np.pi)
        y, x = self.grid[0] - place[0], self.grid[1] - place[1]
        u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        u, v = u / np.sqrt(stretch), v * np.sqrt(stretch)
        theta = np.arctan2(v, u)
        edge = np.ones_like(theta)
        for k in (2, 3, 4, 5):
            edge += self.rng.normal(0, rough / k) * np.cos(k * theta + self.rng.uniform(0, 2 * np.pi))
        return np.hypot(u, v) <= radius * edge

    def free(self, inside: NDArray[np.bool_], overlap: float, gap: int = 0) -> bool:
        """Whether an object may lie there: no more than a share of it lies on others, none nearer than the gap."""
        near = ndi.binary_dilation(inside, iterations=gap) if gap else inside
        return bool(inside.any() and (self.labels[near] > 0).sum() <= overlap * inside.sum())

    def add(self, inside: NDArray[np.bool_], grey: float | Image, blur: float = 1.0) -> None:
        """Draw an object where none lies yet, as a new label; `grey` is added to the background."""
        mine = inside & (self.labels == 0)
        self.labels[mine] = self.labels.max() + 1
        self.image += ndi.gaussian_filter(mine.astype(float) * grey, blur)

    def light(self, share: float, grey: float) -> None:
        """Add uneven light: a slope and a wide hill."""
        y, x = self.grid / self.side - 0.5
        turn = self.rng.uniform(0, 2 * np.pi)
        place = self.rng.uniform(-0.4, 0.4, 2)
        slope = 0.5 + x * np.cos(turn) + y * np.sin(turn)
        hill = np.exp(-((y - place[0]) ** 2 + (x - place[1]) ** 2) / 0.12)
        self.image += grey * (share * hill + (1 - share) * slope)

    def scatter(
        self, count: int, draw: Callable[[NDArray], tuple[NDArray[np.bool_], float | Image]], overlap: float, gap: int
    ) -> None:
        """Draw up to `count` objects at random places."""
        placed = 0
        for _ in range(20 * count):
            inside, grey = draw(self.rng.uniform(0, self.side, 2))
            if self.free(inside, overlap, gap):
                self.add(inside, grey)
                placed += 1
            if placed == count:
                break


def large(c: Canvas) -> None:
    c.scatter(6, lambda p: (c.outline(p, c.rng.uniform(24, 34), 1.2), c.rng.uniform(70, 160)), 0.0, 3)
    for _ in range(25):
        spot = c.outline(c.rng.uniform(0, c.side, 2), c.rng.uniform(2, 4.5))
        c.image += ndi.gaussian_filter(spot * c.rng.uniform(15, 40), 1.0)


def small(c: Canvas) -> None:
    c.scatter(110, lambda p: (c.outline(p, c.rng.uniform(3, 4.6), 1.3), c.rng.uniform(60, 140)), 0.0, 1)


def faint(c: Canvas) -> None:
    def draw(place: NDArray) -> tuple[NDArray[np.bool_], float]:
        return c.outline(place, c.rng.uniform(9, 13), 1.3), float(np.exp(c.rng.uniform(np.log(14), np.log(90))))

    c.scatter(24, draw, 0.0, 2)


def crowded(c: Canvas) -> None:
    c.scatter(110, lambda p: (c.outline(p, c.rng.uniform(8.5, 11.5), 1.25), c.rng.uniform(60, 130)), 0.08, 0)


def elongated(c: Canvas) -> None:
    def draw(place: NDArray) -> tuple[NDArray[np.bool_], float]:
        turn, bend = c.rng.uniform(0, 2 * np.pi), c.rng.normal(0, 0.012)
        way = np.linspace(-0.5, 0.5, 60) * c.rng.uniform(28, 52)
        headings = turn + bend * way
        step = np.diff(way, prepend=way[0])
        path = place[:, None] + np.stack([np.cumsum(np.sin(headings) * step), np.cumsum(np.cos(headings) * step)])
        far = ((c.grid[:, None] - path[:, :, None, None]) ** 2).sum(0).min(0)
        return far <= c.rng.uniform(3.5, 5.0) ** 2, c.rng.uniform(60, 140)

    c.scatter(26, draw, 0.02, 0)


def textured(c: Canvas) -> None:
    def draw(place: NDArray) -> tuple[NDArray[np.bool_], Image]:
        inside = c.outline(place, c.rng.uniform(13, 21), 1.3)
        body = float(np.exp(c.rng.uniform(np.log(18), np.log(130))))
        grey = body * (1 + 0.6 * ndi.gaussian_filter(c.rng.normal(size=inside.shape), 3.0) * 3.0)
        ys, xs = np.nonzero(ndi.binary_erosion(inside, iterations=4))
        for _ in range(int(c.rng.integers(1, 3)) if len(ys) else 0):
            k = int(c.rng.integers(len(ys)))
            far = (c.grid[0] - ys[k]) ** 2 + (c.grid[1] - xs[k]) ** 2
            grey = grey + body * c.rng.uniform(1.0, 2.5) * np.exp(-far / (2 * c.rng.uniform(1.5, 2.5) ** 2))
        return inside, np.maximum(grey, 0.2 * body)

    c.scatter(18, draw, 0.02, 0)


def spread(c: Canvas) -> None:
    def draw(place: NDArray) -> tuple[NDArray[np.bool_], Image]:
        body = c.outline(place, c.rng.uniform(8, 11), 1.2)
        arms = np.zeros_like(body)
        for turn in c.rng.uniform(0, 2 * np.pi, int(c.rng.integers(3, 6))):
            length, wave, phase = c.rng.uniform(18, 40), c.rng.uniform(1, 4), c.rng.uniform(0, 6)
            far = np.linspace(0, length, 60)
            side = wave * np.sin(far / 9 + phase) - wave * np.sin(phase)
            path = place[:, None] + np.stack(
                [far * np.sin(turn) + side * np.cos(turn), far * np.cos(turn) - side * np.sin(turn)]
            )
            near = ((c.grid[:, None] - path[:, :, None, None]) ** 2).sum(0).min(0)
            arms |= near <= c.rng.uniform(1.4, 2.2) ** 2
        grey = c.rng.uniform(80, 150)
        return body | arms, np.where(body, grey, grey * c.rng.uniform(0.2, 0.35))

    c.light(0.5, 30.0)
    c.scatter(9, draw, 0.0, 1)


def uneven(c: Canvas) -> None:
    c.light(0.4, 90.0)
    c.scatter(30, lambda p: (c.outline(p, c.rng.uniform(8.5, 12.5), 1.3), c.rng.uniform(45, 80)), 0.01, 1)


def empty(c: Canvas) -> None:
    del c


KINDS: dict[str, tuple[Callable[[Canvas], None], str]] = {
    "field_large": (large, "pg_low"),
    "field_small": (small, "n20"),
    "field_faint": (faint, "n20"),
    "field_crowded": (crowded, "pg_mid"),
    "field_elongated": (elongated, "pg_low"),
    "field_textured": (textured, "pg_low"),
    "field_spread": (spread, "pg_mid"),
    "field_uneven": (uneven, "n20"),
    "field_empty": (empty, "pg_low"),
}
"""What draws each kind, and the level of noise that it is tried at."""


def draw_field(kind: str, number: int) -> tuple[Image, Labels]:
    """Draw a field of a kind.

    Parameters
    ----------
    kind : str
        One of :data:`KINDS`.
    number : int
        The same number is the same field.

    Returns
    -------
    image : float array, shape (Y, X)
        Clean, in grey levels.
    labels : int32 array, shape (Y, X)
        0 is background.
    """
    canvas = Canvas(np.random.default_rng([zlib.crc32(kind.encode()), number]))
    KINDS[kind][0](canvas)
    numbers = np.unique(canvas.labels)
    small_ones = [n for n in numbers[1:] if (canvas.labels == n).sum() < 12]  # rests at the border of the field
    labels = np.where(np.isin(canvas.labels, small_ones), 0, canvas.labels)
    return np.clip(canvas.image, 0, 255), np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(
        np.int32
    )


def main() -> None:
    import matplotlib.pyplot as plt
    from skimage.segmentation import find_boundaries

    from benchmarks.sets import add_noise

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(3, len(KINDS), figsize=(2.2 * len(KINDS), 6.6), layout="constrained")
    for column, (kind, (_, level)) in zip(axes.T, KINDS.items(), strict=True):
        clean, labels = draw_field(kind, 0)
        noisy = add_noise(clean, level, np.random.default_rng(0))
        column[0].imshow(noisy, cmap="gray", vmax=np.percentile(noisy, 99.8))
        column[1].imshow(clean, cmap="gray")
        column[2].imshow(np.where(find_boundaries(labels, mode="inner"), 255, clean), cmap="gray")
        column[0].set_title(f"{kind} {level}\n{labels.max()} objects", fontsize=7)
        for axis in column:
            axis.axis("off")
    figure.savefig(a.out / "fields.png", dpi=110)


if __name__ == "__main__":
    main()
