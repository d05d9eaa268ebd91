"""How long work tells its caller what it is doing; the command line shows it, notebooks may ignore it."""

from __future__ import annotations

import logging
from typing import Any, Protocol

log = logging.getLogger("divseg")


class Reporter(Protocol):
    """Receives what a run has to say."""

    def say(self, text: str) -> None:
        """Show a line of text."""

    def training(self, row: dict[str, Any]) -> None:
        """Show figures of training: step, progress (0 to 1), loss, kl, seconds."""

    def images(self, done: int, total: int, now: str) -> None:
        """Show how many images are finished and what is being done."""


class LogReporter:
    """Write what is said to the ``divseg`` logger; figures of training at most every 30 seconds."""

    def __init__(self) -> None:
        self._next = 0.0

    def say(self, text: str) -> None:
        """Log a line."""
        log.info("%s", text)

    def training(self, row: dict[str, Any]) -> None:
        """Log figures of training now and then."""
        if row["seconds"] >= self._next:
            self._next = row["seconds"] + 30.0
            log.info(training_line(row))

    def images(self, done: int, total: int, now: str) -> None:
        """Log which image is at work."""
        log.debug("%d of %d images done; %s", done, total, now)


def training_line(row: dict[str, Any]) -> str:
    """One line with step, loss, KL and the time left."""
    share = max(float(row["progress"]), 1e-6)
    text = f"training {100 * share:3.0f} %  step {row['step']}  loss {row['loss']:.3f}  KL {row['kl']:.4f} nats/px"
    if share < 0.01:
        return text  # too early to tell how long it will take
    left = float(row["seconds"]) * (1.0 - share) / share
    return f"{text}  {int(left) // 60}:{int(left) % 60:02d} left"
