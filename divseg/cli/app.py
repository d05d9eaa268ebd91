"""The commands' common root, and how errors become exit codes."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import typer

from divseg.errors import DivsegError

OK, SOME_FAILED, USAGE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
"""Exit codes: all well, some images failed, usage or input error, after Ctrl-C, after SIGTERM."""

app = typer.Typer(
    name="divseg",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help="Segment noisy microscopy images with known uncertainty: posterior samples of the clean image, "
    "an instance mask of every sample, and their consensus with a confidence for each object.",
)


def _version(asked: bool) -> None:
    if asked:
        from divseg import __version__

        typer.echo(f"divseg {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    pass


def guard(function: Callable[..., int | None]) -> Callable[..., None]:
    """Make a command whose errors become one line on standard error and an exit code."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            code = function(*args, **kwargs)
        except DivsegError as error:
            print(f"divseg: {error}", file=sys.stderr)
            code = USAGE
        except KeyboardInterrupt as error:
            code = interrupted(terminated=type(error).__name__ == "Terminated")
        raise typer.Exit(code or OK)

    return guarded


def command(function: Callable[..., int | None]) -> Callable[..., None]:
    """Register a command of ``divseg``, guarded."""
    guarded = guard(function)
    app.command(name=function.__name__.removesuffix("_command").replace("_", "-"))(guarded)
    return guarded


def interrupted(terminated: bool = False) -> int:
    """Say that the work was interrupted, by Ctrl-C or SIGTERM; return the exit code."""
    print("divseg: interrupted; run the same command again to go on", file=sys.stderr)
    # An interrupt that hits code run from a string (dataclasses make their methods so, while modules load) leaves a
    # mark in CPython, by which the process would at its very end kill itself with SIGINT instead of returning our
    # code. Running a string to its end clears the mark.
    exec("pass")
    return TERMINATED if terminated else INTERRUPTED
