"""Several images at once, each on a core of its own, with results in order and no more ahead than is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class ErrorLast(Iterator[Item]):
    """An iterator that ends where another one fails, and keeps the error until :meth:`raise_error`.

    A caller that takes items ahead can so deliver the results of those before the failure.

    Parameters
    ----------
    items : iterable
        Items, of which the next one may raise.
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
        """Raise what the other iterator raised, if it did."""
        if self._error is not None:
            raise self._error


def map_ahead(
    f: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int,
    begin: Callable[[], object] | None = None,
) -> Iterator[Result]:
    """Yield ``f(item)`` in order; `threads` of them are computed at once.

    An error of `items` is raised after the results of the items before it.

    Parameters
    ----------
    f : callable
        Function that may run in several threads at once.
    items : iterable
        Items, taken in the caller's thread, at most ``threads + 1`` ahead of the results.
    threads : int
        Number of threads.
    begin : callable, optional
        Called first in each thread.
    """
    with ThreadPoolExecutor(threads, "divseg-segment", begin) as executor:
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
