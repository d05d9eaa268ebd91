"""What happens after Ctrl-C."""

from __future__ import annotations

import sys

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


def interrupted() -> int:
    """Say that the user interrupted the work; return the exit code."""
    print("divseg: interrupted; run the same command again to go on", file=sys.stderr)
    # An interrupt that hits code run from a string (dataclasses make their methods so, while modules load) leaves a
    # mark in CPython, by which the process would at its very end kill itself with SIGINT instead of returning our
    # code. Running a string to its end clears the mark.
    exec("pass")
    return INTERRUPTED
