"""Ctrl-C that waits for the end of a training step, so that a checkpoint holds a state between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class DeferredInterrupt:
    """Context in which the first Ctrl-C takes effect at the next :meth:`check`, and a second one at once.

    The same holds for SIGTERM if there is a handler for it. Outside the main thread, and for signals without a
    handler, nothing changes.
    """

    def __init__(self) -> None:
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._pending: int | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):
                    self._handlers[number] = handler
                    signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if kind is None:
            self.check()

    def check(self) -> None:
        """Let a signal that came since the last check take effect: call the handler that was there before.

        Raises
        ------
        KeyboardInterrupt
            Or what else that handler raises.
        """
        if self._pending is not None:
            number, self._pending = self._pending, None
            self._handlers[number](number, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._pending is None:
            self._pending = number
        else:
            self._pending = None
            self._handlers[number](number, frame)
