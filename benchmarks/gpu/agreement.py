"""Samples are the same whatever the tile, the batch and the device: the largest differences, in the sample's std."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.gpu.card import Card, Row
from divseg import DivNoising
from divseg.denoise.model_folder import ModelParts
from divseg.denoise.networks.registry import build_network, parse_network
from divseg.denoise.noise import Gaussian
from divseg.denoise.normalization import Normalization

STD = 30.0


def untrained(network: str, device: torch.device) -> DivNoising:
    """Return a model with random weights: speed and agreement do not depend on what it has learned."""
    torch.manual_seed(0)
    net = build_network(parse_network(network))
    net.initialize()
    return DivNoising(ModelParts(net, Gaussian(20.0), Normalization((100.0,), (STD,))), device=device)


def noise(side: int) -> NDArray[np.float32]:
    """Return an image of noise."""
    return np.random.default_rng(0).normal(100, STD, (side, side)).astype(np.float32)


def rows(card: Card) -> Iterator[Row]:
    """Yield the differences of the flat and the hierarchical network."""
    image = noise(card.side(1024))
    for network in ("flat", "hierarchical"):
        model = untrained(network, card.device)
        whole = model.draw(image, [0, 1], seed=1)

        def difference(other: NDArray[np.float32], whole: NDArray[np.float32] = whole) -> float:
            return float(np.abs(other - whole[: len(other)]).max() / whole.std())

        tiles = {tile: difference(model.draw(image, [0], seed=1, tile=tile)) for tile in (96, 160, 512)}
        told = ", ".join(f"{tile}: {value:.1e}" for tile, value in tiles.items())
        yield f"{network}: tiles against the whole ({len(image)} pixels)", told, "1e-5"
        batches = [model.draw(image, range(6), seed=1, batch_size=size) for size in (1, 3, 6)]
        same = all(np.array_equal(batches[0], other) for other in batches[1:])
        apart = max(difference(other, batches[0]) for other in batches[1:])
        yield f"{network}: batches of 1, 3 and 6", "identical" if same else f"{apart:.1e} apart", "identical"
        on_cpu = untrained(network, torch.device("cpu")).draw(image, [0], seed=1)
        yield f"{network}: {card.device} against the CPU", f"{difference(on_cpu):.1e}", "1e-4"
