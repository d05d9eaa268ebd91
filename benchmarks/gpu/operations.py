"""Operations and waits, which need no card to be counted: every operation is a launch that the host pays for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.gpu.card import Card, Row
from benchmarks.speed.operations import counted, make_trainer, of_the_network
from divseg.denoise.networks.registry import build_network, parse_network
from divseg.denoise.sampling.normals_torch import torch_normals
from divseg.denoise.sampling.sampler import Sampler
from divseg.denoise.sampling.tiles import GPU_TILE, encode

SAMPLING = {"flat": 250, "hierarchical": 600}
"""Operations that drawing 8 samples of 512x512 may take, encoding included."""
TRAINING = 500
"""Operations of a training step outside the network that are allowed."""
STEPS = 25
"""Training steps in which the device may be waited for once."""


def rows(card: Card) -> Iterator[Row]:
    """Yield the counts of sampling and training; on a CPU, as a GPU without Triton would do it."""
    side = card.side(512)
    image = np.random.default_rng(0).standard_normal((side, side)).astype(np.float32)
    for name, limit in SAMPLING.items():
        network = build_network(parse_network(name)).eval()
        posterior = None

        def encoding(network: torch.nn.Module = network) -> None:
            nonlocal posterior
            posterior = encode(network, image, 1, GPU_TILE[2])

        first = counted(encoding)
        sampler = Sampler(network, posterior, 0, GPU_TILE[2], 8, generator=torch_normals)
        second = counted(lambda sampler=sampler: sampler.draw(range(8)))
        total, waits = first.kinds.total() + second.kinds.total(), first.waits + second.waits
        yield (
            f"{name}: operations for 8 samples of {side}x{side} (views not counted), and waits",
            f"{total}, {waits}",
            f"{limit}",
        )
    for name in SAMPLING:
        trainer = make_trainer(name, None)
        trainer.step(0.6)
        step, network = counted(lambda t=trainer: t.step(0.6)), of_the_network(trainer)
        outside = (step.kinds - network).total()
        yield f"{name}: operations of a training step outside the network", f"{outside}", f"{TRAINING}"
        waits = counted(lambda t=trainer: [t.step(0.6) for _ in range(STEPS)]).waits
        yield f"{name}: waits for the device in {STEPS} training steps", f"{waits}", "1"
