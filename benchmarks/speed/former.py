"""Training against a former commit of this repository, turn by turn in one run.

    git worktree add FORMER COMMIT
    python -m benchmarks.speed former FORMER [--rounds 9] [--seconds 4] [--threads 1] [--batch 4]

Each checkout trains in a process of its own, the default network with a noise that is learned, on images of noise; one
waits while the other trains. Steps are counted against processor time, which other work on the machine disturbs less
than the clock.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.record import write_result

CHILD = """
import sys, time
import numpy as np, torch
from divseg.denoise.networks.registry import build_network, default_network
from divseg.denoise.noise import PoissonGaussian
from divseg.denoise.training.data import TrainingData
from divseg.denoise.training.schedule import Budget
from divseg.denoise.training.settings import TrainSettings
from divseg.denoise.training.trainer import Trainer
threads, batch, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
torch.set_num_threads(threads)
torch.manual_seed(0)
rng = np.random.default_rng(0)
images = [rng.normal(100, 20, (256, 256)).astype(np.uint16) for _ in range(5)]
network = build_network(default_network())
network.initialize()
data = TrainingData(images, 64, network.config.stride)
noise = PoissonGaussian(1.0, 300.0, low=50.0, high=200.0, trainable=True)
settings, device = TrainSettings(batch=batch), torch.device("cpu")
trainer = Trainer(network, noise, data, budget=Budget(10**9), settings=settings, seed=0, device=device)
for _ in range(10):
    trainer.step(0.6)
print("ready", flush=True)
for _ in sys.stdin:
    began, clock, steps = time.process_time(), time.perf_counter(), 0
    while time.process_time() - began < seconds:
        trainer.step(0.6)
        steps += 1
    print(steps / (time.process_time() - began), steps / (time.perf_counter() - clock), flush=True)
"""


class Checkout:
    """A process that trains with the code of a checkout, when it is told to."""

    def __init__(self, folder: Path, a: argparse.Namespace) -> None:
        variables = {**os.environ, "PYTHONPATH": str(folder.resolve()), "OMP_NUM_THREADS": str(a.threads)}
        words = [sys.executable, "-c", CHILD, str(a.threads), str(a.batch), str(a.seconds)]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables, cwd=folder
        )
        if self._read() != "ready":
            raise SystemExit(f"{folder} could not train: see above")

    def round(self) -> tuple[float, float]:
        """Train for a while, and return steps a second of processor time, and by the clock."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        processor, clock = map(float, self._read().split())
        return processor, clock

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def end(self) -> None:
        """End the process."""
        self._process.communicate()


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("former", type=Path, help="checkout of the former commit")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=4.0, help="of processor time, a round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4)


def run(a: argparse.Namespace) -> None:
    checkouts = [Checkout(a.former, a), Checkout(Path(__file__).parents[2], a)]
    rounds = np.array([[checkout.round() for checkout in checkouts] for _ in range(a.rounds)])
    for checkout in checkouts:
        checkout.end()
    ratios = rounds[:, 1] / rounds[:, 0]
    rows = ["| steps a second | former | now | ratio: median (lowest to highest) |", "| --- | --- | --- | --- |"]
    for k, name in enumerate(("of processor time", "by the clock")):
        former, now = np.median(rounds[:, :, k], axis=0)
        of = ratios[:, k]
        rows.append(f"| {name} | {former:.1f} | {now:.1f} | {np.median(of):.3f} ({of.min():.3f} to {of.max():.3f}) |")
    named = subprocess.run(["git", "describe", "--always"], cwd=a.former, capture_output=True, text=True, check=False)
    commit = named.stdout.strip() or a.former
    body = (
        f"Former commit: {commit}. {a.rounds} rounds of {a.seconds:g} s each in turn, {a.threads} thread(s), {a.batch} "
        "crops a step.\n\n"
    )
    command = f"python -m benchmarks.speed former FORMER --rounds {a.rounds} --seconds {a.seconds:g}"
    command += f" --threads {a.threads} --batch {a.batch}"
    write_result("training_former", "Training against a former commit", command, body + "\n".join(rows))
