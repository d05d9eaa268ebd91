"""How work tells its caller what it is doing; the command line shows it, notebooks may ignore it."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from divseg.errors import printable
from divseg.io.atomic import output_error

log = logging.getLogger("divseg")


class Reporter(Protocol):
    """Receives what is done."""

    def say(self, text: str) -> None:
        """Show a line of text."""

    def training(self, row: dict[str, Any]) -> None:
        """Show figures of training: step, progress (0 to 1), loss, kl, seconds."""

    def images(self, done: int, total: int, now: str) -> None:
        """Show how many images are finished and what is being done."""


class LogReporter:
    """Write progress to the ``divseg`` logger; figures of training at most every 30 seconds."""

    def __init__(self) -> None:
        self._next = 0.0

    def say(self, text: str) -> None:
        """Log a line."""
        log.info("%s", printable(text))

    def training(self, row: dict[str, Any]) -> None:
        """Log figures of training now and then."""
        if row["seconds"] >= self._next:
            self._next = row["seconds"] + 30.0
            log.info(training_line(row))

    def images(self, done: int, total: int, now: str) -> None:
        """Log which image is at work."""
        log.debug("%d of %d images done; %s", done, total, now)


class _Both:
    """A reporter that also writes to the log."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter, self.file = reporter, LogReporter()

    def say(self, text: str) -> None:
        self.reporter.say(text)
        if not isinstance(self.reporter, LogReporter):
            self.file.say(text)

    def training(self, row: dict[str, Any]) -> None:
        self.reporter.training(row)
        if not isinstance(self.reporter, LogReporter):
            self.file.training(row)

    def images(self, done: int, total: int, now: str) -> None:
        self.reporter.images(done, total, now)


class _LogFile(logging.FileHandler):
    """A log file; a disk that is full stops the work with one line instead of a trace for each line of the log."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise output_error(self.baseFilename, error) from error
        super().handleError(record)


@contextmanager
def logged(path: Path, reporter: Reporter) -> Iterator[Reporter]:
    """Write what the reporter is told to a log file as well.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    try:
        handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise output_error(path, error) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield _Both(reporter)
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        with suppress(OSError):  # what could not be written was told
            handler.close()


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM), as cluster schedulers do; handled as Ctrl-C is."""


_asked_to_end = threading.Event()


def end_if_asked() -> None:
    """Raise Terminated if SIGTERM came while code ran that swallows exceptions, such as a callback of a compiler."""
    if _asked_to_end.is_set():
        raise Terminated


@contextmanager
def terminable() -> Iterator[None]:
    """Turn SIGTERM into :class:`Terminated`, in the main thread; elsewhere signals are not ours."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: Any) -> None:
        _asked_to_end.set()
        raise Terminated

    earlier = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)
        _asked_to_end.clear()


def training_line(row: dict[str, Any]) -> str:
    """One line with step, loss, KL and the time left."""
    fraction = max(float(row["progress"]), 1e-6)
    text = f"training {100 * fraction:3.0f} %  step {row['step']}  loss {row['loss']:.3f}  KL {row['kl']:.4f} nats/px"
    if fraction < 0.01:
        return text  # too early to tell how long it will take
    left = float(row["seconds"]) * (1.0 - fraction) / fraction
    return f"{text}  {int(left) // 60}:{int(left) % 60:02d} left"
