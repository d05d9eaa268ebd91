"""What the engine costs: the overhead of a unit, another fusion method, several processes, a dask cluster.

    python -m benchmarks.speed engine [--units 10000] [--images 8] [--side 512] [--samples 32] [--fields 64]

No data is needed: images are discs with noise, the model is trained for a few steps and not timed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.interruptions import make_plate
from benchmarks.record import write_result


@dataclass(frozen=True)
class Nothing:
    """A unit without content."""

    name: str
    sources: tuple[str, ...] = ("nothing",)
    settings: Any = ()

    @property
    def file(self) -> Path:
        """Its name as a path."""
        return Path(self.name)

    def stat(self, source: str) -> list[Any]:
        """Nothing changes."""
        return []

    def fingerprint(self, source: str) -> str:
        """Nothing is in it."""
        return ""

    def record(self) -> dict[str, Any]:
        """Return its name."""
        return {"name": self.name}


def do_nothing(context: Any) -> None:
    """Write one number."""
    context.write.row["value"] = 1


def overhead(units: int, place: Path) -> list[str]:
    """Seconds of trivial units, first done, then skipped."""
    from divseg.workflow.engine import Job, perform
    from divseg.workflow.stage import Stage

    todo = [Nothing(f"u{i}", settings={}) for i in range(units)]
    # what the stage does not use, such as load(), is left out of the unit
    job = Job("run", todo, lambda _: [Stage("nothing", do_nothing)])  # type: ignore[arg-type]
    rows = []
    for what in ("done", "skipped"):
        began = time.perf_counter()
        perform(job, place / "trivial")
        spent = time.perf_counter() - began
        rows.append(
            f"| {units} trivial units, {what} | {spent:.1f} s | {1000 * spent / units:.2f} ms a unit (asked: 20) |"
        )
    return rows


def timed(*words: Any, threads: int | None = None) -> float:
    """Wall time of a command of divseg in a process of its own."""
    environment = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment.pop(name, None)
        if threads is not None:
            environment[name] = str(threads)
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "divseg", *map(str, words)], check=True, env=environment, capture_output=True)
    return time.perf_counter() - began


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--units", type=int, default=10000)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--fields", type=int, default=64)
    parser.add_argument("--parts", nargs="*", default=["overhead", "runs", "dask"])


def run(a: argparse.Namespace) -> None:
    rows = ["| what | time | figure |", "| --- | --- | --- |"]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if "overhead" in a.parts:
            rows += overhead(a.units, place)
        images, _ = make_plate(place / "large", a.images, a.side)
        fields, _ = make_plate(place / "small", a.fields, 128)
        model = place / "model"
        timed("train", fields, "--out", model, "--train-steps", 60, "--noise", "gaussian,std=12")
        common = ["--model", model, "--samples", a.samples, "--segmenter", "otsu,smooth=1,split=distance", "-q"]
        if "runs" in a.parts:
            first = timed("run", images, "--out", place / "one", *common)
            second = timed("run", images, "--out", place / "one", *common, "--method", "mutex")
            single = timed("run", images, "--out", place / "single", *common, "--no-report", threads=1)
            serial = timed("run", images, "--out", place / "serial", *common, "--no-report")
            double = timed("run", images, "--out", place / "two", *common, "--no-report", "--jobs", 2)
            what = f"{a.images} images of {a.side}x{a.side}, {a.samples} samples"
            rows += [
                f"| {what}, report | {first:.1f} s | |",
                f"| the same with another --method | {second:.1f} s | {second / first:.3f} of the first (asked: .1) |",
                f"| no report, one process, one thread | {single:.1f} s | |",
                f"| no report, one process, all threads | {serial:.1f} s | |",
                f"| no report, --jobs 2 | {double:.1f} s | {serial / double:.2f} times as fast as one process "
                f"({single / double:.2f} as one thread; asked: 1.7) |",
            ]
        if "dask" in a.parts:
            one = timed("run", fields, "--out", place / "fields1", *common, "--no-report", threads=1)
            two = timed(
                "run", fields, "--out", place / "fields2", *common, "--no-report", "--executor", "dask,workers=2"
            )
            rows += [
                f"| {a.fields} fields of 128x128, one thread | {one:.1f} s | |",
                f"| the same, dask with 2 workers | {two:.1f} s | {one / two / 2:.0%} of the ideal (asked: 85 %) |",
            ]
        shutil.rmtree(place / "large", ignore_errors=True)
    command = f"python -m benchmarks.speed engine --images {a.images} --side {a.side} --samples {a.samples}"
    write_result("engine", "What the engine costs", command, "\n".join(rows))
