"""``divseg evaluate``: label images against ground truth, kept in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divseg.io.check import check_out
from divseg.io.image_source import file_stat
from divseg.io.labels import label_shape, squeezed
from divseg.io.sources import InputFiles
from divseg.metrics import THRESHOLDS, summarize, to_markdown
from divseg.metrics.evaluation import score_pair
from divseg.metrics.folders import Pair, find_pairs
from divseg.metrics.scores import check_thresholds
from divseg.results import RunStore
from divseg.results.rows import SHOWN, pixel_columns
from divseg.results.writer import file_sha256
from divseg.workflow.engine import Job, Result
from divseg.workflow.plan import carry_out
from divseg.workflow.progress import Reporter
from divseg.workflow.run import absolute
from divseg.workflow.sharing import Options
from divseg.workflow.stage import Stage, UnitContext

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PairUnit:
    """A label image and its ground truth."""

    pair: Pair
    settings: Mapping[str, Any] = field(default_factory=dict)
    sources = ("pred", "truth")

    @property
    def name(self) -> str:
        """Name of the image."""
        return self.pair.image

    @property
    def file(self) -> Path:
        """File of the label image."""
        return self.pair.pred

    def stat(self, source: str) -> list[Any]:
        """Return size and times of the file, and the plane that the truth shows."""
        path: Path = getattr(self.pair, source)
        return [path.name, *file_stat(path), self.pair.plane]

    def fingerprint(self, source: str) -> str:
        """Return the SHA-256 of the file."""
        return f"{file_sha256(getattr(self.pair, source))} {self.pair.plane}"

    def row(self) -> dict[str, Any]:
        """Return file, plane and shape."""
        plane = "" if self.pair.plane is None else f"Z={self.pair.plane}"
        shape = squeezed(label_shape(self.pair.truth))
        return {"file": str(self.pair.pred), "plane": plane, **pixel_columns(shape, None)}

    def load(self) -> Pair:
        """Return the files: they are read to be scored."""
        return self.pair

    def record(self) -> dict[str, Any]:
        """Return what run.json says of it."""
        pair = self.pair
        return {
            "name": pair.image,
            "pred": str(pair.pred.resolve()),
            "truth": str(pair.truth.resolve()),
            "plane": pair.plane,
        }


def evaluate_folder(
    pred: str | os.PathLike[str],
    truth: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    thresholds: float | Iterable[float] = THRESHOLDS,
    partial: bool | None = None,
    penalize_extra: bool = True,
    split_disconnected: bool = False,
    options: Options | None = None,
    dry_run: bool = False,
    reporter: Reporter | None = None,
) -> Result:
    """Score the label images of a folder against their ground truth, and keep the scores in a folder.

    A label image that cannot be scored, or is missing, is a row of ``failures.csv`` and stops nothing. What was scored
    with the same files and settings is skipped. :func:`divseg.evaluate` scores without writing anything.

    Parameters
    ----------
    pred, truth, thresholds, partial, penalize_extra, split_disconnected
        As for :func:`divseg.evaluate`.
    out : path
        Where results go: ``scores.csv`` (a row for each image), ``summary.csv`` (means, 95 % intervals and pooled
        scores), ``images.csv``, ``failures.csv``, ``run.json``.
    options, dry_run, reporter
        As for :func:`divseg.workflow.denoise.denoise_folder`.

    Returns
    -------
    Result

    Raises
    ------
    DivsegError
        If nothing can be scored, or results cannot be written.
    """
    folders = [Path(os.path.expanduser(os.fspath(folder))) for folder in (pred, truth)]
    settings: dict[str, Any] = {
        "thresholds": check_thresholds(thresholds),
        "partial": partial,
        "penalize_extra": penalize_extra,
        "split_disconnected": split_disconnected,
    }
    pairs, missing = find_pairs(*folders)
    check_out(out, InputFiles([f for f in folders if f.is_file()], [f for f in folders if f.is_dir()]))
    name, n_files = folders[0].resolve().name, len(pairs) + len(missing)
    error = f"no label image of it in {folders[0]}; add it, or leave its truth out"

    def lines(store: RunStore, tables: Mapping[str, pd.DataFrame]) -> list[str]:
        text = [f"{len(tables['images'])} of {n_files} images scored"]
        return [*text, "", to_markdown(tables["summary"])] if "summary" in tables else text

    job = Job(
        command="evaluate",
        units=[PairUnit(pair) for pair in pairs],
        stages=lambda _: [Stage("score", score_unit, {"input": name, **settings}, reads=PairUnit.sources)],
        tools=lambda *_: (name, settings),
        failures=[{"image": path.stem, "file": str(path), "stage": "check", "error": error} for path in missing],
        facts=lambda *_: {"config": {"evaluation": settings}, "input": str(pred), "truth": str(truth)},
        summarize=lambda scores: summarize(scores, by="input"),
        lines=lines,
        invocation={"pred": absolute(pred), "truth": absolute(truth), **settings},
    )
    quick = {**settings, "thresholds": 0.5}
    return carry_out(job, out, options, reporter, dry_run=dry_run, check=lambda unit: score_pair(unit.pair, **quick))


def score_unit(context: UnitContext) -> None:
    """Score one label image."""
    context.step("score")
    name, settings = context.tools
    row = score_pair(context.load(), **settings)
    del row["image"]
    context.write.scores.append({"input": name, **row})
    context.write.row |= {**context.unit.row(), **{column: row[column] for column in ("n_true", "n_pred", *SHOWN)}}
