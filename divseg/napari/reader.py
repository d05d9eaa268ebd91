"""What napari's menus call: run folders and sample data as layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from divseg.napari.layers import LayerData, first_image, image_layers
from divseg.results.open_run import open_run

READABLE = ("run", "fuse", "segment")
"""Commands of divseg whose folders hold label images."""


def get_reader(path: str | list[str]) -> Callable[[Any], list[LayerData]] | None:
    """Return the reader of a run folder, or of the ``run.json`` in it; None for anything else.

    Parameters
    ----------
    path : str or list of str
        What the user opens.
    """
    if not isinstance(path, str):
        return None
    folder = Path(path)
    folder = folder.parent if folder.name == "run.json" else folder
    return read_folder if (folder / "run.json").is_file() else None


def read_folder(path: str) -> list[LayerData]:
    """Return the layers of the image with the least certain object; the review dock goes through all images.

    Parameters
    ----------
    path : str
        Run folder, or the ``run.json`` in it.

    Raises
    ------
    InputError
        It is not a run folder, or not one with label images.
    """
    from divseg.errors import InputError

    folder = Path(path)
    run = open_run(folder.parent if folder.name == "run.json" else folder)
    if run.command not in READABLE:
        raise InputError(
            f"{run.folder} holds the results of divseg {run.command}, which have no label images; "
            f"open a folder of divseg {', '.join(READABLE)}"
        )
    return image_layers(run, first_image(run))


def nuclei() -> list[LayerData]:
    """Return the noisy image of ``divseg demo`` and its ground truth."""
    from divseg.results.overlay import grey_limits
    from divseg.workflow.demo import demo_image

    noisy, truth, _ = demo_image()
    return [
        (noisy, {"name": "nuclei, noisy", "contrast_limits": grey_limits(noisy)}, "image"),
        (truth.astype("int32"), {"name": "nuclei, truth", "visible": False}, "labels"),
    ]
