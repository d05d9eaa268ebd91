"""Which fusion method comes nearest to the truth, on synthetic worlds with known truth.

Worlds: about 110 cells in 384 x 384 pixels. A sample misses, splits and merges cells, moves boundaries and
adds ghosts (see ``benchmarks/worlds.py``); *easy* and *hard* differ in how often, and in the
*correlated* world the errors of one sample have half of their cause in common. The truth has neither
displaced boundaries nor any of the errors.

    python -m benchmarks.fusion_methods

These worlds favour methods that reason about whole objects, since errors happen to whole objects. They say
nothing about how fusion compares with segmenting the MMSE image: that takes real posterior samples.

Peers (``pip install divseg[peers]``; ``benchmarks/fusion_peers.py``): SimpleITK's STAPLE (ten iterations) and label
voting on labels aligned by our own clusters, bioimage-cpp's mutex watershed and multicut on averaged affinities.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import divseg
from benchmarks.fusion_peers import available
from benchmarks.record import write_result
from benchmarks.worlds import World, make_world
from divseg.metrics import evaluate

WORLDS: dict[str, dict[str, Any]] = {
    "hard": {"level": "hard"},
    "easy": {"level": "easy"},
    "hard, correlated": {"level": "hard", "correlation": 0.5},
}

METHODS: dict[str, dict[str, Any]] = {
    "clustering": {},
    "clustering, existence 0.3": {"existence": 0.3},
    "clustering, existence 0.5": {"existence": 0.5},
    "clustering, objective ap50": {"objective": "ap50"},
    "clustering, objective pq": {"objective": "pq"},
    "clustering, objective seg": {"objective": "seg"},
    "voting, SIMPLE": {"method": "voting", "scheme": "simple"},
    "voting, 1/2": {"method": "voting"},
    "voting, 2/3, collisions dropped": {"method": "voting", "threshold": 2 / 3, "collisions": "drop"},
    "voting, 1/2, medoid markers": {"method": "voting", "markers": "medoid"},
    "mutex": {"method": "mutex"},
    "mutex, segments only": {"method": "mutex", "refine": False},
    "medoid": {"method": "medoid"},
    "majority": {"method": "majority"},
}

SCORES = ("seg", "ap50", "ap75", "map")


def world_rows(world: World, count: int, peers: dict[str, Any]) -> dict[str, list[float]]:
    """Scores, number of objects, own expected mAP and seconds of every method in one world."""
    masks = [m.astype(np.uint16) for m in world.samples(count)]
    rows = {}
    singles = [evaluate(m, world.truth) for m in masks]
    single = [[getattr(s, name) for name in SCORES] + [s.n_pred, np.nan, np.nan] for s in singles]
    rows["mean single sample"] = np.mean(single, axis=0).tolist()
    for name, defaults in METHODS.items():
        options = dict(defaults)
        if options.get("markers") == "medoid":
            options["markers"] = divseg.fuse(masks, method="medoid").labels
        start = time.perf_counter()
        result = divseg.fuse(masks, **options)
        seconds = time.perf_counter() - start
        score = evaluate(result.labels, world.truth)
        rows[name] = [getattr(score, s) for s in SCORES] + [score.n_pred, result.expected["map"], seconds]
    for name, run in peers.items():
        start = time.perf_counter()
        labels = run(masks)
        seconds = time.perf_counter() - start
        score = evaluate(labels, world.truth)
        rows[name] = [getattr(score, s) for s in SCORES] + [score.n_pred, np.nan, seconds]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cells", type=int, default=110)
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--no-peers", action="store_true", help="leave the other tools out")
    a = parser.parse_args()
    peers = {} if a.no_peers else available()
    warm = make_world(cells=9, side=96)
    for options in METHODS.values():
        if "markers" not in options:
            divseg.fuse(list(warm.samples(3)), **options)
    parts = []
    for title, settings in WORLDS.items():
        tables, truth = [], []
        for seed in range(a.seeds):
            world = make_world(**settings, cells=a.cells, side=a.side, seed=seed)
            tables.append(world_rows(world, a.samples, peers))
            truth.append(int(world.truth.max()))
        lines = [
            f"## {title}\n",
            f"{a.samples} samples, {a.seeds} seeds, {np.mean(truth):.0f} true objects in the mean.\n",
            "| method | SEG | AP50 | AP75 | mAP | mAP by seed | objects | own expected mAP | seconds |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for name in tables[0]:
            values = np.array([t[name] for t in tables])
            mean = values.mean(axis=0)
            by_seed = " ".join(f"{v:.2f}".lstrip("0") for v in values[:, 3])
            scores = " | ".join(f"{v:.3f}" for v in mean[:4])
            rest = " | ".join("" if np.isnan(v) else f"{v:.{d}f}" for v, d in zip(mean[4:], (0, 3, 2), strict=True))
            lines.append(f"| {name} | {scores} | {by_seed} | {rest} |")
        parts.append("\n".join(lines))
        print(parts[-1], flush=True)
    command = f"python -m benchmarks.fusion_methods --samples {a.samples} --seeds {a.seeds}"
    head = (__doc__ or "").replace("    python -m benchmarks.fusion_methods\n\n", "")
    write_result("fusion_methods", "Fusion methods on synthetic worlds", command, head + "\n" + "\n\n".join(parts))


if __name__ == "__main__":
    main()
