"""Does divseg find anything where nothing is? Fifty fields of background, alone and beside fields with cells.

    python -m benchmarks.empty_fields --out OUT [--record]

Each kind is a folder of five fields without cells, perhaps with two fields with cells beside them: Gaussian noise,
Poisson-Gaussian noise at four levels, light that falls off from the middle, and crops of real background
(``DIVSEG_DATA`` names the folder of the sets). A model is trained on each folder alone, and the folder goes through
``divseg.run`` with each segmenter, then once more without the test of the signal-to-noise ratio (``snr=0``).
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray
from scipy import ndimage as ndi

import divseg
from benchmarks.record import limit_threads, write_result
from benchmarks.sets import evenly, load_set
from divseg.metrics import to_markdown

SIDE = 128
FIELDS, WITH_CELLS = 5, 2
"""Fields without cells in each folder, and fields with cells where there are any."""
CELLS, RADIUS = 6, 8
"""Cells in a simulated field, and their radius in pixels."""

SEGMENTERS = (
    "otsu",
    "li",
    "isodata",
    "triangle",
    "yen",
    "local",
    "sauvola",
    "hysteresis",
    "otsu,smooth=1,split=distance,min_size=20",
    "auto",
    "stardist:nuclei",
)

Field = tuple[NDArray[np.floating], int]
"""A noisy image, and the number of cells in it."""


def _cells(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return blurred discs of height 1 that do not touch."""
    clean, y, x = np.zeros((SIDE, SIDE)), *np.indices((SIDE, SIDE))
    placed = 0
    while placed < CELLS:
        cy, cx = rng.uniform(RADIUS, SIDE - RADIUS, 2)
        if not clean[np.hypot(y - cy, x - cx) < RADIUS + 4].any():
            clean[np.hypot(y - cy, x - cx) < RADIUS] = 1
            placed += 1
    return ndi.gaussian_filter(clean, 1)


def gaussian(std: float, cells: bool, fall: float = 0.0) -> list[Field]:
    """Return fields with Gaussian noise; light that falls off by `fall` towards the corners."""
    rng, fields = np.random.default_rng([int(std), int(cells), int(fall)]), []
    light = -fall * sum(np.meshgrid(*(np.linspace(-1, 1, SIDE) ** 2,) * 2)) / 2
    for number in [0] * FIELDS + [CELLS] * (WITH_CELLS if cells else 0):
        signal = 100 + light + (3 * std * _cells(rng) if number else 0)
        fields.append((signal + rng.normal(0, std, signal.shape), number))
    return fields


def poisson_gaussian(photons: float, cells: bool) -> list[Field]:
    """Return fields as a camera sees them: gain 2, offset 100, read noise 4, and that many photons of background."""
    rng, fields = np.random.default_rng([int(10 * photons), int(cells)]), []
    for number in [0] * FIELDS + [CELLS] * (WITH_CELLS if cells else 0):
        light = np.full((SIDE, SIDE), photons) + (max(8, 2 * photons) * _cells(rng) if number else 0)
        fields.append((np.rint(100 + 2 * rng.poisson(light) + rng.normal(0, 4, light.shape)), number))
    return fields


def real(name: str, level: str, cells: bool, side: int = SIDE) -> list[Field]:
    """Return crops of a set without an object of its truth within six pixels, and crops full of objects."""
    empty, full = [], []
    for picture in load_set(name, level):
        if picture.masks is None:
            continue
        near = ndi.binary_dilation(picture.masks > 0, iterations=6)
        corners = [
            (y, x) for y in range(0, near.shape[0] - side + 1, 32) for x in range(0, near.shape[1] - side + 1, 32)
        ]
        crops = [np.s_[y : y + side, x : x + side] for y, x in corners]
        free = [crop for crop in crops if not near[crop].any()]
        empty += [(picture.noisy[crop], 0) for crop in free[:2]]
        best = max(crops, key=lambda crop: np.count_nonzero(near[crop]))
        full.append((picture.noisy[best], len(np.unique(picture.masks[best])) - 1))
    return evenly(empty, FIELDS) + (evenly(full, WITH_CELLS) if cells else [])


KINDS: dict[str, Callable[[], list[Field]]] = {
    "Gaussian, std 10": lambda: gaussian(10, False),
    "Gaussian, std 25, with cells": lambda: gaussian(25, True),
    "light falls off by 3 std": lambda: gaussian(10, False, fall=30),
    "0.3 photons": lambda: poisson_gaussian(0.3, False),
    "1 photon, with cells": lambda: poisson_gaussian(1, True),
    "5 photons": lambda: poisson_gaussian(5, False),
    "20 photons, with cells": lambda: poisson_gaussian(20, True),
    "lowsnr_nuclei, with cells": lambda: real("lowsnr_nuclei", "real", True),
    "bbbc039 pg_low": lambda: real("bbbc039", "pg_low", False, 96),
    "dsb2018_fluo n20, with cells": lambda: real("dsb2018_fluo", "n20", True, 96),
}
"""Folders of fields by name."""


def count(folder: Path, out: Path, segmenter: str, settings: dict[str, int]) -> tuple[list[int], list[int]]:
    """Return the objects found in the fields without and with cells."""
    divseg.run(folder, out, segmenter=segmenter, report=False, **settings)
    table = pd.read_csv(out / "images.csv")
    empty = table["image"].str.startswith("empty")
    return table["n_objects"][empty].tolist(), table["n_objects"][~empty].tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=150, help="of training")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--segmenters", nargs="+", default=SEGMENTERS)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--record", action="store_true", help="write the table to benchmarks/results")
    a = parser.parse_args()
    if a.threads:
        limit_threads(a.threads)
    rows = []
    for k, kind in enumerate(a.kinds):
        folder, out, fields = a.out / f"{k}" / "images", a.out / f"{k}" / "run", KINDS[kind]()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for i, (image, number) in enumerate(fields):
            tifffile.imwrite(folder / f"{'cells' if number else 'empty'}{i}.tif", image.astype(np.float32))
        settings = {"train_steps": a.steps, "samples": a.samples}
        for segmenter in a.segmenters:
            empty, full = count(folder, out, segmenter, settings)
            loose, _ = count(folder, out, segmenter, settings | {"snr": 0})
            cells = [number for _, number in fields if number]
            rows.append((kind, segmenter, empty, loose, sum(full), sum(cells)))
            print(*rows[-1], flush=True)
    body = report(rows)
    if a.record:
        command = f"python -m benchmarks.empty_fields --out OUT --steps {a.steps} --samples {a.samples}"
        write_result("empty_fields", "Fields without cells", command, body)
    else:
        print(body)


def report(rows: list[tuple[str, str, list[int], list[int], int, int]]) -> str:
    """Return the two tables: by segmenter, and by kind of field."""

    def line(name: str, group: list[tuple[str, str, list[int], list[int], int, int]]) -> dict[str, object]:
        found, loose = (np.concatenate([row[i] for row in group]) for i in (2, 3))
        return {
            "": name,
            "fields": len(found),
            "nothing found": int((found == 0).sum()),
            "most objects": int(found.max()),
            "nothing found, snr=0": int((loose == 0).sum()),
            "most objects, snr=0": int(loose.max()),
            "found / cells, fields with cells": f"{sum(r[4] for r in group)} / {sum(r[5] for r in group)}",
        }

    tables = []
    for column in (1, 0):
        names = dict.fromkeys(row[column] for row in rows)
        tables.append(to_markdown(pd.DataFrame([line(n, [r for r in rows if r[column] == n]) for n in names])))
    return f"By segmenter:\n\n{tables[0]}\n\nBy kind of field, all segmenters:\n\n{tables[1]}"


if __name__ == "__main__":
    main()
