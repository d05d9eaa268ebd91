"""One item after the other in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from divseg.errors import DivsegError
from divseg.workflow.executors.contract import Done, Event, Listener, Progress, Spent, Work


class SerialExecutor:
    """Does the items in their order, in the calling thread; see :class:`divseg.workflow.executors.Executor`."""

    name = "serial"
    workers = 1

    def run(self, work: Work, items: Sequence[Any], listen: Listener | None = None) -> Iterator[Event]:
        """Do the work on all items.

        Raises
        ------
        DivsegError
            If this process can do no more.
        """
        for index, item in enumerate(items):
            texts: list[str] = []
            spent = None
            try:
                value = work(item, texts.append if listen is None else _teller(index, listen))
            except Spent as error:
                value, spent = error.value, error
            for text in texts:
                yield Progress(index, text)
            yield Done(index, value)
            if spent is not None:
                raise DivsegError(f"{spent.reason}; give the same command again to go on, what is finished is kept")


def _teller(index: int, listen: Listener) -> Callable[[str], None]:
    return lambda text: listen(Progress(index, text))
