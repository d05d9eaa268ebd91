"""Several images through the network at once, each on one core of its own.

Two threads on two images beat two threads on one: no thread waits at the end of each layer for the other, which
matters most where worker processes take turns on the same cores. torch lets go of the interpreter lock in its
operators, and threads share the weights.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(f: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Yield ``f(item)`` in order; `threads` of them are under way, each with one thread for torch.

    Parameters
    ----------
    f : callable
    items : iterable
        Taken in the caller's thread, at most ``threads + 1`` ahead of what was yielded.
    threads : int
    """
    before = torch.get_num_threads()
    with ThreadPoolExecutor(threads, "divseg-stardist-network", lambda: torch.set_num_threads(1)) as executor:
        running: deque[Future[Result]] = deque()
        try:
            for item in items:
                running.append(executor.submit(f, item))
                if len(running) > threads:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()
            # each thread has its own number, but a new one begins with what was set last
            torch.set_num_threads(before)
