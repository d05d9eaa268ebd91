"""How long fusion takes and how much memory it needs, by the number of samples.

Every count of samples runs in a process of its own: a first call on five samples loads the compiled loops,
then the median of the timed calls is taken. Samples come from the hard synthetic world, one by one, drawn
before the clock starts. Memory is the growth of the process's peak over what it held with the samples.

    python -m benchmarks.fusion_speed
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import numpy as np

import divseg
from benchmarks.record import write_result
from benchmarks.synthetic_world import make_world


def peak_mb() -> float:
    """Peak memory of this process in MB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def measure(count: int, cells: int, side: int, repeats: int, method: str) -> str:
    """Return a row of the table for one count of samples."""
    world = make_world("hard", cells=cells, side=side)
    masks = [m.astype(np.uint16) for m in world.samples(count)]
    divseg.fuse(masks[:5], method=method)
    before = peak_mb()
    seconds, cpu = [], []
    for _ in range(repeats):
        start, start_cpu = time.perf_counter(), time.process_time()
        result = divseg.fuse(iter(masks), method=method)
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    times = f"{np.median(seconds):.2f} | {min(seconds):.2f} | {np.median(cpu):.2f}"
    sizes = f"{peak_mb() - before:.0f} | {sum(m.nbytes for m in masks) / 1e6:.0f}"
    return f"| {method} | {count} | {result.counts.mean():.0f} | {len(result.objects)} | {times} | {sizes} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[25, 100, 400])
    parser.add_argument("--methods", nargs="+", default=["clustering"])
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--row", action="store_true", help="print the row of the first count and method only")
    a = parser.parse_args()
    if a.row:
        print(measure(a.samples[0], a.cells, a.side, a.repeats, a.methods[0]))
        return
    rows = [
        "| method | samples | objects in each | out | seconds | fastest | CPU seconds | memory, MB | samples, MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    size = ["--cells", str(a.cells), "--side", str(a.side), "--repeats", str(a.repeats)]
    for method in a.methods:
        for count in a.samples:
            command = [sys.executable, "-m", "benchmarks.fusion_speed", "--row", "--methods", method, *size]
            done = subprocess.run([*command, "--samples", str(count)], capture_output=True, text=True, check=True)
            rows.append(done.stdout.strip())
            print(rows[-1], flush=True)
    body = (
        f"{a.side} x {a.side} pixels, {a.cells} cells, uint16. Seconds: median and fastest of {a.repeats} calls "
        "after loading the compiled loops.\nMemory: growth of the peak during the calls; samples come on top if the "
        "caller keeps them.\n\n" + "\n".join(rows)
    )
    command = (
        f"python -m benchmarks.fusion_speed --samples {' '.join(map(str, a.samples))} --methods {' '.join(a.methods)}"
    )
    write_result("fusion_speed", "Time and memory of fusion", command, body)


if __name__ == "__main__":
    main()
