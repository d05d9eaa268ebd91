"""A folder of noisy images, denoised: mean and spread of posterior samples, intervals, mode, the samples themselves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from divseg.errors import ConfigError
from divseg.io import Image, InputReport, check_inputs
from divseg.results import RunStore
from divseg.workflow.folder_job import FolderJob, FolderResult
from divseg.workflow.progress import LogReporter, Reporter

if TYPE_CHECKING:
    from divseg.denoise import DivNoising
    from divseg.results import UnitWriter


@dataclass(frozen=True)
class DenoiseSettings:
    """What is drawn and written of each image."""

    samples: int = 32
    """Posterior samples, whose mean is the denoised image."""
    keep: tuple[int, ...] = ()
    """Numbers of the samples that are written themselves, from 0."""
    interval: float | None = None
    """Also write the bounds between which this share of the samples lies at each pixel, such as 0.9."""
    mode: bool = False
    """Also write the maximum a posteriori, by mean shift."""
    augment: bool = False
    """Draw from turned and flipped views in turn."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ConfigError(f"samples={self.samples} must be at least 1")
        if any(k < 0 for k in self.keep):
            raise ConfigError(f"keep={list(self.keep)}: samples are counted from 0")
        if self.interval is not None and not 0 < self.interval < 1:
            raise ConfigError(f"interval={self.interval} must lie between 0 and 1")
        if self.augment and (self.mode or self.interval is not None):
            raise ConfigError("intervals and mode are made tile by tile, which turned views are not: leave augment off")
        if self.interval is not None and self.samples < 2:
            raise ConfigError("an interval needs at least 2 samples")


def denoise_folder(
    source: Any,
    model: str | Path,
    out: str | os.PathLike[str],
    settings: DenoiseSettings | None = None,
    *,
    axes: str | None = None,
    channel: int | None = None,
    device: str = "auto",
    tile: int | None = None,
    reporter: Reporter | None = None,
) -> FolderResult:
    """Denoise images with a trained model, without segmenting them.

    An image that cannot be denoised is a row of ``failures.csv`` and stops nothing. Images that are finished with the
    same model and settings are skipped.

    Parameters
    ----------
    source, axes, channel
        As for :func:`divseg.read`.
    model : path
        Model folder, of ``divseg train`` or in a run folder.
    out : path
        Where results go: ``denoised/<name>.tif`` (the mean), ``maps/<name>_sd.tif`` and, where they are asked for,
        ``_low``, ``_high`` and ``_mode``, ``samples/<name>.tif``; ``images.csv``, ``failures.csv``, ``run.json``.
    settings : DenoiseSettings, optional
    device : str
    tile : int, optional
        Side of the network's tiles in pixels; results do not depend on it.
    reporter : Reporter, optional
        Told what is done; by default everything goes to the ``divseg`` logger.

    Returns
    -------
    FolderResult

    Raises
    ------
    DivsegError
        Where nothing can be denoised, or results cannot be written.
    """
    from divseg.denoise import DivNoising

    tell, how = reporter or LogReporter(), settings or DenoiseSettings()
    loaded = DivNoising.load(model, device=device)
    found = check_inputs(source, axes=axes, channel=channel, out=Path(out))
    for line in found.lines():
        tell.say(line)
    tell.say(f"model: {model} ({loaded.noise.describe()})")
    job = _Job(found, loaded, Path(model), RunStore(out, "denoise"), how, tile, tell)
    return job.go(source)


class _Job(FolderJob):
    """The images of one folder."""

    stage = "denoise"

    def __init__(
        self,
        found: InputReport,
        model: DivNoising,
        folder: Path,
        store: RunStore,
        how: DenoiseSettings,
        tile: int | None,
        tell: Reporter,
    ) -> None:
        from divseg.denoise.model_folder import fingerprint_model

        super().__init__(found, store, {"how": vars(how), "model": fingerprint_model(folder)}, tell)
        self.model, self.folder, self.how, self.tile = model, folder, how, tile

    def work(self, image: Image, writer: UnitWriter) -> dict[str, Any]:
        """Write what is asked for, and return the figures of the image's row."""
        how, size = self.how, image.pixel_size
        shared: dict[str, Any] = {"seed": how.seed, "tile": self.tile}
        if how.interval is None and not how.mode:
            moments = self.model.moments(image, n=how.samples, tta=how.augment, **shared)
            mean, sd = moments.mean.cpu().numpy(), moments.std.cpu().numpy()
        else:
            levels = () if how.interval is None else (0.5 - how.interval / 2, 0.5 + how.interval / 2)
            found = self.model.estimate(image, n=how.samples, quantiles=levels, mode=how.mode, **shared)
            mean, sd = found.mean, found.std
            for kind, bound in zip(("low", "high"), found.quantiles, strict=False):
                writer.map(kind, bound, size)
            if found.mode is not None:
                writer.map("mode", found.mode, size)
        writer.denoised(mean, size)
        writer.map("sd", sd, size)
        if how.keep:
            writer.samples(self.model.draw(image, how.keep, tta=how.augment, **shared), size)
        residual = image.data.astype(np.float64) - mean
        return {
            "n_samples": how.samples,
            "mean": float(mean.mean()),
            "sd_mean": float(sd.mean()),
            "residual_sd": float(residual.std()),
        }

    def facts(self) -> dict[str, Any]:
        """Return settings and model."""
        return {"config": vars(self.how), "model": str(self.folder.resolve()), "training": self.model.training}

    def words(self, tables: dict[str, pd.DataFrame]) -> str:
        """Return one line on what was done."""
        return f"{len(self.done)} of {self.total} images denoised, the mean of {self.how.samples} samples each"


def sample_numbers(text: str) -> tuple[int, ...]:
    """Read numbers of samples: ``"0,3,7"``, ``"0-4"`` or both; a repeated one counts once.

    Raises
    ------
    ConfigError
        Where it is something else.
    """
    found: list[int] = []
    for part in filter(None, (word.strip() for word in text.split(","))):
        first, dash, last = part.partition("-")
        if not first.strip().isdigit() or (dash and not last.strip().isdigit()):
            raise ConfigError(f"samples to keep {text!r}: write numbers from 0, such as 0,3,7 or 0-4")
        found += _between(int(first), int(last) if dash else int(first), text)
    return tuple(dict.fromkeys(found))


def _between(first: int, last: int, text: str) -> Sequence[int]:
    if last < first or last - first >= 10_000:
        raise ConfigError(f"samples to keep {text!r}: {first}-{last} is no range of fewer than 10,000 numbers")
    return range(first, last + 1)
