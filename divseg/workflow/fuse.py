"""A folder of label images from any source, fused: raters, networks, posterior samples made elsewhere."""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from divseg.consensus import Consensus, fuse
from divseg.consensus.fuse import check_choice
from divseg.consensus.weights import weighted_quantiles
from divseg.errors import DivsegError, InputError, OutputError
from divseg.io import LabelRef, MaskSet, MaskSets, config_hash, find_mask_sets
from divseg.metrics import Calibration, evaluate, summarize, to_markdown
from divseg.results import RunStore
from divseg.versions import versions
from divseg.workflow.folder_job import FolderResult
from divseg.workflow.mask_weights import MaskWeights, Weights
from divseg.workflow.progress import LogReporter, Reporter

log = logging.getLogger("divseg")

SHOWN = ("input", "n_scored", "map", "ap50", "ap75", "seg", "det", "f1", "pq")


@dataclass(frozen=True)
class FuseResult(FolderResult):
    """What came of fusing a folder."""

    summary: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Scores of the consensus and of the label images, with truth only."""


def fuse_folder(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    layout: str | None = None,
    ndim: int | None = None,
    weights: Weights | None = None,
    method: str = "clustering",
    target: str = "map",
    existence: float | None = None,
    seed: int = 0,
    truth: str | os.PathLike[str] | None = None,
    calibration: str | os.PathLike[str] | None = None,
    reporter: Reporter | None = None,
) -> FuseResult:
    """Fuse the label images of every image of a folder, whoever or whatever made them.

    Label images are read one at a time and not kept. An image that cannot be fused is a row of
    ``failures.csv`` and stops nothing. Images that are finished with the same files and settings are skipped.

    Parameters
    ----------
    folder, layout, ndim
        As in :func:`divseg.io.find_mask_sets`. A rater without a label image of some image is left out
        there, and the weights of the others keep their ratio.
    out : path, optional
        Where results go; ``<folder>_fused`` beside the folder by default. It gets ``labels/<name>.tif``,
        ``maps/<name>_foreground.tif`` and ``_boundary.tif``, ``objects.csv``, ``alternatives.csv``, ``images.csv``,
        with truth ``scores.csv`` and ``summary.csv``, ``failures.csv`` and ``run.json``.
    weights : sequence of float, mapping of str to float, str or path, optional
        See :class:`divseg.workflow.mask_weights.MaskWeights`.
    method, target, existence, seed
        As in :func:`divseg.fuse`.
    truth : path, optional
        Folder of ground-truth label images, each with the name of its image (for ``raters`` and ``stacks``
        that of the files, for ``images`` that of the subfolder); consensus and label images are then scored.
    calibration : path, optional
        File of :class:`divseg.metrics.Calibration`, made from fused label images of the same sources: the tables get
        calibrated confidences and intervals.
    reporter : Reporter, optional
        Told what is done; by default everything goes to the ``divseg`` logger.

    Returns
    -------
    FuseResult

    Raises
    ------
    DivsegError
        Where nothing can be fused, or results cannot be written.
    """
    tell = reporter or LogReporter()
    check_choice(method, target, existence)
    root = Path(os.path.expanduser(os.fspath(folder)))
    goal = root.resolve().with_name(root.resolve().name + "_fused") if out is None else Path(out).expanduser()
    apart = [goal] if truth is None else [goal, Path(truth).expanduser()]
    found = find_mask_sets(root, layout=layout, ndim=ndim, skip=apart)
    given = MaskWeights(weights, found)
    how = {"method": method, "target": target, "existence": existence, "seed": seed}
    known = None if calibration is None else Calibration.load(calibration)
    if known is not None and known.method != method:
        tell.say(
            f"note: {calibration} was made for method {known.method!r}, not for {method!r}: its confidences will be "
            "wrong; calibrate again"
        )
    job = _Job(root, found, RunStore(goal, "fuse"), given, how, tell, known)
    return job.go(truth)


class _Job:
    """The images of one folder."""

    def __init__(
        self,
        root: Path,
        found: MaskSets,
        store: RunStore,
        weights: MaskWeights,
        how: dict[str, Any],
        tell: Reporter,
        calibration: Calibration | None = None,
    ) -> None:
        self.root, self.found, self.store, self.weights, self.how, self.tell = root, found, store, weights, how, tell
        self.calibration = calibration
        self.truth: dict[str, LabelRef] = {}
        self.failures = [
            {"image": name, "file": p.file, "stage": "check", "error": f"{p.problem}; {p.remedy}"}
            for name, p in found.problems
        ]
        self.done: list[str] = []

    def go(self, truth: str | os.PathLike[str] | None) -> FuseResult:
        """Fuse every image, and write the tables, also where Ctrl-C came in between."""
        self._say_what_is_found()
        if truth is not None:
            self._pair(truth)
        for row in self.failures:
            self.tell.say(f"failed: {row['image']}: {row['file']}: {row['error']}")
        interrupted = False
        try:
            self._images()
        except KeyboardInterrupt:
            interrupted = True
            self.tell.say("interrupted: writing the tables of what is finished")
        result = self._finish()
        if interrupted:
            raise KeyboardInterrupt
        return result

    def _say_what_is_found(self) -> None:
        layout, sets = self.found.layout, self.found.sets
        what = {
            "stacks": "each file is a stack of label images of one image (stacks)",
            "raters": f"subfolders {', '.join(self.found.raters)} are raters, files of one name one image (raters)",
            "images": "each subfolder holds the label images of one image (images)",
        }[layout]
        self.tell.say(f"{self.root}: {what}; another --layout changes that")
        for note in self.found.notes:
            self.tell.say(f"note: {note}")
        if not sets and not self.failures:
            raise InputError(f"{self.root}: no label images to fuse")
        if sets:
            each = sorted({len(s.masks) for s in sets})
            count = str(each[0]) if len(each) == 1 else f"{each[0]} to {each[-1]}"
            self.tell.say(f"{len(sets)} images with {count} label images each")
        for s in sets:
            if s.missing:
                self.tell.say(f"note: {s.name}: fused without {', '.join(s.missing)}, which has no label image of it")

    def _pair(self, truth: str | os.PathLike[str]) -> None:
        pairing = self.found.pair(truth)
        self.truth = pairing.pairs
        if not self.truth and not pairing.problems:
            raise InputError(f"{truth}: no ground truth for any of the images (for example {pairing.missing[0]!r})")
        if pairing.missing:
            self.tell.say(f"note: no ground truth for {len(pairing.missing)} images ({', '.join(pairing.missing[:3])})")
        self.failures += [
            {"image": Path(p.file).stem, "file": p.file, "stage": "truth", "error": f"{p.problem}; {p.remedy}"}
            for p in pairing.problems
        ]

    def _images(self) -> None:
        skipped = 0
        for i, masks in enumerate(self.found.sets):
            self.tell.images(i, len(self.found.sets), masks.name)
            skipped += self._one(masks)
        self.tell.images(len(self.found.sets), len(self.found.sets), "all done")
        if skipped:
            self.tell.say(f"{skipped} of {len(self.found.sets)} images were finished before and are skipped")

    def _one(self, masks: MaskSet) -> bool:
        """Fuse one image; return True where it was finished before."""
        began = time.monotonic()
        writer = None
        try:
            weights, truth = self.weights.of(masks), self.truth.get(masks.name)
            known = {} if self.calibration is None else {"calibration": asdict(self.calibration)}
            key = config_hash(
                {"how": self.how, "weights": weights, "truth": _mark(truth), "divseg": versions()["divseg"], **known}
            )
            mark = config_hash({"masks": [_mark(mask) for mask in masks.masks], "sources": masks.sources})
            if self.store.is_done(masks.name, key, mark):
                self.done.append(masks.name)
                return True
            writer = self.store.start(masks.name, key, mark)
            reference = None if truth is None else truth.load()
            scores: list[dict[str, Any]] = []
            result = fuse(self._read(masks, reference, scores), weights=weights, **self.how)
            if reference is not None:
                own = {
                    "input": f"consensus {self.how['method']}",
                    "mask": "",
                    **evaluate(result.labels, reference).as_row(),
                }
                scores.insert(0, own)
            size = masks.pixel_size
            writer.map("foreground", result.foreground, size)
            writer.map("boundary", result.boundary, size)
            objects = result.objects if self.calibration is None else self.calibration.apply(result.objects)
            writer.objects(objects, result.alternatives)
            writer.labels(result.labels, size)
            writer.finish(_image_row(masks, result, time.monotonic() - began, self.calibration), scores)
            self.done.append(masks.name)
        except OutputError:
            raise  # the disk, not the image: the next one would fail as well
        except Exception as error:
            text = " ".join(str(error).split()) or type(error).__name__
            if not isinstance(error, DivsegError):
                log.error("%s: %s", masks.name, traceback.format_exc())
                text = f"{type(error).__name__}: {text}"
            self.failures.append({"image": masks.name, "file": str(masks.files[0]), "stage": "fuse", "error": text})
            self.tell.say(f"failed: {masks.name}: {text}")
            if writer is not None:
                writer.fail(text)
        return False

    def _read(
        self, masks: MaskSet, reference: NDArray[np.integer] | None, scores: list[dict[str, Any]]
    ) -> Iterator[NDArray[np.integer]]:
        """Read label image after label image; with truth, score each while it is here."""
        for mask, source in zip(masks.masks, masks.sources, strict=True):
            labels = mask.load()
            if reference is not None:
                name = source if self.found.raters else "single label image"
                scores.append({"input": name, "mask": source, **evaluate(labels, reference).as_row()})
            yield labels

    def _finish(self) -> FuseResult:
        tables = self.store.collect(self.done)
        tables["failures"] = pd.DataFrame(self.failures, columns=["image", "file", "stage", "error"])
        summary = pd.DataFrame()
        if tables["scores"].empty:
            del tables["scores"]
        else:
            summary = summarize(tables["scores"], by="input")
            tables["summary"] = summary
        self.store.write_tables(tables)
        self.store.write_run(self._facts())
        images = tables["images"]
        objects = int(images["n_objects"].sum()) if len(images) else 0
        lines = [
            f"{len(self.done)} of {len(self.found.sets) + len(self.found.problems)} images fused, {objects} objects"
        ]
        if self.failures:
            lines.append(f"{len(self.failures)} failed: see {self.store.table('failures')}")
        if len(summary):
            lines += ["", to_markdown(summary[[c for c in SHOWN if c in summary]])]
        lines.append(f"results: {self.store.folder}")
        return FuseResult(self.store.folder, len(self.done), len(self.failures), "\n".join(lines), summary)

    def _facts(self) -> dict[str, Any]:
        inputs = [
            {
                "name": s.name,
                "files": [str(path.resolve()) for path in s.files],
                "masks": s.sources,
                "missing": s.missing,
                "shape": s.shape,
                "pixel_size": None if s.pixel_size is None else vars(s.pixel_size),
                "truth": str(self.truth[s.name].path.resolve()) if s.name in self.truth else None,
            }
            for s in self.found.sets
        ]
        return {
            "divseg": versions()["divseg"],
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "config": {
                **self.how,
                "layout": self.found.layout,
                "weights": self.weights.by_name or self.weights.in_order,
            },
            "versions": versions(),
            "seed": self.how["seed"],
            "input": str(self.root),
            "raters": self.found.raters,
            "calibration": None if self.calibration is None else self.calibration.describe(),
            "n_images": len(self.done),
            "n_failed": len(self.failures),
            "inputs": inputs,
        }


def _mark(mask: LabelRef | None) -> list[Any] | None:
    """Return what tells one file, and a place in it, from another without reading its pixels."""
    if mask is None:
        return None
    stat = mask.path.stat()
    return [str(mask.path.resolve()), mask.lead, mask.shape, stat.st_size, stat.st_mtime_ns]


def _image_row(masks: MaskSet, result: Consensus, seconds: float, calibration: Calibration | None) -> dict[str, Any]:
    """Row of images.csv."""
    size, counts = masks.pixel_size, result.counts.astype(float)
    low, middle, high = weighted_quantiles(counts, result.weights, (0.05, 0.5, 0.95)).tolist()
    objects = result.objects
    interval = None if calibration is None else calibration.count_interval(low, high)
    return {
        "file": str(masks.files[0]),
        "n_masks": len(masks.masks),
        "missing": " ".join(masks.missing),
        **({"depth": masks.shape[0]} if len(masks.shape) == 3 else {}),
        "height": masks.shape[-2],
        "width": masks.shape[-1],
        "pixel_size_y": None if size is None else size.y,
        "pixel_size_x": None if size is None else size.x,
        "pixel_unit": None if size is None else size.unit,
        "n_objects": len(objects),
        "count_mean": float(np.dot(counts, result.weights)),
        "count_q05": low,
        "count_q50": middle,
        "count_q95": high,
        **({} if interval is None else {"count_low": interval[0], "count_high": interval[1]}),
        "area_mean": float(objects["area"].mean()) if len(objects) else None,
        "existence_mean": float(objects["existence"].mean()) if len(objects) else None,
        **{f"expected_{name}": value for name, value in result.expected.items()},
        "seconds": round(seconds, 2),
    }
