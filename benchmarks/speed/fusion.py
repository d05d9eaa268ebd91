"""How long fusion takes and how much memory it needs, by the number of samples.

Every count of samples runs in a process of its own: a first call on five samples loads the compiled loops,
then the median of the timed calls is taken. Samples come from the hard synthetic world, one by one, drawn
before the clock starts. Memory is the growth of the process's peak over what it held with the samples.
Peers of ``benchmarks/fusion_peers.py`` can be given as methods too: ``staple`` is SimpleITK's, stopped after ONE
iteration (it takes tens), without the time that the alignment of the labels takes; ``numpy-voting`` and
``numpy-voting-crops`` get their markers for nothing.

    python -m benchmarks.speed fusion
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

import divseg
from benchmarks.record import write_result
from benchmarks.speed.clock import highest
from benchmarks.worlds import make_world

PEERS = ("staple", "numpy-voting", "numpy-voting-crops")


def measure(count: int, cells: int, side: int, repeats: int, method: str) -> str:
    """Return a row of the table for one count of samples."""
    world = make_world("hard", cells=cells, side=side)
    masks = [m.astype(np.uint16) for m in world.samples(count)]
    objects = np.mean([len(np.unique(m)) - 1 for m in masks])
    fuse = prepare(method, masks)
    before = highest()
    seconds, cpu = [], []
    for _ in range(repeats):
        start, start_cpu = time.perf_counter(), time.process_time()
        labels = fuse()
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    times = f"{np.median(seconds):.2f} | {min(seconds):.2f} | {np.median(cpu):.2f}"
    sizes = f"{(highest() - before) / 1e6:.0f} | {sum(m.nbytes for m in masks) / 1e6:.0f}"
    fused = len(np.unique(labels)) - 1
    return f"| {method} | {side} x {side} | {count} | {objects:.0f} | {fused} | {times} | {sizes} |"


def prepare(method: str, masks: list[np.ndarray]) -> Callable[[], np.ndarray]:
    """Return the timed call; what a method gets for nothing is done here."""
    if method in PEERS:
        from benchmarks import fusion_peers

        if method == "staple":
            aligned = fusion_peers.align(masks)
            return lambda: fusion_peers.staple_aligned(aligned, iterations=1)
        markers = divseg.fuse(masks).labels
        return lambda: fusion_peers.marker_voting(masks, markers, crops=method == PEERS[2])
    divseg.fuse(masks[:5], method=method)
    return lambda: divseg.fuse(iter(masks), method=method).labels


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--samples", type=int, nargs="+", default=[25, 100, 400])
    parser.add_argument("--methods", nargs="+", default=["clustering"])
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--sides", type=int, nargs="+", default=[1024], help="cells grow with the area")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--name", default="fusion_speed", help="of the table in results/")
    parser.add_argument("--row", action="store_true", help="print the row of the first count and method only")


def run(a: argparse.Namespace) -> None:
    if a.row:
        print(measure(a.samples[0], a.cells, a.sides[0], a.repeats, a.methods[0]))
        return
    rows = [
        "| method | pixels | samples | objects in each | out | seconds | fastest | CPU s | memory, MB | samples, MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    jobs = [(method, side, count) for method in a.methods for side in a.sides for count in a.samples]
    for method, side, count in jobs:
        cells = a.cells * side**2 // a.sides[0] ** 2
        repeats = 1 if method in PEERS else a.repeats
        size = ["--cells", str(cells), "--sides", str(side), "--repeats", str(repeats)]
        command = [sys.executable, "-m", "benchmarks.speed", "fusion", "--row", "--methods", method, *size]
        done = subprocess.run([*command, "--samples", str(count)], capture_output=True, text=True, check=True)
        rows.append(done.stdout.strip())
        print(rows[-1], flush=True)
    body = (
        f"{a.cells} cells in {a.sides[0]} x {a.sides[0]} pixels, uint16. Seconds: median and fastest of {a.repeats} "
        "calls (peers: one) after loading the compiled loops.\nMemory: growth of the peak during the calls; samples "
        "come on top if the caller keeps them.\n\n" + "\n".join(rows)
    )
    words = {"samples": a.samples, "sides": a.sides, "methods": a.methods}
    options = " ".join(f"--{name} {' '.join(map(str, values))}" for name, values in words.items())
    command = f"python -m benchmarks.speed fusion {options} --name {a.name}"
    write_result(a.name, "Time and memory of fusion", command, body)
