"""Split `dsb2018_fluo`, `dsb2018_more` and `bbbc039` into training, validation and test part by similar images.

Many images of the Data Science Bowl are tiles cut from one field of view: a tile in the test part beside its neighbour
in the training part would make the scores too good. Two images of one size belong together

- if one continues the other across a border: the last row (or column) of one and the first of the other correlate
  above 0.93 in logarithmic grey values and differ by less than 0.15 on average, so that they are one field; or
- if they look alike: grey values of nuclei and background, density and size of nuclei (seven descriptors, standardised
  over the set) lie within a short distance, by complete linkage among the fields found before.

Images of `bbbc039` come from one plate, one image a well: their groups are the rows of the plate.

Images of `dsb2018_more` come from the experiments of `dsb2018_fluo` and are dealt out by those: an image (with all
that continue it) belongs to the group of the image there that it continues, otherwise of the one of its size that looks
most like it, and to that group's part; where two groups claim it, the one whose part is the more cautious. Sizes that
`dsb2018_fluo` does not have are groups of their own, and train.

Whole groups go to a part. Groups of one kind (size of image, camera floor) are dealt out by a drawn order, so that
each part holds every kind; a test image is therefore of a known experiment but of a field that was never seen.

    DIVSEG_DATA=... python -m benchmarks.nuclei_model.split

writes ``split.csv`` beside this file.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tifffile import imread

from benchmarks.record import data_root
from benchmarks.sets import SPLIT

CORRELATION, DIFFERENCE = 0.93, 0.15
ALIKE = 1.0
PARTS = (("test", 0.25), ("validation", 0.12), ("train", 0.63))
SEED = 2026


def continues(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    """Whether two border lines are neighbours in one field of view."""
    if first.std() == 0 or second.std() == 0:
        return False
    same_shape = np.corrcoef(first, second)[0, 1] > CORRELATION
    return bool(same_shape and np.abs(first - second).mean() < DIFFERENCE)


def fields(images: list[NDArray[np.float64]]) -> NDArray[np.int64]:
    """Return the number of each image's field of view; tiles of one field share it."""
    pairs = [
        (i, j)
        for i, a in enumerate(images)
        for j, b in enumerate(images)
        if i != j and a.shape == b.shape and (continues(a[:, -1], b[:, 0]) or continues(a[-1], b[0]))
    ]
    rows, columns = np.array(pairs).T
    n = len(images)
    return connected_components(coo_array((np.ones(len(pairs)), (rows, columns)), shape=(n, n)), directed=False)[1]


def descriptors(image: NDArray[np.float64], labels: NDArray[np.integer]) -> list[float]:
    """Describe an image by grey values (logarithmic) and nuclei."""
    areas = np.bincount(labels.ravel())[1:]
    areas = areas[areas > 0]
    inside, outside = image[labels > 0], image[labels == 0]
    return [
        np.median(outside),
        outside.std(),
        np.percentile(outside, 99),
        np.median(inside),
        inside.std(),
        np.log(len(areas) / labels.size),
        np.log(np.median(areas)),
    ]


def alike(features: NDArray[np.float64], field: NDArray[np.int64], kind: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of each image's group: fields of one kind whose mean descriptors are alike."""
    scaled = (features - features.mean(0)) / features.std(0)
    names = np.unique(field)
    means = np.array([scaled[field == name].mean(0) for name in names])
    kinds = np.array([kind[field == name][0] for name in names])
    group = np.zeros(len(names), int)
    for one in np.unique(kinds):
        mine = np.flatnonzero(kinds == one)
        clusters = fcluster(linkage(means[mine], "complete"), ALIKE, "distance") if len(mine) > 1 else [1]
        group[mine] = group.max() + np.asarray(clusters)
    return group[np.searchsorted(names, field)]


def join(
    shapes: NDArray[np.str_],
    features: NDArray[np.float64],
    field: NDArray[np.int64],
    group: list[str],
    part: dict[str, str],
) -> list[str]:
    """Return the group of each image: of the first ones as given, of the others by field and looks.

    Parameters
    ----------
    shapes, features, field : array, (N,), (N, D), (N,)
        Size as text, descriptors and number of the field of view of all images.
    group : list of str
        Groups of the first images.
    part : dict of str to str
        Part of each group.
    """
    known = len(group)
    scaled = (features - features[:known].mean(0)) / features[:known].std(0)
    caution = [name for name, _ in PARTS]  # test before validation before training
    joined = list(group)
    for i in range(known, len(shapes)):
        alike = np.flatnonzero(shapes[:known] == shapes[i])
        if not len(alike):
            joined.append(f"dsb-{shapes[i]}")
            continue
        together = np.flatnonzero((field == field[i]) & (shapes == shapes[i]))
        claims = [group[k] for k in together if k < known]
        if not claims:
            distance = np.linalg.norm(scaled[together][:, None] - scaled[alike], axis=2)
            claims = [group[alike[k]] for k in distance.argmin(1)]
        joined.append(min(claims, key=lambda name: (caution.index(part[name]), name)))
    return joined


def deal(group: NDArray[np.int64], kind: NDArray[np.int64]) -> list[str]:
    """Give whole groups of each kind to the part that lacks most images, in a drawn order."""
    part = np.empty(len(group), "U12")
    rng = np.random.default_rng(SEED)
    for one in np.unique(kind):
        mine = kind == one
        names = rng.permutation(np.unique(group[mine]))
        sizes = np.array([(group == name).sum() for name in names])
        got: dict[str, float] = defaultdict(float)
        for name in names[np.argsort(-sizes, kind="stable")]:
            most = max(PARTS, key=lambda p: p[1] * mine.sum() - got[p[0]])[0]
            part[group == name] = most
            got[most] += (group == name).sum()
    return part.tolist()


def read(folder: Path) -> tuple[list[str], list[NDArray[np.float64]], NDArray[np.float64]]:
    """Return names, logarithmic images and descriptors of a set."""
    files = sorted((folder / "images").glob("*.tif"))
    images = [np.log(imread(f).astype(float) + 2) for f in files]
    masks = [imread(folder / "masks" / f.name) for f in files]
    return [f.name for f in files], images, np.array([descriptors(*pair) for pair in zip(images, masks, strict=True)])


def split_dsb(root: Path) -> list[tuple[str, str, str, str]]:
    """Rows ``(set, file, group, part)`` for the images of the Data Science Bowl."""
    files, images, features = read(root / "dsb2018_fluo")
    field = fields(images)
    # the camera floor is above 10 in one of the experiments and below 8 in all others
    kind = np.array([2 * (x.shape[0] > 300) + (features[i, 0] > np.log(10.5)) for i, x in enumerate(images)])
    group = alike(features, field, kind)
    names = [f"dsb-{g:02d}" for g in group]
    parts = dict(zip(names, deal(group, kind), strict=True))
    print(f"{len(files)} images, {len(set(field))} fields, {len(set(group))} groups")
    more, others, looks = read(root / "dsb2018_more")
    images += others
    shapes = np.array(["x".join(map(str, x.shape)) for x in images])
    names = join(shapes, np.concatenate([features, looks]), fields(images), names, parts)
    sets = ["dsb2018_fluo"] * len(files) + ["dsb2018_more"] * len(more)
    # a group without an image of dsb2018_fluo trains
    return [(s, f, g, parts.get(g, "train")) for s, f, g in zip(sets, files + more, names, strict=True)]


def split_bbbc(folder: Path) -> list[tuple[str, str, str, str]]:
    """Rows ``(set, file, group, part)`` for the images of BBBC039."""
    files = sorted((folder / "images").glob("*.tif"))
    rows = [f.stem.split("_")[1][0] for f in files]
    group = np.unique(rows, return_inverse=True)[1]
    part = deal(group, np.zeros_like(group))
    return [("bbbc039", f.name, f"row-{r}", p) for f, r, p in zip(files, rows, part, strict=True)]


def main() -> None:
    root = data_root()
    rows = split_dsb(root) + split_bbbc(root / "bbbc039")
    with SPLIT.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("set", "file", "group", "part"))
        writer.writerows(rows)
    for name in ("dsb2018_fluo", "dsb2018_more", "bbbc039"):
        mine = [r for r in rows if r[0] == name]
        for part, _ in PARTS:
            some = [r for r in mine if r[3] == part]
            print(f"{name} {part}: {len(some)} images of {len({r[2] for r in some})} groups")


if __name__ == "__main__":
    main()
