"""The ``divseg`` command: parse, call, set the exit code. No logic lives here."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from divseg.cli import commands

    commands.app()
