"""``divseg train``: a model folder from noisy images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from divseg.config import RunConfig
from divseg.errors import InputError
from divseg.io import check_inputs
from divseg.io.sources import Source
from divseg.results import RunStore
from divseg.results.rows import defect_columns, failure_rows
from divseg.workflow.check import check_training
from divseg.workflow.engine import Job, Outcomes, Result, perform
from divseg.workflow.plan import carry_out
from divseg.workflow.progress import Reporter
from divseg.workflow.run import TRIAL_STEPS, absolute
from divseg.workflow.sharing import Options
from divseg.workflow.stage import RunContext, Stage, UnitContext
from divseg.workflow.training import check_image, smallest_side, training_seconds, training_stage
from divseg.workflow.units import ImageUnit

if TYPE_CHECKING:
    import pandas as pd


def train_folder(
    source: Source,
    out: str | os.PathLike[str],
    config: RunConfig | None = None,
    *,
    redo: Sequence[str] = (),
    dry_run: bool = False,
    reporter: Reporter | None = None,
) -> Result:
    """Train on the images of a folder and write a model folder with a plot of the training.

    An image that cannot be trained on is a row of ``failures.csv`` and stops nothing. Checkpoints are written to the
    folder while training runs; after Ctrl-C, SIGTERM or a crash the same call goes on from the last one, and once the
    model is finished it does nothing. With other images or settings the earlier model stays until the new one is whole.

    Parameters
    ----------
    source : path, glob or list of those
        The noisy images.
    out : path
        Model folder, which gets ``images.csv``, ``failures.csv``, ``run.json`` and ``run.log`` too.
    config : RunConfig, optional
        Settings; those of data, noise, training, seed and device matter.
    redo : sequence of str
        Stages that are done again, with those that depend on them: check, model.
    dry_run, reporter
        As for :func:`divseg.workflow.denoise.denoise_folder`.

    Returns
    -------
    Result
        ``result.open().model`` is the model.

    Raises
    ------
    DivsegError
        If no image can be trained on, training fails, or the folder cannot be written.
    """
    config = config or RunConfig()
    check_training(config)
    found = check_inputs(source, **config.data.reading, out=out)
    units, short = (
        [ImageUnit(ref) for ref in found.images.refs],
        config.replace(train_steps=TRIAL_STEPS, train_minutes=None),
    )
    return carry_out(
        _job(source, units, config, failure_rows(found.problems)),
        out,
        Options(redo=redo),
        reporter,
        found.lines(),
        dry_run=dry_run,
        check=lambda unit: check_image(unit.load(), smallest_side(config)),
        trial=lambda place, unit: perform(_job(source, [unit], short), place),
        training=lambda store: training_seconds(config, store),
    )


def _job(source: Source, units: Sequence[ImageUnit], config: RunConfig, failures: Sequence[dict[str, str]] = ()) -> Job:
    from divseg.denoise.model_folder import load_parts, read_training
    from divseg.report.figures import write_training_plot

    def any_image(context: RunContext) -> None:
        if not context.units:
            raise InputError(f"none of the images can be trained on; see {context.store.table('failures')}")

    def facts(store: RunStore, outcomes: Outcomes) -> dict[str, Any]:
        made = {"training": read_training(store.model)} if "model" in outcomes else {}
        return {"config": settings, "seed": config.sampling.seed, "input": str(source), **made}

    def lines(store: RunStore, tables: Mapping[str, pd.DataFrame]) -> list[str]:
        parts = load_parts(store.model)
        return [
            f"trained on {len(tables['images'])} of {len(units) + len(failures)} images: {parts.noise.describe()}; "
            f"{parts.training['kl_per_pixel']:.4f} nats per pixel in the latents"
        ]

    settings = config.model_dump(
        mode="json", include={"data": True, "noise": True, "training": True, "sampling": {"seed", "device"}}
    )
    side = smallest_side(config)
    return Job(
        command="train",
        units=units,
        stages=lambda _: [Stage("check", check_unit, {"side": side, "data": config.data.pixels}, reads=("image",))],
        after=[training_stage(config, needs=("check",), prepare=any_image, finish=write_training_plot)],
        tools=lambda *_: side,
        failures=failures,
        facts=facts,
        lines=lines,
        invocation={"source": absolute(source), "settings": settings},
    )


def check_unit(context: UnitContext) -> None:
    """Make sure that an image can be trained on, and write its row of images.csv."""
    context.step("check")
    check_image(context.load(), context.tools)
    context.write.row |= context.unit.row() | defect_columns(context.load())
