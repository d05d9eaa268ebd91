"""A run folder as a value: tables, images and the model, each read when it is asked for."""

from __future__ import annotations

import html
import os
import warnings
from collections.abc import Callable, Sized
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from divseg.errors import ConfigError, DivsegWarning, InputError, brief, counted, one_line
from divseg.io import PixelSize, read, read_labels
from divseg.io.defects import blank
from divseg.io.json_file import read_json
from divseg.io.pixel_size import make_pixel_size
from divseg.results.crops import Crop, load_crop
from divseg.results.files import Files, T, read_channels, read_fractions, read_image, read_samples
from divseg.results.kept import Kept
from divseg.results.layout import RunLayout
from divseg.results.marker import FORMAT, Marker
from divseg.results.reader import TRAINING_LOG, column, read_table, read_training_log, text
from divseg.results.rows import SHOWN
from divseg.results.run_record import check_record
from divseg.specs import parts_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from divseg.consensus import LabelStack
    from divseg.denoise import DivNoising
    from divseg.metrics import Calibration

COMMANDS = ("run", "train", "denoise", "segment", "fuse", "evaluate", "calibrate", "simulate", "ocr")
"""Commands whose folders can be opened."""


class Run:
    """Results of a run folder. Nothing but ``run.json`` is read before it is asked for.

    Made by :func:`open_run`.

    Attributes
    ----------
    layout : RunLayout
        Where the files are.
    record : dict
        What ``run.json`` holds: settings, versions, device, inputs, timings, training.

    Examples
    --------
    >>> import tempfile
    >>> from divseg.workflow.demo import write_demo
    >>> from divseg.workflow.segment import segment_folder
    >>> folder = tempfile.mkdtemp()
    >>> done = segment_folder(write_demo(folder)[0], folder + "/run", "otsu,smooth=2")
    >>> run = open_run(folder + "/run")
    >>> run.command, run.names, run.labels["nuclei"].shape
    ('segment', ['nuclei'], (512, 512))
    """

    def __init__(self, layout: RunLayout, record: dict[str, Any]) -> None:
        self.layout, self.record = layout, record

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.layout.folder

    @property
    def command(self) -> str:
        """Command of divseg that wrote the folder: ``"run"``, ``"fuse"``, ..."""
        return str(self.record["command"])

    @property
    def config(self) -> dict[str, Any]:
        """Settings of the run, in sections."""
        return dict(self.record.get("config") or {})

    def setting(self, section: str, name: str) -> Any:
        """Return a setting, for example ``setting("fusion", "method")``; None if the run does not record it."""
        part = self.config.get(section)
        return part.get(name) if isinstance(part, dict) else None

    @property
    def segmenter(self) -> str | None:
        """Canonical string of the segmenter: the one that was chosen, or that the settings name."""
        return self.record.get("segmenter") or self.setting("segmentation", "segmenter")

    @property
    def segmenters(self) -> list[str]:
        """The segmenters in :attr:`segmenter`, which may be several, one by one."""
        return parts_of(str(self.segmenter)) if self.segmenter is not None else []

    # --- tables

    @cached_property
    def images_table(self) -> pd.DataFrame:
        """``images.csv``: a row for each image."""
        return self._table("images")

    @cached_property
    def objects(self) -> pd.DataFrame:
        """``objects.csv``: a row for each object, with its existence and intervals."""
        return self._table("objects")

    @cached_property
    def measurements(self) -> pd.DataFrame:
        """``measurements.csv``: size, shape and intensity of each object."""
        return self._table("measurements")

    @cached_property
    def alternatives(self) -> pd.DataFrame:
        """``alternatives.csv``: a row for each hypothesis that was not taken."""
        return self._table("alternatives")

    @cached_property
    def review(self) -> pd.DataFrame:
        """``review.csv``: the least certain objects, the first to look at on top."""
        return self._table("review")

    @cached_property
    def tracks(self) -> pd.DataFrame:
        """``tracks.csv``: objects as points by frame, if the run kept them."""
        return self._table("tracks")

    @cached_property
    def scores(self) -> pd.DataFrame:
        """``scores.csv``: scores of each input of the segmenter on each image; empty without ground truth."""
        return self._table("scores")

    @cached_property
    def summary(self) -> pd.DataFrame:
        """``summary.csv``: a row for each input of the segmenter, over all images; empty without ground truth."""
        return self._table("summary")

    @cached_property
    def failures(self) -> pd.DataFrame:
        """``failures.csv``: a row for each image that failed."""
        return self._table("failures")

    @cached_property
    def training_log(self) -> pd.DataFrame:
        """Training log of the model; empty if the run has none."""
        path = self.layout.model / TRAINING_LOG
        return read_training_log(path) if path.is_file() else pd.DataFrame()

    def _table(self, name: str) -> pd.DataFrame:
        path = self.layout.table(name)
        table = read_table(path)
        if len(table) and name != "summary" and "image" not in table:
            raise InputError(f"{path}: the table lacks the column 'image'; restore it or run again")
        return table

    @cached_property
    def names(self) -> list[str]:
        """Names of the finished images, in the order of the input."""
        return text(self.images_table, "image")

    @cached_property
    def right(self) -> NDArray[np.float64]:
        """Of each row of ``objects.csv`` 1 if the object is a true one by the ground truth, 0 if not, NaN without."""
        by_image = {}
        for name in self.names:
            scored = Marker.read(self.layout.marker(name), name).stages.get("score")
            by_image[name] = scored.info.get("right") if scored is not None else None
        right = np.full(len(self.objects), np.nan)
        images = np.array(text(self.objects, "image"))
        for name, hits in by_image.items():
            rows = np.flatnonzero(images == name)
            if isinstance(hits, list) and len(hits) == len(rows):
                right[rows] = [float(hit is True) for hit in hits]
        return right

    @property
    def warnings(self) -> dict[str, list[str]]:
        """Warnings by image; images without a warning are left out."""
        lines = zip(self.names, text(self.images_table, "warnings"), strict=True)
        split = {name: [line.strip() for line in words.splitlines() if line.strip()] for name, words in lines}
        return {name: words for name, words in split.items() if words}

    @cached_property
    def pixel_sizes(self) -> dict[str, PixelSize | None]:
        """Pixel size of every finished image, None if it is not known."""
        table = self.images_table
        y, x, z = (column(table, f"pixel_size_{axis}").tolist() for axis in "yxz")
        rows = zip(self.names, y, x, z, text(table, "pixel_unit"), strict=True)
        return {
            name: make_pixel_size(dy, dx, None if dz != dz else dz, (unit, unit, unit))[0]
            for name, dy, dx, dz, unit in rows
        }

    # --- images

    @property
    def images(self) -> Files[NDArray[Any]]:
        """Noisy images by name, read from the files that the run read."""
        inputs = {row["name"]: row for row in self.record.get("inputs", []) if "path" in row}
        return Files("noisy images", list(inputs), lambda name: Path(inputs[name]["path"]), self._noisy)

    @property
    def denoised(self) -> Files[NDArray[np.float32]]:
        """Denoised images (MMSE: mean of the posterior samples) by name."""
        return self._files("denoised images", self.layout.denoised, read_image, "denoised")

    @property
    def channels(self) -> Files[NDArray[np.float32]]:
        """Other channels that were denoised together with the segmented one, shape (C, Y, X), by name of the image."""
        return self._files("other denoised channels", self.layout.channels, read_channels, "denoised")

    @property
    def std(self) -> Files[NDArray[np.float32]]:
        """Standard deviation of the posterior samples of each pixel, by name of the image."""
        return self._maps("maps of the standard deviation", "std", read_image)

    @property
    def foreground(self) -> Files[NDArray[np.float32]]:
        """Fraction of the samples in which a pixel belongs to an object, by name of the image."""
        return self._maps("maps of the foreground", "foreground", read_fractions)

    @property
    def boundary(self) -> Files[NDArray[np.float32]]:
        """Fraction of the samples in which a pixel lies on the border of an object, by name of the image."""
        return self._maps("maps of the boundary", "boundary", read_fractions)

    @property
    def samples(self) -> Files[NDArray[np.float32]]:
        """Posterior samples that the run wrote, shape (S, Y, X), by name of the image.

        Of channels that were denoised together (S, C, Y, X), the segmented one first.
        """
        return self._files("samples", self.layout.samples, read_samples, "samples")

    @property
    def crops(self) -> Files[Crop]:
        """Parts of the first posterior samples, by name of the image."""
        return self._files("parts of samples", self.layout.crop, load_crop, "crops")

    @property
    def stacks(self) -> Files[LabelStack]:
        """Label images of all samples by name of the image; ready to be fused again or assessed."""
        from divseg.consensus import LabelStack

        return self._files("label stacks", self.layout.stack, LabelStack.load, "stacks")

    @property
    def labels(self) -> Files[NDArray[np.signedinteger[Any]]]:
        """Label images by name, 0 = background."""
        return self._files("label images", self.layout.labels, read_labels)

    @cached_property
    def model(self) -> DivNoising:
        """The model of the run, or that of ``divseg train``."""
        from divseg.denoise import DivNoising

        return DivNoising.load(self.layout.model)

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration that ``divseg calibrate`` made."""
        from divseg.metrics import Calibration

        return Calibration.load(self.layout.calibration)

    def _files(self, kind: str, path: Callable[[str], Path], load: Callable[[Path], T], keep: str = "") -> Files[T]:
        return Files(kind, self.names, path, lambda name: load(path(name)), "" if self._kept(keep) else keep)

    def _maps(self, kind: str, name: str, load: Callable[[Path], T]) -> Files[T]:
        return self._files(kind, lambda image: self.layout.map(image, name), load, name)

    def _kept(self, kind: str) -> bool:
        """Tell whether the settings of the run keep something; True if the command has no such setting."""
        keep = self.setting("output", "keep")
        try:
            return not isinstance(keep, list) or kind in Kept.of(str(name) for name in keep)
        except ConfigError:  # of a damaged record
            return True

    def _word(self, section: str, name: str) -> Any:
        """Return a setting that is a word or a number; InputError for anything else, of a damaged record."""
        value = self.setting(section, name)
        if value is None or isinstance(value, str | int | float):
            return value
        raise InputError(
            f"{self.folder / 'run.json'}: its setting {section}.{name}={brief(value)} is not a word or a number; run "
            "again"
        )

    def _noisy(self, name: str) -> NDArray[Any]:
        row = next(row for row in self.record["inputs"] if row["name"] == name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DivsegWarning)  # the run has shown it
            settings = {name: self._word("data", name) for name in ("axes", "channel")}
            depth = next((name for name in ("volume", "planes") if self.setting("data", name)), None)
            images = read(
                row["path"],
                **settings,
                depth=depth or self._word("data", "project"),
                invalid=self._word("data", "invalid") or "none",
            )
        for ref in images.refs:
            if [list(place) for place in ref.plane] == row.get("plane", []):
                image = ref.load(check=False)
                return blank(image.data, image.valid)
        raise InputError(f"{row['path']}: the file has changed, it does not hold {name} any more; run again")

    # --- what it looks like

    def plot(self, name: str, ax: Axes | None = None) -> Axes:
        """Draw the denoised image with the outline of each object in the colour of its existence.

        Parameters
        ----------
        name : str
            Image; its labels must be 2-D. Without a denoised image the outlines are on black.
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new pyplot figure with a colour bar by default.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        InputError
            If there is no such image, or it is 3-D.
        """
        from divseg.results.overlay import confidence_map, draw, existence_colours, grey_limits, to_grey

        labels = self.labels[name]
        if labels.ndim != 2:
            raise InputError(
                f"{name}: labels of shape {labels.shape} cannot be drawn; show a plane of .labels[{name!r}]"
            )
        grey = np.zeros(labels.shape, np.uint8)
        if name in self.denoised:
            image = self.denoised[name]
            grey = to_grey(image, grey_limits(image))
        factor = max(1, 800 // max(labels.shape))
        objects = self.objects[np.array(text(self.objects, "image")) == name]
        rgb = draw(
            grey, labels, existence_colours(labels, objects), factor=factor, width=max(1, factor // 2), halo=True
        )
        if ax is None:
            import matplotlib.pyplot as plt
            from matplotlib.cm import ScalarMappable

            figure, ax = plt.subplots(layout="constrained")
            figure.colorbar(ScalarMappable(cmap=confidence_map()), ax=ax, label="existence (fraction of samples)")
        height, width = labels.shape
        ax.imshow(rgb, interpolation="nearest", extent=(-0.5, width - 0.5, height - 0.5, -0.5))
        ax.set_title(name, parse_math=False)
        ax.set_axis_off()
        return ax

    def _facts(self) -> list[str]:
        things: dict[str, Sized] = {"image": self.names, "object": self.objects, "failure": self.failures}
        counts = [counted(len(rows), thing) for thing, rows in things.items()]
        return counts + ([f"{counted(len(self.warnings), 'image')} with warnings"] if self.warnings else [])

    def __repr__(self) -> str:
        """Tell what the folder holds."""
        return f"<divseg {self.command} in {self.folder}: {', '.join(self._facts())}>"

    def _repr_html_(self) -> str:
        """Show what the folder holds, and the scores if there are any, in a notebook."""
        head = f"<p><b>divseg {html.escape(self.command)}</b> in {html.escape(str(self.folder))}: "
        columns = [name for name in ("input", *SHOWN) if name in self.summary]
        scores = self.summary[columns].to_html(index=False, float_format="{:.3f}".format) if columns else ""
        return head + f"{', '.join(self._facts())}</p>{scores}"


def open_run(folder: str | os.PathLike[str]) -> Run:
    """Open the results of ``divseg run``, or of another command that writes to a folder.

    Parameters
    ----------
    folder : path
        Run folder.

    Returns
    -------
    Run
        Tables as data frames (``objects``, ``measurements``, ``images_table``, ``scores``, ``summary``, ``failures``),
        images as mappings from names to arrays (``images``, ``denoised``, ``std``, ``foreground``, ``boundary``,
        ``samples``, ``labels``), the ``model``, the ``calibration``, and ``plot``.

    Raises
    ------
    InputError
        If the folder is not a run folder, or was written by another version or another command.

    Examples
    --------
    >>> import tempfile
    >>> from divseg.workflow.demo import write_demo
    >>> from divseg.workflow.segment import segment_folder
    >>> folder = tempfile.mkdtemp()
    >>> done = segment_folder(write_demo(folder)[0], folder + "/run", "otsu,smooth=2")
    >>> run = open_run(folder + "/run")
    >>> bool(len(run.objects) == run.labels["nuclei"].max())
    True
    """
    layout = RunLayout(Path(folder).expanduser())
    if not layout.folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; give the folder that a run wrote its results to")
    if not layout.run_json.is_file():
        raise InputError(f"{folder}: this is not a run folder (it has no run.json); give what was --out of a run")
    try:
        record = check_record(read_json(layout.run_json))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{layout.run_json}: it cannot be read ({one_line(error)}); restore it or run again"
        ) from error
    if record.get("format") != FORMAT:
        version = record.get("divseg")
        writer = f"divseg {version}" if version else "another version of divseg"
        raise InputError(
            f"{folder}: this run folder was written by {writer} in a format that cannot be read; "
            "run again into a new folder"
        )
    if record.get("command") not in COMMANDS:
        raise InputError(
            f"{folder}: this folder holds the results of divseg {record.get('command')}; "
            f"give one of divseg {', '.join(COMMANDS)}"
        )
    return Run(RunLayout(layout.folder, record["command"]), record)
