"""Several images through the network at once, each on one core of its own.

Two threads on two images beat two threads on one: no thread waits at the end of each layer for the other, which
matters most where worker processes take turns on the same cores. torch lets go of the interpreter lock in its
operators, and threads share the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

from divseg.segment import ahead

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(f: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """As :func:`divseg.segment.ahead.map_ahead`, each call with one thread for torch."""
    before = torch.get_num_threads()
    try:
        yield from ahead.map_ahead(f, items, threads, lambda: torch.set_num_threads(1))
    finally:
        # each thread has its own number, but a new one begins with what was set last
        torch.set_num_threads(before)
