"""A run that is killed again and again against one that is left alone.

    python -m benchmarks.interruptions [--kills 20] [--seed 0]

A small run (training included, two worker processes) is done once undisturbed, and then with ``kill -9`` at random
moments: in training, inside an image, and to a worker while the run goes on. After each kill of the run the same
command is given again. All outputs but clocks must be the same bytes.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from benchmarks.record import write_result

SETTINGS = [
    "--network", "flat,filters=8,latents=8", "--train-steps", "400", "--noise", "gaussian,std=12", "--samples", "8",
    "--segmenter", "otsu,smooth=1,split=distance", "--device", "cpu", "--jobs", "2",
]  # fmt: skip
WITH_CLOCKS = {"run.json", "run.log", "stages.json", "report.html", "config.json", "training.jsonl", "README.md"}
"""Files that hold times of day or durations."""


def make_plate(folder: Path, n: int = 4, side: int = 160) -> tuple[Path, Path]:
    """Write noisy discs and their masks; return the two folders."""
    images, masks = folder / "images", folder / "masks"
    images.mkdir(parents=True)
    masks.mkdir()
    y, x = np.mgrid[:side, :side]
    for i in range(n):
        rng = np.random.default_rng(i)
        labels = np.zeros((side, side), np.uint16)
        for k in range(1, 25):
            cy, cx = rng.uniform(10, side - 10, 2)
            disc = (y - cy) ** 2 + (x - cx) ** 2 < rng.uniform(5, 9) ** 2
            if not labels[disc].any():
                labels[disc] = k
        noisy = 100 + 60.0 * (labels > 0) + rng.normal(0, 12, labels.shape)
        tifffile.imwrite(images / f"field{i}.tif", noisy.astype(np.uint16))
        tifffile.imwrite(masks / f"field{i}.tif", labels)
    return images, masks


def start(images: Path, masks: Path, out: Path) -> subprocess.Popen[str]:
    """Start a run in a process of its own."""
    command = [sys.executable, "-m", "divseg", "run", images, "--truth", masks, "--out", out, *SETTINGS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )


def children(pid: int) -> list[int]:
    """Return the processes that a process has started, without multiprocessing's resource tracker."""
    tasks = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(c) for c in tasks if b"resource_tracker" not in Path(f"/proc/{c}/cmdline").read_bytes()]


def kill_at(process: subprocess.Popen[str], moment: str, rng: random.Random) -> bool:
    """Kill the run in training or inside an image, or a worker of it; False if the moment never came."""
    assert process.stderr is not None
    wanted = "training " if moment == "training" else " images done; "
    skip = rng.randrange(8)
    for line in process.stderr:
        if not (line.startswith(wanted) if moment == "training" else wanted in line):
            continue
        if moment != "training" and skip > 0:
            skip -= 1
            continue
        time.sleep(rng.uniform(0, 2.0 if moment == "training" else 0.3))
        if process.poll() is not None:
            return False
        if moment == "worker":
            workers = children(process.pid)
            if not workers:
                return False
            os.kill(rng.choice(workers), signal.SIGKILL)
            return True
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    return False


def finish(process: subprocess.Popen[str]) -> int:
    """Wait for the end of a run."""
    process.communicate()
    return process.returncode


def differences(expected: Path, out: Path) -> list[str]:
    """Return what differs between two run folders, clocks left aside."""

    def files(folder: Path) -> dict[str, Path]:
        skipped = {"plots", "units", ".lock"}
        paths = (p for p in folder.rglob("*") if p.is_file() and not skipped & set(p.relative_to(folder).parts))
        return {p.relative_to(folder).as_posix(): p for p in paths if p.name not in WITH_CLOCKS}

    one, other = files(expected), files(out)
    found = [f"only in one: {name}" for name in sorted(one.keys() ^ other.keys())]
    for name in sorted(one.keys() & other.keys()):
        if name == "images.csv":
            tables = [pd.read_csv(path).drop(columns="seconds") for path in (one[name], other[name])]
            same = tables[0].equals(tables[1])
        else:
            same = one[name].read_bytes() == other[name].read_bytes()
        found += [] if same else [f"differs: {name}"]
    return found


def main() -> int:
    """Run the benchmark; the exit code says whether all went well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    rng = random.Random(a.seed)
    with tempfile.TemporaryDirectory() as place:
        images, masks = make_plate(Path(place))
        began = time.monotonic()
        assert finish(start(images, masks, Path(place) / "undisturbed")) == 0
        print(f"undisturbed: {time.monotonic() - began:.0f} s", flush=True)
        done = {"training": 0, "image": 0, "worker": 0}
        wrong: list[str] = []
        rounds = 0
        while sum(done.values()) < a.kills:
            out = Path(place) / f"disturbed{rounds}"
            for moment in ("training", "image", "image", "image", "worker"):
                process = start(images, masks, out)
                done[moment] += kill_at(process, moment, rng)
                if moment == "worker":
                    code = finish(process)
                else:
                    process.kill()
                    process.wait()
            code = finish(start(images, masks, out)) or code
            wrong += [f"round {rounds}: {text}" for text in differences(Path(place) / "undisturbed", out)]
            wrong += [f"round {rounds}: exit code {code}"] if code else []
            rounds += 1
            print(f"round {rounds}: killed so far {done}, {len(wrong)} differences", flush=True)
    kills = ", ".join(f"{count} in {moment}" for moment, count in done.items())
    verdict = "\n".join(wrong) or "All outputs but clocks are the same bytes."
    command = f"python -m benchmarks.interruptions --kills {a.kills} --seed {a.seed}"
    write_result("interruptions", "A run that is killed", command, f"{rounds} runs, killed: {kills}.\n\n{verdict}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
