"""Another checkout of divseg at work, in a process of its own: for comparisons with a former version, turn by turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[2]
"""The checkout that this benchmark belongs to."""


class Checkout:
    """A process that does jobs with the code of a checkout, one at a time.

    Parameters
    ----------
    folder : Path
        The checkout.
    worker : str
        Script beside this file. It reads a job of JSON from each line of standard input, and answers with a line of two
        numbers: by the clock, and by processor time, which other programs on the machine disturb less.
    """

    def __init__(self, folder: Path, worker: str) -> None:
        script, pipe = Path(__file__).with_name(worker), subprocess.PIPE
        environment = {**os.environ, "PYTHONPATH": str(folder.resolve())}
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, str(script)], stdin=pipe, stdout=pipe, text=True, env=environment
        )

    def ask(self, **job: Any) -> tuple[float, float]:
        """Give a job and wait for the answer.

        Raises
        ------
        SystemExit
            If the process has ended.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise SystemExit("the worker has no pipes")
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().split()
        if len(answer) != 2:
            raise SystemExit(f"{self.folder} could not do {job}: see above")
        return float(answer[0]), float(answer[1])

    def end(self) -> None:
        """End the process."""
        self._process.communicate()
