"""Torch operations that a training step starts, and how often it waits for the device.

    python -m benchmarks.speed operations [--network hierarchical] [--batch 32]

Counted on a CPU, which needs no GPU: every operation is at least one start of a kernel there, and takes the host 5 to
10 microseconds. Those of the network's own forward and backward passes are counted apart.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.record import write_result
from divseg.denoise.networks.registry import build_network, parse_network
from divseg.denoise.noise import PoissonGaussian
from divseg.denoise.precision import autocast
from divseg.denoise.training.data import TrainingData
from divseg.denoise.training.schedule import Budget
from divseg.denoise.training.settings import TrainSettings
from divseg.denoise.training.trainer import Trainer

WAITS = {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "unique", "_unique2", "unique_dim", "masked_select"}
"""Operations whose result, or its size, the host needs before it goes on."""
NO_WORK = {"view", "_unsafe_view", "t", "transpose", "permute", "expand", "slice", "select", "unsqueeze", "squeeze"}
NO_WORK |= {"detach", "as_strided", "split", "split_with_sizes", "unbind", "alias", "empty", "empty_like", "new_empty"}
"""Operations that start nothing on the device: views, and memory."""


class Operations(TorchDispatchMode):
    """Context that counts operations by kind, without views; waits for the device, and numbers sent to it.

    Copies to the CPU are waits. Numbers are sent by ``torch.tensor``, which a CUDA graph cannot hold.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kinds: Counter[str] = Counter()
        self.waits = self.sent = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        # on a CPU too, what is copied in the same number format is meant for the host
        same = kwargs.get("dtype") in (None, args[0].dtype) if name == "_to_copy" else False
        to_host = same and kwargs.get("device") == torch.device("cpu")
        self.waits += name in WAITS or to_host
        self.sent += name == "lift_fresh"
        if name not in NO_WORK:
            self.kinds[name] += 1
        return func(*args, **kwargs)


def counted(work: Callable[[], object]) -> Operations:
    """Return the operations of a call."""
    with Operations() as operations:
        work()
    return operations


def of_the_network(trainer: Trainer) -> Counter[str]:
    """Count the operations of one forward and backward pass of a trainer's network."""
    x, eps = trainer._validation_crops
    x, eps = x[: trainer.size.batch], [grid[: trainer.size.batch] for grid in eps]

    def passes() -> None:
        with autocast(trainer.device, trainer.train_step.dtype):
            s, means, logvars = trainer.network(x, eps)
        outputs = [s, *means, *logvars]
        torch.autograd.backward(outputs, [torch.ones_like(o) for o in outputs])

    for parameter in trainer.network.parameters():
        parameter.grad = None
    kinds = counted(passes).kinds
    kinds["ones_like"] = 0
    return kinds


def make_trainer(network: str, batch: int | None) -> Trainer:
    """Return a trainer on images of noise, with a noise that is learned."""
    rng = np.random.default_rng(0)
    images = [rng.normal(100.0, 20.0, (128, 128)).astype(np.uint16) for _ in range(4)]
    net = build_network(parse_network(network))
    net.initialize()
    data = TrainingData(images, 64, net.config.stride)
    noise = PoissonGaussian(1.0, 300.0, low=50.0, high=200.0, trainable=True)
    settings = TrainSettings(batch=batch)
    device = torch.device("cpu")
    return Trainer(net, noise, data, budget=Budget(10**6), settings=settings, seed=0, device=device)


def table(trainer: Trainer) -> str:
    """Count a step, and return the operations outside the network by kind."""
    trainer.step(0.6)
    step, network = counted(lambda: trainer.step(0.6)), of_the_network(trainer)
    outside = step.kinds - network
    rows = ["| operation | times |", "| --- | --- |", *(f"| {kind} | {n} |" for kind, n in outside.most_common())]
    return (
        f"One step: {step.kinds.total()} operations and {step.waits} waits for the device; {network.total()} are the "
        f"network's own forward and backward passes, {outside.total()} are not:\n\n" + "\n".join(rows)
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--network", default="hierarchical")
    parser.add_argument("--batch", type=int)


def run(a: argparse.Namespace) -> None:
    command = f"python -m benchmarks.speed operations --network {a.network}"
    command += f" --batch {a.batch}" if a.batch else ""
    write_result(
        "training_operations", "Operations of a training step", command, table(make_trainer(a.network, a.batch))
    )
