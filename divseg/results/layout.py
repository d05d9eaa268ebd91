"""Where everything lies in the folder of a run."""

from __future__ import annotations

from pathlib import Path

from divseg.errors import InputError

MAPS = ("std", "foreground", "boundary", "low", "high", "mode")
TABLES = ("objects", "alternatives", "images", "scores", "summary", "failures")


class RunLayout:
    """Names of the files in a run's folder.

    ::

        labels/<name>.tif      label images         objects.csv  images.csv  scores.csv  summary.csv
        denoised/<name>.tif    denoised images      failures.csv run.json    run.log     report.html
        maps/<name>_std.tif    and _foreground, _boundary; of divseg denoise _low, _high, _mode
        samples/<name>.tif     a few samples        plots/  model/
        objects/<name>.csv     objects of one image units/<name>.json  markers of finished images
        alternatives/<name>.csv  hypotheses that lost to them    alternatives.csv

    Parameters
    ----------
    folder : Path
        The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def run_json(self) -> Path:
        """Record of the run: configuration, versions, device, seeds, timings."""
        return self.folder / "run.json"

    @property
    def log(self) -> Path:
        """Log of the run."""
        return self.folder / "run.log"

    @property
    def report(self) -> Path:
        """The report."""
        return self.folder / "report.html"

    @property
    def plots(self) -> Path:
        """Folder of plots."""
        return self.folder / "plots"

    @property
    def model(self) -> Path:
        """Folder of the model."""
        return self.folder / "model"

    def labels(self, name: str) -> Path:
        """Return the file of an image's consensus labels."""
        return self.folder / "labels" / f"{check_name(name)}.tif"

    def denoised(self, name: str) -> Path:
        """Return the file of a denoised image."""
        return self.folder / "denoised" / f"{check_name(name)}.tif"

    def map(self, name: str, kind: str) -> Path:
        """Return the file of a map of an image: one of :data:`MAPS`."""
        if kind not in MAPS:
            raise InputError(f"there is no map {kind!r}; choose one of {', '.join(MAPS)}")
        return self.folder / "maps" / f"{check_name(name)}_{kind}.tif"

    def samples(self, name: str) -> Path:
        """Return the file of an image's samples."""
        return self.folder / "samples" / f"{check_name(name)}.tif"

    def stack(self, name: str) -> Path:
        """Return the file of the label images of all samples of an image."""
        return self.folder / "stacks" / f"{check_name(name)}.npz"

    def objects(self, name: str) -> Path:
        """Return the file of the object table of one image."""
        return self.folder / "objects" / f"{check_name(name)}.csv"

    def alternatives(self, name: str) -> Path:
        """Return the file of the table of one image's hypotheses that were not taken."""
        return self.folder / "alternatives" / f"{check_name(name)}.csv"

    def marker(self, name: str) -> Path:
        """Return the marker of an image."""
        return self.folder / "units" / f"{check_name(name)}.json"

    def table(self, name: str) -> Path:
        """Return the file of a table: objects, alternatives, images, scores, summary or failures."""
        if name not in TABLES:
            raise InputError(f"there is no table {name!r}; choose one of {', '.join(TABLES)}")
        return self.folder / f"{name}.csv"

    def unit_files(self, name: str) -> list[Path]:
        """Return all result files that an image can have, its marker left out."""
        maps = [self.map(name, kind) for kind in MAPS]
        tables = [self.objects(name), self.alternatives(name)]
        return [self.labels(name), self.denoised(name), self.samples(name), *tables, *maps]


def check_name(name: str) -> str:
    """Return the name of an image.

    Raises
    ------
    InputError
        If it cannot be that of a file.
    """
    if name in ("", ".", "..") or name != Path(name).name or "\\" in name or "\0" in name:
        raise InputError(f"image name {name!r} cannot be that of a file; give it another name")
    return name
