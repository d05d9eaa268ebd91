"""What an executor promises: work, items, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias


class Spent(Exception):
    """Raised by work whose process can do no more items, such as after its GPU has failed.

    Parameters
    ----------
    value : object
        Becomes :attr:`Done.value` of the item.
    reason : str
        What happened, one line.
    """

    def __init__(self, value: Any, reason: str) -> None:
        super().__init__(value, reason)
        self.value, self.reason = value, reason


class Work(Protocol):
    """What is done to each item; picklable, and sent once to each worker."""

    def __call__(self, item: Any, tell: Callable[[str], None]) -> Any:
        """Do one item.

        Parameters
        ----------
        item : object
            Picklable.
        tell : callable
            Takes a line of text about how far the item has come.

        Returns
        -------
        object
            Picklable; becomes :attr:`Done.value`.

        Raises
        ------
        Spent
            If this process can do no more: another goes on with the rest, or the work ends where there is none.
        """


@dataclass(frozen=True)
class Done:
    """An item is finished.

    Attributes
    ----------
    index : int
        Position of the item in the sequence.
    value : object
        What the work returned.
    """

    index: int
    value: Any


@dataclass(frozen=True)
class Progress:
    """How far an item has come.

    Attributes
    ----------
    index : int
        Position of the item in the sequence.
    text : str
        What the work said.
    """

    index: int
    text: str


@dataclass(frozen=True)
class Lost:
    """An item that cannot be done because its workers died, each time that it was tried.

    Attributes
    ----------
    index : int
        Position of the item in the sequence.
    error : str
        How they died and what to do about it, one line.
    """

    index: int
    error: str


Event: TypeAlias = Done | Progress | Lost
Listener: TypeAlias = Callable[[Progress], None]


class Executor(Protocol):
    """Does work on many items.

    Attributes
    ----------
    name : str
        Canonical string, for example ``"processes"`` or ``"dask,workers=4"``.
    workers : int
        How many items are worked on at once.
    """

    name: str
    workers: int

    def run(self, work: Work, items: Sequence[Any], listen: Listener | None = None) -> Iterator[Event]:
        """Do the work on all items.

        Closing the iterator, or an exception such as KeyboardInterrupt while it waits, ends the workers at once.

        Parameters
        ----------
        work : Work
            What is done to each item.
        items : sequence
            The items.
        listen : callable, optional
            Takes each :class:`Progress` as soon as it is there; it is then not among what is yielded. In this process
            an iterator cannot yield in the middle of an item, so without `listen` the serial executor yields the
            progress of an item only when the item is finished.

        Yields
        ------
        Done, Progress or Lost
            One Done or Lost for each item, in the order in which they are finished.

        Raises
        ------
        Exception
            Whatever the work raises, also in another process. The rest of the items is given up.
        """
