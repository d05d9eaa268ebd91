"""Draws samples on a CPU and says how many seconds it takes: for a comparison of two checkouts (:class:`Checkout`)."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import torch

from divseg import DivNoising
from divseg.denoise.model_folder import ModelParts
from divseg.denoise.networks.registry import build_network, parse_network
from divseg.denoise.noise import Gaussian
from divseg.denoise.normalization import Normalization


def model_of(network: str) -> DivNoising:
    """Return an untrained model, warm: everything is loaded and compiled."""
    torch.manual_seed(0)
    net = build_network(parse_network(network))
    net.initialize()
    model = DivNoising(ModelParts(net, Gaussian(20.0), Normalization((100.0,), (30.0,)), {}, []), device="cpu")
    model.draw(np.eye(64, dtype=np.float32), range(4))
    return model


def main() -> None:
    models: dict[str, DivNoising] = {}
    for line in sys.stdin:
        job = json.loads(line)
        torch.set_num_threads(job["threads"])
        name = job["network"]
        if name not in models:
            models[name] = model_of(name)
        noisy = np.random.default_rng(0).normal(100, 30, (job["side"],) * 2).astype(np.float32)
        began, used = time.perf_counter(), time.process_time()
        for batch in models[name].sample(noisy, n=job["samples"], seed=0):
            batch.numpy()
        print(time.perf_counter() - began, time.process_time() - used, flush=True)


if __name__ == "__main__":
    main()
