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


class ErrorLast(Iterator[Item]):
    """An iterator that ends where another fails and keeps the error until it is asked for.

    Whoever takes items ahead can so give out what became of those before the failure.

    Parameters
    ----------
    items : iterable
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = iter(items)
        self._error: Exception | None = None

    def __next__(self) -> Item:
        if self._error is not None:
            raise StopIteration
        try:
            return next(self._items)
        except StopIteration:
            raise
        except Exception as error:
            self._error = error
            raise StopIteration from None

    def raise_error(self) -> None:
        """Raise what the other iterator raised; nothing happens where it ended well."""
        if self._error is not None:
            raise self._error


def map_ahead(f: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Yield ``f(item)`` in order; `threads` of them are under way, each with one thread for torch.

    An error of `items` is raised where it belongs: after the results of the items before.

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
        source = ErrorLast(items)
        try:
            for item in source:
                running.append(executor.submit(f, item))
                if len(running) > threads:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
            source.raise_error()
        finally:
            for future in running:
                future.cancel()
            # each thread has its own number, but a new one begins with what was set last
            torch.set_num_threads(before)
