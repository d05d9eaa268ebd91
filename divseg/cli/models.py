"""``divseg models``: the StarDist models that are known by name."""

from __future__ import annotations

from typing import Annotated

import typer

from divseg.cli.app import guard

models = typer.Typer(no_args_is_help=True, help="StarDist models by name: list them, fetch one, print its folder.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name that `divseg models list` shows.")]


@models.command("list")
@guard
def list_command() -> int:
    """List the models and their folders on this computer."""
    from divseg.segment.stardist.models import REGISTRY, location

    for entry in REGISTRY:
        source = entry.url or "ships with divseg"
        print(f"{entry.name}: {entry.ndim}-D, {entry.about}")
        print(f"    {entry.licence}, {source}")
        print(f"    {location(entry)}")
    return 0


@models.command("fetch")
@guard
def fetch_command(name: Name) -> int:
    """Fetch a model, so that it can be used without a network."""
    from divseg.cli.show import Show
    from divseg.segment.stardist.models import model_folder

    with Show():
        folder = model_folder(name)
    print(folder)
    return 0


@models.command("path")
@guard
def path_command(name: Name) -> int:
    """Print the folder of a model that is on this computer."""
    from divseg.segment.stardist.models import local_folder

    print(local_folder(name))
    return 0
