"""The ``divseg`` command: parse, call, set the exit code. No logic lives here."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from divseg.cli import commands

        commands.app()
    except KeyboardInterrupt:  # before or after a command's own work
        from divseg.cli.app import interrupted

        sys.exit(interrupted())
