"""Trains on a CPU and says how many steps a second it takes: for a comparison of two checkouts (:class:`Checkout`)."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import torch

from divseg.denoise.networks.registry import build_network, default_network
from divseg.denoise.noise import PoissonGaussian
from divseg.denoise.training.data import TrainingData
from divseg.denoise.training.schedule import Budget
from divseg.denoise.training.settings import TrainSettings
from divseg.denoise.training.trainer import Trainer


def trainer_of(batch: int) -> Trainer:
    """Return a trainer of the default network, with a noise that is learned, on images of noise; warm."""
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
    return trainer


def main() -> None:
    trainers: dict[int, Trainer] = {}
    for line in sys.stdin:
        job = json.loads(line)
        torch.set_num_threads(job["threads"])
        if job["batch"] not in trainers:
            trainers[job["batch"]] = trainer_of(job["batch"])
        trainer = trainers[job["batch"]]
        used, began, steps = time.process_time(), time.perf_counter(), 0
        while time.process_time() - used < job["seconds"]:
            trainer.step(0.6)
            steps += 1
        print(steps / (time.perf_counter() - began), steps / (time.process_time() - used), flush=True)


if __name__ == "__main__":
    main()
