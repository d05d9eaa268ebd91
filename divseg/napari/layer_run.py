"""A run on the pixels of a layer: files, progress, cancelling, results as layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divseg.errors import InputError
from divseg.io import PixelSize, read
from divseg.io.pixel_size import make_pixel_size
from divseg.io.sources import stem
from divseg.io.write import write_tiff
from divseg.napari.layers import LayerData, image_layers, stack_layers
from divseg.results.open_run import Run
from divseg.results.reader import text
from divseg.workflow.progress import training_line
from divseg.workflow.run import run

IMAGES, RUN = "images", "run"
"""Folders below the one that the user chooses."""

_KEPT_TYPES = (np.uint8, np.uint16, np.float32)


class Cancelled(KeyboardInterrupt):
    """The user cancelled; as after Ctrl-C, what is finished is kept, and the same run goes on from there."""


class Progress:
    """A :class:`divseg.workflow.progress.Reporter` that shows where the work is, and ends it when it is told to.

    Parameters
    ----------
    show : callable
        Called with a line of text and the fraction that is done, from 0 to 1; None if that is not known.
    """

    def __init__(self, show: Callable[[str, float | None], None]) -> None:
        self._show, self._cancelled = show, False

    def cancel(self) -> None:
        """End the work at the next step; may be called from any thread."""
        self._cancelled = True

    def say(self, text: str) -> None:
        """Show a line of text."""
        self._tell(text, None)

    def training(self, row: dict[str, Any]) -> None:
        """Show figures of training."""
        self._tell(training_line(row), float(row["progress"]))

    def images(self, done: int, total: int, now: str) -> None:
        """Show how many images are finished and what is being done."""
        self._tell(now, done / max(total, 1))

    def _tell(self, text: str, fraction: float | None) -> None:
        if self._cancelled:
            raise Cancelled
        self._show(text, fraction)


@dataclass(frozen=True)
class LayerRun:
    """What to run on, and how.

    Attributes
    ----------
    pixels : array, shape (Y, X) or (T, Y, X)
        Noisy image, or images of one kind.
    name : str
        Name of the layer.
    folder : Path
        Where images and results go: ``images/`` and ``run/`` below it.
    pixel_size : PixelSize, optional
        Pixel size.
    model : Path, optional
        Model folder, or a run folder with one; without it a model is trained.
    settings : dict
        Settings by name, as for :func:`divseg.run`.
    """

    pixels: NDArray[Any]
    name: str
    folder: Path
    pixel_size: PixelSize | None = None
    model: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise InputError for pixels that are not those of images."""
        if self.pixels.ndim not in (2, 3) or self.pixels.dtype.kind not in "uif":
            raise InputError(
                f"layer {self.name!r}: an array of {self.pixels.dtype} with shape {self.pixels.shape}; choose a grey "
                "image (Y, X), or a stack of images (T, Y, X)"
            )

    def do(self, progress: Progress) -> list[LayerData] | None:
        """Write the images, run on them, and return the results as layers; None if it was cancelled.

        Raises
        ------
        DivsegError
            As :func:`divseg.run`.
        """
        try:
            names = self._write()
            chosen = None if self.model is None else model_folder(self.model)
            done = run(self.folder / IMAGES, self.folder / RUN, model=chosen, reporter=progress, **self.settings).open()
        except Cancelled:
            return None
        return results(done, names, stack=self.pixels.ndim == 3)

    def _write(self) -> list[str]:
        """Write the images and return their names; files that hold the same pixels stay as they are."""
        name = "".join(c if c.isalnum() or c in "-_" else "_" for c in self.name) or "image"
        planes = self.pixels if self.pixels.ndim == 3 else self.pixels[None]
        files = [
            self.folder / IMAGES / (f"{name}_t{k:0{len(str(len(planes)))}d}.tif" if len(planes) > 1 else f"{name}.tif")
            for k in range(len(planes))
        ]
        for file, plane in zip(files, planes, strict=True):
            pixels = np.asarray(plane, None if plane.dtype in _KEPT_TYPES else np.float32)
            if not file.is_file() or not np.array_equal(read(file)[0].data, pixels):
                write_tiff(file, np.ascontiguousarray(pixels), "YX", self.pixel_size, None)
        strange = sorted(set((self.folder / IMAGES).iterdir()) - set(files))
        if strange:
            raise InputError(f"{strange[0]}: the folder holds other images than this layer's; choose a new folder")
        return [stem(file) for file in files]


def results(done: Run, names: Sequence[str], *, stack: bool) -> list[LayerData]:
    """Return the results of a run as layers, without the noisy images.

    Raises
    ------
    InputError
        An image failed.
    """
    failed = [name for name in names if name not in done.names]
    if failed:
        reasons = dict(zip(text(done.failures, "image"), text(done.failures, "error"), strict=True))
        raise InputError(f"{failed[0]}: {reasons.get(failed[0], 'it was not finished')}")
    if stack:
        return stack_layers(done, list(names))
    return [layer for layer in image_layers(done, names[0]) if not layer[1]["name"].startswith("noisy ")]


def model_folder(path: Path) -> Path:
    """Return the model folder that a run folder holds, or the path itself."""
    return path / "model" if (path / "model").is_dir() else path


def layer_pixel_size(scale: Sequence[float], units: Sequence[Any]) -> PixelSize | None:
    """Return the pixel size that scale and units of a layer tell; None if the units are pixels.

    Parameters
    ----------
    scale : sequence of float
        Step along each axis.
    units : sequence
        Unit of each axis, such as those of pint.
    """
    y, x = (float(step) for step in scale[-2:])
    unit = str(units[-1])
    return make_pixel_size(y, x, None, (unit, unit, unit))[0]
