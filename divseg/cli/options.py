"""Options that several commands share: those of settings are made from the settings themselves."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from divseg.cli.app import OK, SOME_FAILED, USAGE
from divseg.config import PRESETS, describe_setting
from divseg.errors import ConfigError, printable

if TYPE_CHECKING:
    from divseg.workflow.engine import Result
    from divseg.workflow.sharing import Options

Config = Annotated[
    Path | None,
    typer.Option(help="TOML file with settings; options given here win over it.", show_default=False),
]
AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-code", help="Accept code of its own (segmenter python:...) from a file; whoever wrote it can do all."
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        help=f"Settings that go together: {', '.join(PRESETS)}; fast takes minutes on two cores, best an hour; other "
        "options win.",
        show_default=False,
    ),
]
Model = Annotated[Path | None, typer.Option(help="Use this model folder instead of training.", show_default=False)]
Truth = Annotated[
    Path | None, typer.Option(help="Folder of ground-truth label images, for scores.", show_default=False)
]
Out = Annotated[Path | None, typer.Option(help="Where results go.", show_default=False)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show errors and warnings only.")]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Check the input, say what would be done and how long it may take, write nothing."),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        help="Images that are worked on at the same time, each by its own process. [default: 1, four for each GPU]",
        show_default=False,
    ),
]
ExecutorName = Annotated[
    str | None,
    typer.Option(
        "--executor",
        help="serial, processes, or dask with workers=N, address=... or scheduler_file=...; results stay the same.",
        show_default=False,
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        help="I/N: work on part I of N alone, for job arrays; divseg finalize then makes tables and report.",
        show_default=False,
    ),
]
Redo = Annotated[
    list[str] | None,
    typer.Option(help="Stage that is done again, with those that depend on it; may be repeated.", show_default=False),
]


DATA = ("axes", "channel", "volume", "planes", "project", "invalid")
"""Settings that say which pixels of the files are worked on."""


def setting(name: str) -> Any:
    """Return the type of the option that fills a setting."""
    kind, default, meaning = describe_setting(name)
    given = [part for part in typing.get_args(kind) if part is not type(None)]
    base = given[0] if isinstance(kind, types.UnionType) else kind
    if typing.get_origin(base) in (tuple, typing.Literal):
        base = str
    shown = (
        "" if default is None or isinstance(default, bool) or default == "" else f" [default: {_text(name, default)}]"
    )
    flags = (f"--{name.replace('_', '-')}",) if base is bool else ()
    return Annotated[base | None, typer.Option(*flags, help=meaning + shown, show_default=False)]


def _text(name: str, value: Any) -> str:
    if isinstance(value, tuple):
        return ("|" if name == "compare" else ",").join(
            f"{part:g}" if isinstance(part, float) else part for part in value
        )
    return str(value)


Axes, Channel, Planes, Device = setting("axes"), setting("channel"), setting("planes"), setting("device")


def with_settings(*names: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command an option for each of these settings, and the mapping of those that were given as `settings`."""

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        own = inspect.signature(function, eval_str=True)
        kept = [parameter for parameter in own.parameters.values() if parameter.name != "settings"]
        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=setting(name))
            for name in names
        ]

        def command(**arguments: Any) -> int:
            settings = {name: arguments.pop(name) for name in names}
            return function(**arguments, settings={n: v for n, v in settings.items() if v is not None})

        keyword = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in kept]
        last = [parameter for parameter in keyword if parameter.name in ("quiet", "dry_run")]
        first = [parameter for parameter in keyword if parameter not in last]
        # typer reads the signature; mypy does not know that functions may have one of their own
        command.__signature__ = own.replace(parameters=[*first, *added, *last])  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in [*first, *added, *last]} | {"return": int}
        command.__name__, command.__doc__ = function.__name__, function.__doc__
        return command

    return decorate


def options(jobs: int | None, executor: str | None, shard: str | None, redo: list[str] | None) -> dict[str, Any]:
    """Return the keywords of :func:`divseg.run` that say how work is shared out.

    Raises
    ------
    ConfigError
        A shard that is not I/N with I from 1 to N.
    """
    part: tuple[int, int] | None = None
    if shard is not None:
        first, _, of = shard.partition("/")
        if not (first.isdigit() and of.isdigit() and 1 <= int(first) <= int(of)):
            raise ConfigError(f"--shard {shard}: write I/N with I from 1 to N, such as 3/8")
        part = (int(first), int(of))
    return {"jobs": jobs, "executor": executor, "shard": part, "redo": tuple(redo or ())}


def shared_out(jobs: int | None, executor: str | None, shard: str | None, redo: list[str] | None) -> Options:
    """Return how the work is shared out; errors as for :func:`options`."""
    from divseg.workflow.sharing import Options

    return Options(**options(jobs, executor, shard, redo))


def end(result: Result) -> int:
    """Print what came of the work; return the exit code: that of wrong use if nothing could be worked on."""
    if result.text:
        print(printable(result.text, lines=True))
    if not result.n_failed:
        return OK
    return SOME_FAILED if result.n_images else USAGE
