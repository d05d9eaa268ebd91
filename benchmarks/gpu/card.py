"""The device that is measured, how large the work is, and a table that survives whatever goes wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import torch

from benchmarks.record import write_result

Row: TypeAlias = tuple[str, str, str]
"""What was measured, the figure, and the figure that is asked for."""


@dataclass(frozen=True)
class Card:
    """A device and the size of what it is given to do.

    Attributes
    ----------
    device : torch.device
        Where the work is done.
    minutes : float
        Time for everything.
    small : bool
        Small images and few samples, to see that everything works.
    began : float
        Beginning, by the monotonic clock.
    """

    device: torch.device
    minutes: float
    small: bool
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return 60.0 * self.minutes - (time.monotonic() - self.began)

    def side(self, pixels: int) -> int:
        """Return the side of an image: an eighth of it if all is small."""
        return max(64, pixels // 8) if self.small else pixels

    def count(self, number: int) -> int:
        """Return a number of samples or images: an eighth of it if all is small."""
        return max(2, number // 8) if self.small else number

    def wait(self) -> None:
        """Wait until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object], rounds: int = 3) -> float:
        """Return the shortest time of a call, the device's work included, after one that is not counted."""
        times = []
        for _ in range(rounds + 1):
            self.wait()
            start = time.perf_counter()
            work()
            self.wait()
            times.append(time.perf_counter() - start)
        return min(times[1:])


Part: TypeAlias = Callable[[Card], Iterator[Row]]


def measure(card: Card, parts: dict[str, Part], command: str, name: str) -> None:
    """Do one part after the other and write the table after each; a part that fails is a row, and stops nothing."""
    rows: list[Row] = []
    for part, work in parts.items():
        start = time.monotonic()
        try:
            if card.left <= 0:
                rows.append((part, "left out: the time is over", ""))
            else:
                for row in work(card):
                    rows.append(row)
                    print(" | ".join(row), flush=True)
        except Exception as error:
            rows.append((part, f"failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}", ""))
            print(" | ".join(rows[-1]), flush=True)
        rows.append((f"*{part}, whole part*", f"{time.monotonic() - start:.0f} s", ""))
        lines = ["| what | measured | asked |", "| --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in rows)]
        write_result(name, f"Figures of a GPU (device {card.device})", command, "\n".join(lines))
