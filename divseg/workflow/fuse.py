"""``divseg fuse``: label images from any source, fused: raters, networks, posterior samples made elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from divseg.consensus import LabelStack, fuse
from divseg.consensus.fusion import check_choice
from divseg.errors import InputError, Problem
from divseg.io import MaskSets, find_mask_sets
from divseg.metrics import Calibration, evaluate, summarize, to_markdown
from divseg.results import RunStore
from divseg.results.queues import review_queue
from divseg.results.rows import SHOWN
from divseg.workflow.check import load_calibration
from divseg.workflow.engine import Job, Result
from divseg.workflow.image_stages import read_kept_stack, write_consensus
from divseg.workflow.mask_weights import MaskWeights, Weights
from divseg.workflow.plan import carry_out
from divseg.workflow.progress import Reporter
from divseg.workflow.run import absolute, default_out
from divseg.workflow.sharing import Options
from divseg.workflow.stage import Stage, UnitContext
from divseg.workflow.unit_work import describe_failure
from divseg.workflow.units import MaskUnit

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FuseTools:
    """Settings of the fusion, shared by all images."""

    method: str
    objective: str
    existence: float | None
    seed: int
    calibration: Calibration | None
    raters: bool


def fuse_folder(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    layout: str | None = None,
    ndim: int | None = None,
    weights: Weights | None = None,
    method: str = "clustering",
    objective: str = "map",
    existence: float | None = None,
    seed: int = 0,
    truth: str | os.PathLike[str] | None = None,
    calibration: str | os.PathLike[str] | None = None,
    options: Options | None = None,
    dry_run: bool = False,
    reporter: Reporter | None = None,
) -> Result:
    """Fuse the label images of every image of a folder, whoever or whatever made them.

    An image that cannot be fused is a row of ``failures.csv`` and stops nothing. Images that are finished with the same
    files and settings are skipped; with other settings the label images are not read again (``stacks/<name>.npz``).

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
    method, objective, existence, seed
        As in :func:`divseg.fuse`.
    truth : path, optional
        Folder of ground-truth label images, each with the name of its image (for ``raters`` and ``stacks``
        that of the files, for ``images`` that of the subfolder); consensus and label images are then scored.
    calibration : path, optional
        File of :class:`divseg.Calibration`, made from fused label images of the same sources: the tables get
        calibrated confidences and intervals.
    options, dry_run, reporter
        As for :func:`divseg.workflow.denoise.denoise_folder`.

    Returns
    -------
    Result

    Raises
    ------
    DivsegError
        If nothing can be fused, or results cannot be written.
    """
    check_choice(method, objective, existence)
    root = Path(os.path.expanduser(os.fspath(folder)))
    target = default_out(root, "_fused") if out is None else Path(out).expanduser()
    excluded = [target] if truth is None else [target, Path(truth).expanduser()]
    found = find_mask_sets(root, layout=layout, ndim=ndim, skip=excluded)
    by_weight = MaskWeights(weights, found)
    known = load_calibration(None if calibration is None else os.fspath(calibration), method)
    notes = _describe(root, found)
    failures = [_row(name, problem, "check") for name, problem in found.problems]
    if not found.sets and not failures:
        raise InputError(f"{root}: no label images to fuse")
    pairs: Mapping[str, Any] = {}
    if truth is not None:
        pairing = found.pair(truth)
        pairs = pairing.pairs
        if not pairs and not pairing.problems:
            raise InputError(f"{truth}: no ground truth for any of the images (for example {pairing.missing[0]!r})")
        if pairing.missing:
            notes.append(f"note: no ground truth for {len(pairing.missing)} images ({', '.join(pairing.missing[:3])})")
        failures += [_row(Path(problem.file).stem, problem, "truth") for problem in pairing.problems]
    tools = FuseTools(method, objective, existence, seed, known, bool(found.raters))
    units = []
    for masks in found.sets:
        try:
            units.append(MaskUnit(masks, pairs.get(masks.name), {"weights": by_weight.of(masks)}))
        except InputError as error:
            file = str(masks.files[0])
            failures.append({"image": masks.name, "file": file, **describe_failure("check", error)})
    choice = {"method": method, "objective": objective, "existence": existence, "seed": seed}
    n_sets = len(found.sets) + len(found.problems)

    def lines(store: RunStore, tables: Mapping[str, pd.DataFrame]) -> list[str]:
        images = tables["images"]
        objects = int(images["n_objects"].sum()) if len(images) else 0
        text = [f"{len(images)} of {n_sets} images fused, {objects} objects"]
        if "summary" in tables:
            table = tables["summary"]
            text += ["", to_markdown(table[[column for column in ("input", "n_scored", *SHOWN) if column in table]])]
        return text

    job = Job(
        command="fuse",
        units=units,
        stages=lambda _: fuse_stages(tools, truth is not None),
        tools=lambda *_: tools,
        failures=failures,
        facts=lambda *_: {
            "config": {
                "fusion": choice,
                "data": {"layout": found.layout, "weights": by_weight.by_name or by_weight.in_order},
            },
            "seed": seed,
            "input": str(root),
            "raters": found.raters,
            "calibration": None if known is None else known.describe(),
        },
        summarize=lambda scores: summarize(scores, by="input"),
        derive=lambda tables: {"review": review_queue(tables["objects"])} if "objects" in tables else {},
        lines=lines,
        invocation={
            "folder": absolute(folder),
            "layout": layout,
            "ndim": ndim,
            "weights": by_weight.given,
            **choice,
            "truth": absolute(truth),
            "calibration": absolute(calibration),
        },
    )
    return carry_out(job, target, options, reporter, notes, dry_run=dry_run)


def fuse_stages(tools: FuseTools, truth: bool) -> list[Stage]:
    """Return the stages of each image: read the label images, fuse them, score them."""
    calibration = None if tools.calibration is None else asdict(tools.calibration)
    choice = {"method": tools.method, "objective": tools.objective, "existence": tools.existence, "seed": tools.seed}
    stages = [
        Stage("read", read_masks, reads=("masks",), recall=recall_masks),
        Stage("fuse", fuse_masks, {**choice, "calibration": calibration}, needs=("read",), unit_settings=("weights",)),
    ]
    if truth:
        stages.append(Stage("score", score_masks, {"method": tools.method}, needs=("read", "fuse"), reads=("truth",)))
    return stages


def read_masks(context: UnitContext) -> None:
    """Read the label images one after the other, and keep them as a compact stack."""
    context.step("read")
    stack = LabelStack.of(mask.load() for mask in context.unit.masks.masks)
    context.write.stack(stack.save)
    context.write.row |= context.unit.row()
    context.memory["stack"] = stack


def recall_masks(context: UnitContext) -> bool:
    """Read the stack of an earlier run; False if it is not there or is not what was written."""
    return read_kept_stack(context, "read", "the label images are read again")


def fuse_masks(context: UnitContext) -> None:
    """Fuse the label images of one image; write labels, objects and maps."""
    context.step("fuse")
    tools, stack = context.tools, context.memory["stack"]
    weights = context.unit.settings["weights"]
    if weights is not None:
        stack = stack.select(range(len(stack)), weights)
    consensus = fuse(stack, method=tools.method, objective=tools.objective, existence=tools.existence, seed=tools.seed)
    context.memory["labels"] = consensus.labels
    size = context.unit.masks.pixel_size
    context.write.fractions("foreground", consensus.foreground, size)
    context.write.fractions("boundary", consensus.boundary, size)
    write_consensus(context, consensus, tools.calibration)


def score_masks(context: UnitContext) -> None:
    """Score the consensus and every label image."""
    unit = context.unit
    if unit.truth is None:
        return
    context.step("score")
    from divseg.io import read_labels

    truth, stack = unit.truth.load(), context.memory["stack"]
    labels = context.memory.get("labels")
    if labels is None:
        labels = read_labels(context.store.labels(unit.name)).reshape(truth.shape)

    def rows() -> Iterator[dict[str, Any]]:
        name = f"consensus {context.tools.method}"
        yield {"input": name, "mask": "", **evaluate(labels, truth).as_row()}
        for k, source in enumerate(unit.masks.sources):
            name = source if context.tools.raters else "single label image"
            yield {"input": name, "mask": source, **evaluate(np.asarray(stack.labels(k)), truth).as_row()}

    context.write.scores += rows()


def _describe(root: Path, found: MaskSets) -> list[str]:
    """Return what was found, a line of text each."""
    what = {
        "stacks": "each file is a stack of label images of one image (stacks)",
        "raters": f"subfolders {', '.join(found.raters)} are raters, files of one name one image (raters)",
        "images": "each subfolder holds the label images of one image (images)",
    }[found.layout]
    lines = [f"{root}: {what}; another --layout changes that", *(f"note: {note}" for note in found.notes)]
    if found.sets:
        each = sorted({len(masks.masks) for masks in found.sets})
        count = str(each[0]) if len(each) == 1 else f"{each[0]} to {each[-1]}"
        lines.append(f"{len(found.sets)} images with {count} label images each")
    for masks in found.sets:
        if masks.missing:
            lines.append(
                f"note: {masks.name}: fused without {', '.join(masks.missing)}, which has no label image of it"
            )
    return lines


def _row(name: str, problem: Problem, stage: str) -> dict[str, str]:
    return {"image": name, "file": problem.file, "stage": stage, "error": f"{problem.problem}; {problem.remedy}"}
