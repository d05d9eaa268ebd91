"""Where everything lies in a run folder."""

from __future__ import annotations

from pathlib import Path

from divseg.errors import InputError
from divseg.metrics.calibration import CALIBRATION

MAPS = ("std", "foreground", "boundary", "low", "high", "mode")
OUTLINES = {"rois": "zip", "geojson": "geojson"}
"""Endings of the files of outlines."""

TABLES = (
    "objects",
    "measurements",
    "alternatives",
    "review",
    "tracks",
    "words",
    "images",
    "scores",
    "summary",
    "failures",
)
"""Tables of the whole run."""


class RunLayout:
    """Names of the files in a run folder.

    ::

        labels/<name>.tif      label images         objects.csv  images.csv  scores.csv  summary.csv
        denoised/<name>.tif    denoised images      failures.csv run.json    run.log     report.html
        channels/<name>.tif    other channels that were denoised together with the segmented one
        maps/<name>_std.tif    and _foreground, _boundary; of divseg denoise _low, _high, _mode
        samples/<name>.tif     the first samples    crops/<name>.npz  a part of them    plots/  model/
        stacks/<name>.npz      label images of all samples   intensities/<name>.npz  of their objects
        rivals/<name>.npz      truth, and label images of noisy image, smoothing and MMSE, if there is truth
        objects/<name>.csv     objects of one image units/<name>.json  which stages of an image are done
        measurements/<name>.csv  size, shape and intensity    measurements.csv
        alternatives/<name>.csv  hypotheses that were not taken    alternatives.csv
        rois/<name>.zip, geojson/<name>.geojson  outlines    review.csv    tracks.csv
        zarr/<name>.zarr/      denoised image and labels as OME-Zarr
        text/<name>.txt, words/<name>.csv  of divseg ocr    words.csv
        calibration.json       of divseg calibrate
        simulated/             simulated images, and the calibration made with them: a run folder of its own

    Parameters
    ----------
    folder : Path
        The folder.
    command : str
        The command of ``divseg`` that keeps its results there; the folder of ``train`` is the model folder itself.
    """

    def __init__(self, folder: Path, command: str = "run") -> None:
        self.folder = folder
        self.command = command
        self.run_json = folder / "run.json"
        self.log = folder / "run.log"
        self.report = folder / "report.html"
        self.plots = folder / "plots"
        self.model = folder if command == "train" else folder / "model"
        self.stages_json = folder / "stages.json"
        self.calibration = folder / CALIBRATION
        self.simulated = folder / "simulated"

    def labels(self, name: str) -> Path:
        """Return the file of the consensus labels of an image."""
        return self.folder / "labels" / f"{check_name(name)}.tif"

    def series(self, name: str) -> Path:
        """Return the file of the consensus labels of all frames of a series."""
        return self.folder / "series" / f"{check_name(name)}.tif"

    def denoised(self, name: str) -> Path:
        """Return the file of a denoised image."""
        return self.folder / "denoised" / f"{check_name(name)}.tif"

    def channels(self, name: str) -> Path:
        """Return the file of the denoised other channels of an image."""
        return self.folder / "channels" / f"{check_name(name)}.tif"

    def map(self, name: str, kind: str) -> Path:
        """Return the file of a map of an image: one of :data:`MAPS`."""
        if kind not in MAPS:
            raise InputError(f"there is no map {kind!r}; choose one of {', '.join(MAPS)}")
        return self.folder / "maps" / f"{check_name(name)}_{kind}.tif"

    def samples(self, name: str) -> Path:
        """Return the file of the samples of an image."""
        return self.folder / "samples" / f"{check_name(name)}.tif"

    def crop(self, name: str) -> Path:
        """Return the file of a part of the first samples of an image."""
        return self.folder / "crops" / f"{check_name(name)}.npz"

    def stack(self, name: str) -> Path:
        """Return the file of the label images of all samples of an image."""
        return self.folder / "stacks" / f"{check_name(name)}.npz"

    def intensities(self, name: str) -> Path:
        """Return the file of the intensities of all objects of all samples of an image."""
        return self.folder / "intensities" / f"{check_name(name)}.npz"

    def rivals(self, name: str) -> Path:
        """Return the file of truth and of the label images that the consensus is compared with."""
        return self.folder / "rivals" / f"{check_name(name)}.npz"

    def objects(self, name: str) -> Path:
        """Return the file of the object table of one image."""
        return self.folder / "objects" / f"{check_name(name)}.csv"

    def measurements(self, name: str) -> Path:
        """Return the file of the measurements of one image."""
        return self.folder / "measurements" / f"{check_name(name)}.csv"

    def outlines(self, name: str, kind: str) -> Path:
        """Return the file of the outlines of one image: ``"rois"`` for ImageJ, ``"geojson"`` for QuPath."""
        return self.folder / kind / f"{check_name(name)}.{OUTLINES[kind]}"

    def zarr(self, name: str) -> Path:
        """Return the folder of the OME-Zarr of one image."""
        return self.folder / "zarr" / f"{check_name(name)}.zarr"

    def alternatives(self, name: str) -> Path:
        """Return the file of the table of hypotheses of one image that were not taken."""
        return self.folder / "alternatives" / f"{check_name(name)}.csv"

    def text(self, name: str) -> Path:
        """Return the file of the text of one image."""
        return self.folder / "text" / f"{check_name(name)}.txt"

    def words(self, name: str) -> Path:
        """Return the file of the table of words of one image."""
        return self.folder / "words" / f"{check_name(name)}.csv"

    def marker(self, name: str) -> Path:
        """Return the file that says which stages of an image are done."""
        return self.folder / "units" / f"{check_name(name)}.json"

    def table(self, name: str) -> Path:
        """Return the file of a table: one of :data:`TABLES`."""
        if name not in TABLES:
            raise InputError(f"there is no table {name!r}; choose one of {', '.join(TABLES)}")
        return self.folder / f"{name}.csv"


def check_name(name: str) -> str:
    """Return the name of an image; it may begin with those of folders, as in ``A01/field_0``.

    Raises
    ------
    InputError
        If it cannot be that of a file.
    """
    if any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name or "\0" in name:
        raise InputError(f"image name {name!r} cannot be that of a file; give it another name")
    return name
