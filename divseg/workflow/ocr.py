"""``divseg ocr``: the text of noisy pages, read on means of posterior samples and fused with confidence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divseg.config import RunConfig
from divseg.errors import ConfigError
from divseg.io import Image, check_inputs, check_plane
from divseg.io.defects import blank
from divseg.io.sources import Source
from divseg.ocr import Engine, as_page, fuse_readings, read_views, subsets, text_engine
from divseg.results import RunStore
from divseg.results.rows import defect_columns, failure_rows, left_out_rows
from divseg.workflow.engine import Job, Outcomes, Result
from divseg.workflow.plan import carry_out
from divseg.workflow.progress import Reporter
from divseg.workflow.run import absolute
from divseg.workflow.sharing import Options
from divseg.workflow.stage import RunContext, RunStage, Stage, UnitContext
from divseg.workflow.units import ImageUnit

if TYPE_CHECKING:
    import pandas as pd

    from divseg.denoise import DivNoising

DOUBTFUL = 0.8
"""Words below this confidence are those to look at."""


@dataclass(frozen=True)
class ReadSettings:
    """How pages are read."""

    samples: int = 64
    """Posterior samples."""
    group: int | None = None
    """Samples averaged for each reading; by default a quarter of them. 1 reads every sample by itself."""
    engine: str = "auto"
    """Text engine, see :func:`divseg.ocr.text_engine`."""
    scale: int | None = None
    """Enlargement of the page for the engine; by default the one at which it reads the mean image best."""
    doubtful: float = DOUBTFUL
    """Words below this confidence are shown as doubtful."""
    seed: int = 0
    """Seed of the samples."""
    precision: str = "exact"
    """Arithmetic of sampling: exact or bf16."""

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ConfigError(f"samples={self.samples} must be at least 1")
        if self.group is not None and not 1 <= self.group <= self.samples:
            raise ConfigError(f"group={self.group} must be from 1 to the number of samples, {self.samples}")
        if self.scale is not None and not 1 <= self.scale <= 8:
            raise ConfigError(f"scale={self.scale} must be a whole number from 1 to 8")
        if not 0 <= self.doubtful <= 1:
            raise ConfigError(f"doubtful={self.doubtful} must lie between 0 and 1")
        if self.precision not in ("exact", "bf16"):
            raise ConfigError(f"precision={self.precision!r} must be exact or bf16")


@dataclass
class ReadTools:
    """Model and engine, shared by all images; each process makes its own when they are first needed."""

    model_folder: Path
    settings: ReadSettings
    device: str
    tile: int | None

    def __getstate__(self) -> dict[str, Any]:
        """Leave model and engine out."""
        return {name: value for name, value in self.__dict__.items() if name not in ("model", "engine")}

    @cached_property
    def model(self) -> DivNoising:
        """The model."""
        from divseg.denoise import DivNoising

        return DivNoising.load(self.model_folder, device=self.device)

    @cached_property
    def engine(self) -> Engine:
        """The text engine."""
        return text_engine(self.settings.engine)


def read_folder(
    source: Source,
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    settings: ReadSettings | None = None,
    *,
    device: str = "auto",
    tile: int | None = None,
    options: Options | None = None,
    dry_run: bool = False,
    reporter: Reporter | None = None,
    **data: Any,
) -> Result:
    """Read the text of noisy pages with a trained model.

    Parameters
    ----------
    source : path, glob or list of those
        The noisy pages.
    model : path
        Model folder, of ``divseg train`` or in a run folder.
    out : path
        Where results go: ``text/<name>.txt``, ``words.csv`` (a row per word: confidence, alternatives, box),
        ``denoised/<name>.tif``, ``images.csv``, ``failures.csv``, ``report.html`` (the doubtful words), ``run.json``.
    settings : ReadSettings, optional
        How pages are read.
    device, tile, options, dry_run, reporter, **data
        As for :func:`divseg.workflow.denoise.denoise_folder`.

    Returns
    -------
    Result

    Raises
    ------
    ExtraRequired
        If no text engine is installed.
    DivsegError
        If nothing can be read, or results cannot be written.
    """
    from divseg.denoise import DivNoising
    from divseg.denoise.model_folder import fingerprint_model
    from divseg.denoise.validation import checked_image

    settings = settings or ReadSettings()
    engine = text_engine(settings.engine).name
    model = Path(model)
    loaded = DivNoising.load(model, device=device)
    chosen = RunConfig.make(data=data).data
    found = check_inputs(source, **chosen.reading, ask=("planes", "project"), out=Path(out))
    how = {name: value for name, value in asdict(settings).items() if name != "doubtful"} | {"engine": engine}
    reading = {**how, "model": fingerprint_model(model), "data": chosen.pixels}
    stage = Stage("read", read_text, reading, reads=("image",))
    n_files = len(found.images) + len(found.problems)

    def facts(store: RunStore, outcomes: Outcomes) -> dict[str, Any]:
        return {
            "config": asdict(settings),
            "input": str(source),
            "engine": engine,
            "seed": settings.seed,
            "device": str(loaded.device),
            "model": str(model.resolve()),
            "training": loaded.training,
        }

    def lines(store: RunStore, tables: Mapping[str, pd.DataFrame]) -> list[str]:
        words = tables.get("words")
        total = 0 if words is None else len(words)
        doubtful = 0 if words is None else int((words["confidence"] < settings.doubtful).sum())
        return [
            f"{len(tables['images'])} of {n_files} images read by {engine}, {settings.samples} samples each: "
            f"{total} words, {doubtful} of them doubtful (confidence below {settings.doubtful:g})",
            f"the doubtful words: {store.report}",
        ]

    job = Job(
        command="ocr",
        units=[ImageUnit(ref) for ref in found.images.refs],
        stages=lambda _: [stage],
        after=[_page_stage(settings.doubtful)],
        tools=lambda *_: ReadTools(model, settings, device, tile),
        failures=failure_rows(found.problems),
        left_out=left_out_rows(found.left_out),
        facts=facts,
        lines=lines,
        invocation={
            "source": absolute(source),
            "model": absolute(model),
            "settings": asdict(settings),
            **data,
            "device": device,
            "tile": tile,
        },
        device=str(device),
    )
    return carry_out(
        job,
        out,
        options,
        reporter,
        [*found.lines(), f"model: {model} ({loaded.noise.describe()}); text engine: {engine}"],
        dry_run=dry_run,
        check=lambda unit: checked_image(loaded.network.config, check_page(unit)),
    )


def check_page(unit: ImageUnit | UnitContext) -> Image:
    """Return the image, if it is one plane."""
    image: Image = unit.load()
    check_plane(image, "divseg ocr reads")
    return image


def read_text(context: UnitContext) -> None:
    """Read one page; write its text, its words, the denoised image and its row of images.csv."""
    tools: ReadTools = context.tools
    model, settings, engine = tools.model, tools.settings, tools.engine
    image = check_page(context)
    context.step("denoise")
    samples = model.draw(
        image, range(settings.samples), seed=settings.seed, tile=tools.tile, precision=settings.precision
    )
    samples = blank(samples, image.valid)
    mean = samples.mean(axis=0)
    context.step("read")
    page = as_page(mean, engine) if settings.scale is None else as_page(mean, engine, (settings.scale,))
    if page.upside_down:
        context.warn("the page is upside down: it was read after half a turn")
    chosen = subsets(len(samples), settings.group, seed=settings.seed)
    fused = fuse_readings(read_views(samples, page, engine, chosen, around=settings.scale is None))
    table = fused.table()
    if not len(table):
        context.warn("no text was found; look at the denoised image, and train longer if letters are blurred")
    context.write.denoised(mean, image.pixel_size)
    context.write.words(fused.text, table)
    context.write.row |= {
        **context.unit.row(),
        **defect_columns(image),
        "n_samples": settings.samples,
        "n_words": len(table),
        "confidence_mean": float(table["confidence"].mean()) if len(table) else None,
        "scale": page.scale,
        "upside_down": page.upside_down,
    }


def _page_stage(doubtful: float) -> RunStage:
    """Return the stage that writes the page of doubtful words."""

    def write(context: RunContext) -> dict[str, Any]:
        from divseg.report.text_page import write_text_page

        write_text_page(context.store, [unit.name for unit in context.units], doubtful)
        return {}

    return RunStage(
        "report",
        write,
        {"doubtful": doubtful},
        needs=("read", "failures"),
        recall=lambda context, _: context.store.report.is_file(),
    )
