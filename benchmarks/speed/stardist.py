"""How fast are K samples segmented? The whole job to labels, beside a loop of TensorFlow StarDist, in one run.

    DIVSEG_DATA=... python -m benchmarks.speed stardist [--model NAME_OR_FOLDER] [--samples 64] [--rounds 3]
    DIVSEG_DATA=... python -m benchmarks.speed stardist [--model NAME_OR_FOLDER] --memory 1000
    python -m benchmarks.speed stardist [--model NAME_OR_FOLDER] --crowded [--rounds 3]

The samples are one 512x512 image of bbbc039 with noise of its own in each, smoothed. Both begin with raw
intensities. TensorFlow (``normalize`` and ``predict_instances`` for each image, as in StarDist's examples) is left out
if it is not installed. The tools take turns, and the shortest time of each counts; user and system time of all
processes stands beside the wall clock, as other work on the machine disturbs it less. The first call of each, which
loads and compiles, is not counted.

``--memory`` segments that many images one by one and notes the resident size on the way. ``--crowded`` times the
suppression, StarDist's and ours by turns, on an image with a bright uneven background, at the factors of scale=auto.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from numpy.typing import NDArray

import divseg
from benchmarks.record import write_result
from benchmarks.speed.clock import processor_time, resident
from benchmarks.speed.samples import bright_background, like_samples, tiles
from divseg.segment.stardist.models import model_folder
from divseg.segment.stardist.segmenter import SCALES, StarDistSegmenter
from divseg.segment.stardist.suppression import kept_polygons

Segment = Callable[[NDArray[np.float32]], list[NDArray[np.integer]]]


def samples(count: int) -> NDArray[np.float32]:
    return np.stack(list(like_samples(tiles(3, 1)[0], count, 0)))


def parties(folder: str, options: str) -> Iterator[tuple[str, Segment]]:
    """Yield each way of doing the job under its name."""
    if importlib.util.find_spec("tensorflow"):
        from csbdeep.utils import normalize
        from stardist.models import StarDist2D

        path = model_folder(folder)
        with contextlib.redirect_stdout(io.StringIO()):
            model = StarDist2D(None, name=path.name, basedir=str(path.parent))
        yield (
            "TensorFlow StarDist, `predict_instances` in a loop",
            lambda x: [model.predict_instances(normalize(image, 1, 99.8))[0] for image in x],
        )
    name = f"stardist:{folder}{options}"
    alone = divseg.segmenter(f"{name},threads=0")
    yield "divseg, one image at a time", lambda x: list(alone(x))
    together = divseg.segmenter(name)
    yield "divseg", lambda x: list(together(x))


def speed(folder: str, options: str, count: int, rounds: int) -> str:
    stack = samples(count)
    contestants = list(parties(folder, options))
    first: list[NDArray[Any]] = []
    best: dict[str, tuple[float, float]] = {}
    identical: dict[str, int] = {}
    for _, segment in contestants:
        segment(stack[:12])
    for _ in range(rounds):
        for name, segment in contestants:
            busy, start = processor_time(), time.perf_counter()
            labels = segment(stack)
            taken = (time.perf_counter() - start, processor_time() - busy)
            print(f"{name}: {taken[0]:.1f} s, {taken[1]:.1f} core-s, load {os.getloadavg()[0]:.1f}", flush=True)
            wall, core = best.get(name, taken)
            best[name] = min(wall, taken[0]), min(core, taken[1])
            first = first or labels
            assert all(same_objects(a, b) for a, b in zip(first, labels, strict=True)), f"{name}: other objects"
            identical[name] = sum(np.array_equal(a, b) for a, b in zip(first, labels, strict=True))
    wall, core = best[contestants[0][0]]
    rows = [
        "| | s | per image, ms | times as fast | core-seconds | times less |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, (w, c) in best.items():
        rows.append(f"| {name} | {w:.1f} | {w / count * 1e3:.0f} | {wall / w:.2f} | {c:.1f} | {core / c:.2f} |")
    objects = np.mean([labels.max() for labels in first])
    text = (
        f"{count} samples of 512x512 with {objects:.0f} objects each; least of {rounds} rounds. The same objects in "
        f"every sample, numbered alike too in {min(identical.values())} of {count}: objects of nearly the same "
        "probability can change places in the order.\n\n"
    )
    return text + "\n".join(rows)


def same_objects(a: NDArray[np.integer], b: NDArray[np.integer]) -> bool:
    """Whether two label images differ in the numbers of their objects at most."""
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    return all(len(np.unique(side)) == pairs.shape[1] for side in pairs) and np.array_equal(a > 0, b > 0)


def crowded(folder: str, options: str, rounds: int) -> str:
    import torch
    from stardist.nms import non_maximum_suppression_sparse

    torch.set_num_threads(1)
    image = bright_background()
    rows = [
        "| factor | candidates | objects | network, s | suppression: StarDist's, s | ours, s | times as fast |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for scale in SCALES:
        segment = divseg.segmenter(f"stardist:{folder}{options},scale={scale}")
        assert isinstance(segment, StarDistSegmenter)
        numbered = next(segment._batches(iter([(0, image[None])])))
        taken: list[list[float]] = [[], [], []]
        for _ in range(rounds + 1):  # the first one loads and compiles
            clock = [time.process_time()]
            (job,) = segment._predict(numbered)
            clock.append(time.process_time())
            *_, theirs = non_maximum_suppression_sparse(job.dist, job.prob, job.points, nms_thresh=job.nms)
            clock.append(time.process_time())
            ours = kept_polygons(job.dist, job.prob, job.points, job.nms)
            clock.append(time.process_time())
            for part, seconds in zip(taken, np.diff(clock), strict=True):
                part.append(float(seconds))
        assert np.array_equal(ours, theirs), "other objects"
        net, before, after = (min(part[1:]) for part in taken)
        counts = f"| {scale:g} | {len(job.prob):,} | {len(ours)}"
        rows.append(f"{counts} | {net:.2f} | {before:.2f} | {after:.2f} | {before / after:.1f} |")
        print(rows[-1], flush=True)
    text = (
        "832x992 pixels, most in a background that is brighter than what lies in it. Seconds of one core, least "
        f"of {rounds} rounds; the same candidates are kept.\n\n"
    )
    return text + "\n".join(rows)


def memory(folder: str, options: str, count: int) -> str:
    image = samples(1)[0][:256, :256]
    segment = divseg.segmenter(f"stardist:{folder}{options}")
    assert isinstance(segment, StarDistSegmenter)
    rows = ["| images | resident, MiB |", "| --- | --- |"]
    for done, labels in enumerate(segment(like_samples(image, count, 1)), start=1):
        assert labels.max() > 0
        if done in (10, 100, 300, 1000, 3000) or done == count:
            rows.append(f"| {done} | {resident() / 2**20:.0f} |")
    return f"256x256 images, one by one from an iterator.\n\n{chr(10).join(rows)}"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="nuclei", metavar="NAME_OR_FOLDER")
    parser.add_argument("--options", default=",device=cpu", help="further options of the segmenter, with a comma first")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, default=0)
    parser.add_argument("--crowded", action="store_true")


def run(a: argparse.Namespace) -> None:
    command = f"python -m benchmarks.speed stardist --model {Path(a.model).name}"
    if a.memory:
        body = memory(a.model, a.options, a.memory)
        write_result("stardist_memory", "Memory over many images", f"{command} --memory {a.memory}", body)
    elif a.crowded:
        body = crowded(a.model, a.options, a.rounds)
        write_result("stardist_suppression", "Suppression of many candidates", f"{command} --crowded", body)
    else:
        body = speed(a.model, a.options, a.samples, a.rounds)
        command += f" --samples {a.samples} --rounds {a.rounds}"
        write_result("stardist_speed", "K samples to labels", command, body)
