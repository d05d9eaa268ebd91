"""What the user sees while a command works: bars on a terminal, plain lines in a file."""

from __future__ import annotations

import sys
import warnings
from types import TracebackType
from typing import Any, Self

from divseg.errors import printable
from divseg.workflow.progress import training_line


class Show:
    """Progress on standard error; a context manager."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.terminal = sys.stderr.isatty() and not quiet
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._next = 0.0
        self._done = -1

    def __enter__(self) -> Self:
        self._warn = warnings.showwarning
        warnings.showwarning = self._warning  # one line, without the source code
        if self.terminal:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:3.0f} %"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=Console(stderr=True),
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        warnings.showwarning = self._warn
        if self._bars is not None:
            self._bars.stop()

    def _warning(self, message: Warning | str, *_: Any, **__: Any) -> None:
        self.say(f"note: {message}", always=True)

    def say(self, text: str, always: bool = False) -> None:
        """Show a line of text."""
        if self.quiet and not always:
            return
        text = printable(text, lines=True)
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def _bar(self, name: str, completed: float, total: float, note: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, note=note)
        self._bars.update(self._tasks[name], completed=completed, note=note)

    def training(self, row: dict[str, Any]) -> None:
        """Show figures of training."""
        if self.quiet:
            return
        if self._bars is not None:
            self._bar("training", row["progress"], 1.0, f"loss {row['loss']:.3f}  KL {row['kl']:.4f} nats/px")
        elif row["seconds"] >= self._next:
            self._next = row["seconds"] + 10.0
            self.say(training_line(row))

    def images(self, done: int, total: int, now: str) -> None:
        """Show how many images are finished and what is being done."""
        if self.quiet:
            return
        now = printable(now)
        if self._bars is not None:
            self._bar("images", done, total, now)
        elif done != self._done:  # a line for each image, not for each of its steps
            self.say(f"{done} of {total} images done; {now}")
        self._done = done
