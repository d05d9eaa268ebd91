"""``divseg denoise``: mean and standard deviation of posterior samples, intervals, mode, the samples themselves."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from divseg.config import RunConfig
from divseg.errors import ConfigError
from divseg.io import check_inputs
from divseg.io.defects import blank, within
from divseg.io.sources import Source
from divseg.results import RunStore
from divseg.results.rows import defect_columns, failure_rows, left_out_rows
from divseg.workflow.engine import Job, Outcomes, Result
from divseg.workflow.plan import carry_out
from divseg.workflow.progress import Reporter
from divseg.workflow.run import absolute
from divseg.workflow.sharing import Options
from divseg.workflow.stage import Stage, UnitContext
from divseg.workflow.units import ImageUnit

if TYPE_CHECKING:
    import pandas as pd

    from divseg.denoise import DivNoising


@dataclass(frozen=True)
class DenoiseSettings:
    """What is drawn and written of each image."""

    samples: int = 32
    """Posterior samples, whose mean is the denoised image."""
    keep_samples: tuple[int, ...] = ()
    """Numbers of the samples that are written themselves, from 0."""
    interval: float | None = None
    """Also write the bounds between which this fraction of the samples lies at each pixel, such as 0.9."""
    mode: bool = False
    """Also write the maximum a posteriori, by mean shift."""
    tta: bool = False
    """Test-time augmentation: draw from turned and flipped images in turn."""
    seed: int = 0
    """Seed of the samples."""
    precision: str = "exact"
    """Arithmetic of sampling: exact or bf16."""

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ConfigError(f"samples={self.samples} must be at least 1")
        if any(k < 0 for k in self.keep_samples):
            raise ConfigError(f"keep_samples={list(self.keep_samples)}: samples are counted from 0")
        if self.interval is not None and not 0 < self.interval < 1:
            raise ConfigError(f"interval={self.interval} must lie between 0 and 1")
        if self.tta and (self.mode or self.interval is not None):
            raise ConfigError("intervals and mode are made tile by tile, turned images are not: leave tta off")
        if self.precision not in ("exact", "bf16"):
            raise ConfigError(f"precision={self.precision!r} must be exact or bf16")
        if self.interval is not None and self.samples < 2:
            raise ConfigError("an interval needs at least 2 samples")


@dataclass
class DenoiseTools:
    """Model and settings, shared by all images; the model is loaded in each process when it is first needed."""

    model_folder: Path
    settings: DenoiseSettings
    device: str
    tile: int | None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the model out."""
        return {name: value for name, value in self.__dict__.items() if name != "model"}

    @cached_property
    def model(self) -> DivNoising:
        """The model."""
        from divseg.denoise import DivNoising

        return DivNoising.load(self.model_folder, device=self.device)


def denoise_folder(
    source: Source,
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    settings: DenoiseSettings | None = None,
    *,
    device: str = "auto",
    tile: int | None = None,
    options: Options | None = None,
    dry_run: bool = False,
    reporter: Reporter | None = None,
    **data: Any,
) -> Result:
    """Denoise images with a trained model, without segmenting them.

    An image that cannot be denoised is a row of ``failures.csv`` and stops nothing. Images that are finished with the
    same model and settings are skipped.

    Parameters
    ----------
    source : path, glob or list of those
        The noisy images.
    model : path
        Model folder, of ``divseg train`` or in a run folder.
    out : path
        Where results go: ``denoised/<name>.tif`` (the mean), ``maps/<name>_std.tif`` and, if they are asked for,
        ``_low``, ``_high`` and ``_mode``, ``samples/<name>.tif``; ``images.csv``, ``failures.csv``, ``run.json``.
    settings : DenoiseSettings, optional
        What is drawn and written.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
    tile : int, optional
        Side of the network's tiles in pixels; results do not depend on it.
    options : Options, optional
        How the work is shared out.
    dry_run : bool
        Only check the input and say what would be done.
    reporter : Reporter, optional
        Told what is done; by default everything goes to the ``divseg`` logger.
    **data
        Settings of :class:`divseg.config.Data` by name, such as ``channel="DAPI"``.

    Returns
    -------
    Result

    Raises
    ------
    DivsegError
        If nothing can be denoised, or results cannot be written.
    """
    from divseg.denoise import DivNoising
    from divseg.denoise.model_folder import fingerprint_model
    from divseg.denoise.validation import checked_image

    settings = settings or DenoiseSettings()
    model = Path(model)
    loaded = DivNoising.load(model, device=device)
    chosen = RunConfig.make(data=data).data
    ask = ("planes", "project") if loaded.network.config.dims == 2 else ()
    found = check_inputs(source, **chosen.reading, ask=ask, out=Path(out))
    stage = Stage(
        "denoise",
        denoise_image,
        {**asdict(settings), "model": fingerprint_model(model), "data": chosen.pixels},
        reads=("image",),
    )
    n_files = len(found.images) + len(found.problems)

    def facts(store: RunStore, outcomes: Outcomes) -> dict[str, Any]:
        return {
            "config": {**asdict(settings), "data": chosen.model_dump(mode="json")},
            "input": str(source),
            "seed": settings.seed,
            "device": str(loaded.device),
            "model": str(model.resolve()),
            "training": loaded.training,
        }

    def lines(store: RunStore, tables: Mapping[str, pd.DataFrame]) -> list[str]:
        return [f"{len(tables['images'])} of {n_files} images denoised, the mean of {settings.samples} samples each"]

    job = Job(
        command="denoise",
        units=[ImageUnit(ref) for ref in found.images.refs],
        stages=lambda _: [stage],
        tools=lambda *_: DenoiseTools(model, settings, device, tile),
        failures=failure_rows(found.problems),
        left_out=left_out_rows(found.left_out),
        facts=facts,
        lines=lines,
        invocation={
            "source": absolute(source),
            "model": absolute(model),
            "settings": asdict(settings),
            "device": device,
            "tile": tile,
            **data,
        },
        device=str(device),
    )
    return carry_out(
        job,
        out,
        options,
        reporter,
        [*found.lines(), f"model: {model} ({loaded.noise.describe()})"],
        dry_run=dry_run,
        check=lambda unit: checked_image(loaded.network.config, unit.load()),
    )


def denoise_image(context: UnitContext) -> None:
    """Write what is asked for of one image, and its row of images.csv."""
    tools: DenoiseTools = context.tools
    model, settings, write = tools.model, tools.settings, context.write
    context.step("denoise")
    image = context.load()
    size = image.pixel_size
    shared: dict[str, Any] = {"seed": settings.seed, "tile": tools.tile, "precision": settings.precision}
    if settings.interval is None and not settings.mode:
        moments = model.moments(image, n=settings.samples, tta=settings.tta, **shared)
        mean, std = (blank(of.cpu().numpy(), image.valid) for of in (moments.mean, moments.std))
    else:
        half = None if settings.interval is None else settings.interval / 2
        levels = () if half is None else (0.5 - half, 0.5 + half)
        estimates = model.estimate(image, n=settings.samples, quantiles=levels, mode=settings.mode, **shared)
        mean, std = (blank(of, image.valid) for of in (estimates.mean, estimates.std))
        for kind, bound in zip(("low", "high"), estimates.quantiles, strict=False):
            write.map(kind, blank(bound, image.valid), size)
        if estimates.mode is not None:
            write.map("mode", blank(estimates.mode, image.valid), size)
    write.denoised(mean, size)
    write.map("std", std, size)
    if settings.keep_samples:
        drawn = model.draw(image, settings.keep_samples, tta=settings.tta, **shared)
        write.samples(blank(drawn, image.valid), size)
    write.row |= {
        **context.unit.row(),
        **defect_columns(image),
        "n_samples": settings.samples,
        "mean": float(within(mean, image.valid).mean()),
        "std_mean": float(within(std, image.valid).mean()),
        "residual_std": float(within(image.data.astype(np.float64) - mean, image.valid).std()),
    }


def sample_numbers(text: str) -> tuple[int, ...]:
    """Read numbers of samples: ``"0,3,7"``, ``"0-4"`` or both; a repeated one counts once.

    Raises
    ------
    ConfigError
        If it is something else.
    """
    numbers: list[int] = []
    for part in filter(None, (word.strip() for word in text.split(","))):
        first, dash, last = part.partition("-")
        if not first.strip().isdigit() or (dash and not last.strip().isdigit()):
            raise ConfigError(f"samples to keep {text!r}: write numbers from 0, such as 0,3,7 or 0-4")
        numbers += _between(int(first), int(last) if dash else int(first), text)
    return tuple(dict.fromkeys(numbers))


def _between(first: int, last: int, text: str) -> Sequence[int]:
    if last < first or last - first >= 10_000:
        raise ConfigError(f"samples to keep {text!r}: {first}-{last} is not a range of fewer than 10,000 numbers")
    return range(first, last + 1)
