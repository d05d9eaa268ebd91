"""Ctrl-C that waits for the end of a training step, so that a checkpoint holds a state between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Self


class DeferredInterrupt:
    """Context in which the first Ctrl-C takes effect at the next :meth:`check`, and a second one at once.

    Outside the main thread, and if the process ignores Ctrl-C, nothing changes.
    """

    def __init__(self) -> None:
        self.pending = False

    def __enter__(self) -> Self:
        self._handler = signal.getsignal(signal.SIGINT)
        self._active = callable(self._handler) and threading.current_thread() is threading.main_thread()
        if self._active:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._active:
            signal.signal(signal.SIGINT, self._handler)
        if kind is None:
            self.check()

    def check(self) -> None:
        """Let a Ctrl-C that came since the last check take effect.

        Raises
        ------
        KeyboardInterrupt
            Or whatever the handler that was installed before raises.
        """
        if self.pending:
            self._interrupt(signal.SIGINT, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.pending:
            self._interrupt(number, frame)
        self.pending = True

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.pending = False
        if callable(self._handler):
            self._handler(number, frame)
