"""How much memory do samples of a large image take? Peak resident memory of the process while they are drawn.

    python -m benchmarks.sampling_memory [--side 4096] [--samples 64] [--quantiles]

The mean and standard deviation of all samples are computed; the peak is read from the operating system and compared
with that just before (network loaded, image in memory, one small image sampled).
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.record import write_result
from divseg import DivNoising
from divseg.denoise.networks.flat import DivNoisingNet
from divseg.denoise.noise import Gaussian


def resident() -> int:
    """Bytes of memory that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Peak:
    """Watches the process's memory from a thread, every few milliseconds."""

    def __enter__(self) -> Peak:
        self.highest, self._done = resident(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self.highest = max(self.highest, resident())

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--quantiles", action="store_true", help="also exact quantiles, tile by tile")
    a = parser.parse_args()
    torch.manual_seed(0)
    network = DivNoisingNet()
    network.initialise()
    model = DivNoising(network, Gaussian(20.0), 100.0, 30.0, device="cpu")
    noisy = np.random.default_rng(0).normal(100, 30, (a.side, a.side)).astype(np.uint16)
    model.moments(noisy[:256, :256], n=2)
    rows = ["| estimate | memory before (GB) | added at the peak (GB) | seconds |", "| --- | --- | --- | --- |"]
    jobs = {"mean and sd": lambda: model.moments(noisy, n=a.samples)}
    if a.quantiles:
        jobs["mean, sd and 3 quantiles"] = lambda: model.estimate(noisy, n=a.samples)
    for name, job in jobs.items():
        before, began = resident(), time.perf_counter()
        with Peak() as peak:
            job()
        took = time.perf_counter() - began
        rows.append(f"| {name} | {before / 1e9:.2f} | {(peak.highest - before) / 1e9:.2f} | {took:.0f} |")
        print(rows[-1], flush=True)
    body = f"{a.samples} samples of a {a.side}x{a.side} image on the CPU.\n\n" + "\n".join(rows)
    command = f"python -m benchmarks.sampling_memory --side {a.side} --samples {a.samples}"
    write_result("sampling_memory", "Memory of sampling", command + " --quantiles" * a.quantiles, body)


if __name__ == "__main__":
    main()
