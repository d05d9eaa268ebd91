"""Settings of a run: the same words in the TOML file, on the command line and in Python."""

from __future__ import annotations

import difflib
import json
import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from divseg.errors import ConfigError

GAUSSIAN_SDS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Widths in pixels of the Gaussian smoothing baseline; the best of them, chosen with the truth, is shown."""


PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"train_minutes": 3.0, "samples": 16},
    "default": {},
    "best": {"train_minutes": 60.0, "samples": 64},
}
"""Settings that go together; whatever is set beside a preset wins over it."""


class RunConfig(BaseModel):
    """All settings of ``divseg run``; unknown names are errors.

    The attributes are the names used in the TOML file, in Python and, with dashes, on the command line.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    axes: str | None = None
    """Axes of the files where their metadata does not tell, for example "TYX"."""
    channel: int | None = Field(default=None, ge=0)
    """Channel to work on, counted from 0, where files have several."""
    noise: str = "learned"
    """learned, estimated, gaussian[,std=..], poisson-gaussian[,a=..,b=..], or a noise model's file (.json, .npz)."""
    network: str = ""
    """ladder or flat, perhaps with settings: "flat,depth=3,filters=16"; a ladder where it is empty."""
    train_steps: int | None = Field(default=None, ge=1)
    """Budget of training in optimiser steps; gives the same model every time on one machine."""
    train_minutes: float | None = Field(default=None, gt=0)
    """Budget of training in minutes; 10 where neither budget is given."""
    samples: int = Field(default=32, ge=1)
    """Posterior samples of each image."""
    seed: int = Field(default=0, ge=0)
    """Seed of training and sampling."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    tile: int | None = Field(default=None, ge=16)
    """Side in pixels of the tiles the network works on; the results do not depend on it."""
    segmenter: str = "auto"
    """Segmenter of every sample: a method with its options; auto: the thresholding that the samples support best;
    auto:A|B|C: the one of these segmenters."""
    voters: Literal["samples", "all"] = "all"
    """Whose label images are fused: those of the samples alone, or (all) with them those of the MMSE, of means of four
    samples and of smoothed images: half of the votes are the samples', the other kinds share the rest by their
    agreement with all. Existence and intervals are always those of the samples."""
    spread: float = Field(default=1.0, gt=0, le=1)
    """Draw every sample towards the MMSE until this share of its distance is left, before it is segmented."""
    group: int = Field(default=1, ge=1)
    """Segment the means of groups of this many samples instead of single samples."""
    method: str = "clustering"
    """Fusion of the label images: clustering, voting (perhaps with markers=mmse), mutex, majority or medoid."""
    target: str = "map"
    """Score that the selection of objects maximises."""
    existence: float | None = Field(default=None, ge=0, le=1)
    """Keep objects held by at least this share of samples; chosen by the target score where absent."""
    calibration: str | None = None
    """File written by `divseg calibrate`: object tables get calibrated confidences and intervals."""
    compare: tuple[str, ...] = ("clustering", "mutex", "majority")
    """Fusion methods that are scored where there is truth."""
    baseline_sds: tuple[float, ...] = GAUSSIAN_SDS
    """Widths in pixels of the Gaussian smoothing baseline."""
    keep_samples: int = Field(default=2, ge=0)
    """Samples of an image that are written to the run folder."""

    @field_validator("noise", "segmenter", "device", "method", "target")
    @classmethod
    def _stripped(cls, value: str) -> str:
        value = value.strip()
        if not value:
            raise ValueError("must not be empty")
        return value

    @classmethod
    def make(cls, **settings: Any) -> Self:
        """Build a configuration, with one-line errors.

        Parameters
        ----------
        **settings
            Names and values; ``preset`` (fast, default or best) stands for several, and what is given beside it
            wins.

        Raises
        ------
        ConfigError
            Unknown name (with the nearest known one) or impossible value.
        """
        preset = settings.pop("preset", None)
        if preset is not None:
            if preset not in PRESETS:
                raise ConfigError(f"unknown preset {preset!r} (presets: {', '.join(PRESETS)})")
            settings = {**_without_rival(PRESETS[preset], settings), **settings}
        for name in settings:
            if name not in cls.model_fields:
                near = difflib.get_close_matches(name, cls.model_fields, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                known = ", ".join(["preset", *cls.model_fields])
                raise ConfigError(f"unknown setting {name!r}{hint} (settings: {known})")
        try:
            return cls(**settings)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"setting {name}={first['input']!r}: {first['msg'].lower()}") from None

    @classmethod
    def from_toml(cls, path: str | Path, **changes: Any) -> Self:
        """Read a TOML file; `changes` (what the command line says) win over it.

        Raises
        ------
        ConfigError
            If the file is missing, is no TOML, or holds an unknown or impossible setting.
        """
        path = Path(path)
        try:
            found = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"cannot read the settings file {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is no valid TOML file: {error}") from error
        try:
            return cls.make(**{**found, **changes})
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    def to_toml(self) -> str:
        """Write the settings as TOML that :meth:`from_toml` reads; absent settings are left out."""
        lines = []
        for name, value in self.model_dump(mode="json").items():
            if value is not None:
                lines.append(f"{name} = {json.dumps(value)}")
        return "\n".join(lines) + "\n"


def _without_rival(preset: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Leave a preset's training budget out where another is given: the first to run out would end training."""
    if settings.get("train_steps") is not None or settings.get("train_minutes") is not None:
        return {name: value for name, value in preset.items() if name not in ("train_steps", "train_minutes")}
    return preset


def split_markers(method: str) -> tuple[str, bool]:
    """Part a fusion method such as ``"voting,markers=mmse"`` into the method and whether the MMSE gives the markers."""
    parts = [part.strip() for part in method.split(",")]
    kept = [part for part in parts if part.replace(" ", "") != "markers=mmse"]
    return ",".join(kept), len(kept) < len(parts)
