"""One item after the other in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from divseg.workflow.executors.contract import Done, Event, Listener, Progress, Work


class SerialExecutor:
    """Does the items in their order, in the calling thread; see :class:`divseg.workflow.executors.Executor`."""

    name = "serial"
    workers = 1

    def run(self, work: Work, items: Sequence[Any], listen: Listener | None = None) -> Iterator[Event]:
        """Do the work on all items."""
        for index, item in enumerate(items):
            texts: list[str] = []
            value = work(item, texts.append if listen is None else _teller(index, listen))
            for text in texts:
                yield Progress(index, text)
            yield Done(index, value)


def _teller(index: int, listen: Listener) -> Callable[[str], None]:
    return lambda text: listen(Progress(index, text))
