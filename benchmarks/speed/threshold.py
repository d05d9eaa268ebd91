"""How long does thresholding take for many samples of one image? Every method, every way of splitting.

    DIVSEG_DATA=... python -m benchmarks.speed threshold [--samples 64] [--size 1024] [--rounds 3]

The samples are a mosaic of four images of bbbc039 with noise of its own in each, smoothed. Each method runs on all of
them as it stands, with as many threads as there are cores, and Otsu's with one as well. scikit-image's own functions,
put together for the same job (threshold, holes, peaks of the distance, watershed, small objects), run on the same
samples in the same run, in one thread. The tools take turns; the shortest time of each counts.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numba import get_num_threads, set_num_threads
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage import feature, filters, measure, morphology, segmentation

import divseg
from benchmarks.record import write_result
from benchmarks.speed.clock import seconds
from benchmarks.speed.samples import like_samples, tiles
from divseg.metrics import to_markdown
from divseg.segment.options import METHODS, SPLITS

PEER = "scikit-image: otsu"
SMOOTH = "smooth=1,min_size=30"
Job = Callable[[NDArray[np.float32]], list[NDArray[Any]]]


def mosaic(size: int) -> NDArray[np.float32]:
    """Put four images of bbbc039 side by side, as many times as `size` needs."""
    four = tiles(3, 4)
    block = np.block([four[:2], four[2:]])
    times = -(-size // block.shape[0])
    return np.tile(block, (times, times))[:size, :size]


def peer(markers: str) -> Job:
    """Return scikit-image's functions for Otsu's threshold and a watershed from peaks of the distance."""

    def one(image: NDArray[np.float32]) -> NDArray[Any]:
        smooth = filters.gaussian(image, 1, preserve_range=True)
        mask = ndi.binary_fill_holes(smooth > filters.threshold_otsu(smooth))
        if markers == "none":
            labels = measure.label(mask, connectivity=1)
        else:
            distance = ndi.gaussian_filter(ndi.distance_transform_edt(mask), 1)
            if markers == "h_maxima":
                peaks = morphology.h_maxima(distance, 0.5)
            else:
                peaks = np.zeros(mask.shape, bool)
                peaks[tuple(feature.peak_local_max(distance, min_distance=5, labels=measure.label(mask)).T)] = True
            labels = segmentation.watershed(-distance, measure.label(peaks), mask=mask)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the argument's name changes with 0.26
            return np.asarray(morphology.remove_small_objects(labels, 30))

    return lambda stack: [one(image) for image in stack]


def ours(spec: str, threads: int) -> Job:
    """Return divseg's segmenter with a number of threads."""
    segment = divseg.segmenter(spec)

    def job(stack: NDArray[np.float32]) -> list[NDArray[Any]]:
        set_num_threads(threads)
        return list(segment(stack))

    return job


def jobs(threshold: float) -> dict[tuple[str, str, int], Job]:
    """Every method without and with splitting by distance, Otsu's with every way of it, and the peer."""
    cores = get_num_threads()
    table: dict[tuple[str, str, int], Job] = {}
    for method in METHODS:
        for split in SPLITS if method == "otsu" else ("none", "distance"):
            level = f",threshold={threshold:g}" if method == "fixed" else ""
            table[method, split, cores] = ours(f"{method}{level},{SMOOTH},split={split}", cores)
    for split in ("none", "distance"):
        table["otsu", split, 1] = ours(f"otsu,{SMOOTH},split={split}", 1)
    table |= {(PEER, markers, 1): peer(markers) for markers in ("none", "h_maxima", "peak_local_max")}
    return table


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)


def run(a: argparse.Namespace) -> None:
    stack = np.stack(list(like_samples(mosaic(a.size), a.samples, 0)))
    least: dict[tuple[str, str, int], float] = {}
    objects: dict[tuple[str, str, int], float] = {}
    work = jobs(float(filters.threshold_otsu(stack[0])))
    for job in work.values():
        job(stack[:1])  # loads and compiles
    for turn in range(a.rounds):
        for name, job in work.items():
            if turn and name[0] == PEER:
                continue  # once is enough: it is slow
            labels: list[NDArray[Any]] = []
            taken = seconds(lambda job=job, labels=labels: labels.extend(job(stack)))
            least[name] = min(least.get(name, np.inf), taken)
            objects[name] = float(np.mean([len(np.unique(image)) - 1 for image in labels]))
            print(f"{name}: {least[name]:.1f} s, load {os.getloadavg()[0]:.1f}", flush=True)
    rows = [
        {
            "method": method,
            "split": split,
            "threads": threads,
            "s": f"{taken:.1f}",
            "ms an image": round(taken / a.samples * 1e3),
            "objects an image": round(objects[method, split, threads]),
        }
        for (method, split, threads), taken in least.items()
    ]
    quick = least["otsu", "distance", 1]
    ratios = ", ".join(f"{least[PEER, m, 1] / quick:.1f} ({m})" for m in ("h_maxima", "peak_local_max"))
    slowest = max(taken for name, taken in least.items() if name[0] != PEER)
    body = (
        f"{a.samples} samples of {a.size}x{a.size} pixels, `{SMOOTH}`; least of {a.rounds} rounds (scikit-image's "
        f"functions: one).\nThe slowest of divseg's takes {slowest:.1f} s. With one thread, Otsu's threshold and "
        f"splitting by distance is as many times as fast\nas scikit-image's functions with one: {ratios}.\n\n"
        f"{to_markdown(pd.DataFrame(rows))}"
    )
    command = f"python -m benchmarks.speed threshold --samples {a.samples} --size {a.size} --rounds {a.rounds}"
    write_result("threshold_speed", "Speed of thresholding and splitting", command, body)
