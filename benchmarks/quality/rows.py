"""The rows that the quality table is made of, one an image and method, kept in a CSV so that a run can go on."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

FAILED = "*"
"""In place of an image's name: the model could not be trained."""


@dataclass(frozen=True)
class Row:
    """One image denoised by one method; NaN if a figure has no meaning.

    Attributes
    ----------
    job : str
        SET-LEVEL.
    image, method : str
        Name of the image, and of the method as the table shows it.
    minutes : float
        Of training, 0 for methods without.
    seed, samples : int
        Of training; drawn samples, 0 if there are none.
    psnr, single, covered, residual, spread, seconds : float
        See :class:`benchmarks.quality.posterior.Judgement`; seconds are those of denoising the image.
    megapixels : float
        On which the network was trained.
    note : str
        The noise model after training, or why training failed.
    """

    job: str
    image: str
    method: str
    psnr: float
    minutes: float = 0.0
    seed: int = 0
    samples: int = 0
    single: float = float("nan")
    covered: float = float("nan")
    residual: float = float("nan")
    spread: float = float("nan")
    seconds: float = float("nan")
    megapixels: float = float("nan")
    note: str = ""

    @property
    def key(self) -> tuple[str, str, str, float, int, int]:
        """What makes two rows the same measurement."""
        return self.job, self.image, self.method, self.minutes, self.seed, self.samples


class Rows:
    """Rows in a CSV file, written as they come.

    Parameters
    ----------
    path : Path
        CSV file; read if it exists.

    Raises
    ------
    SystemExit
        If the file is not such a CSV.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[tuple[str, str, str, float, int, int], Row] = {}
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                for line in csv.DictReader(file):
                    row = _parse(line, path)
                    self.rows[row.key] = row

    def __contains__(self, row: Row) -> bool:
        return row.key in self.rows

    def has(self, rows: Iterable[Row]) -> bool:
        """Tell whether all of these have been measured."""
        return all(row in self for row in rows)

    def add(self, row: Row) -> None:
        """Keep a row and write it down, unless it is there already."""
        old = self.rows.get(row.key)
        if old is not None and (old.psnr, old.note) == (row.psnr, row.note):
            return
        self.rows[row.key] = row
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.is_file()
        with self.path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [f.name for f in fields(Row)], lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(asdict(row))
        print(f"{row.job} {row.image} {row.method}: {row.psnr:.2f} dB {row.note}".rstrip(), flush=True)


def _parse(line: dict[str, str], path: Path) -> Row:
    kinds = {"str": str, "float": float, "int": int}
    try:
        return Row(**{f.name: kinds[str(f.type)](line[f.name]) for f in fields(Row)})
    except (KeyError, TypeError, ValueError) as error:
        raise SystemExit(f"{path} is not a table of this benchmark ({error!r}): move it away") from None
