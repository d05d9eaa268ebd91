"""Settings of a run: the same words in the TOML file, on the command line and in Python, each stated once."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from divseg.errors import ConfigError, brief, did_you_mean, one_line

GAUSSIAN_SIGMAS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)

KEEP = ("denoised", "std", "foreground", "boundary", "crops", "stacks")
"""What is kept of each image by default: with labels and tables less than three times the pixels of the input."""

PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"train_minutes": 3.0, "samples": 16},
    "default": {},
    "best": {"train_minutes": 60.0, "samples": 64},
}
"""Settings that go together; whatever is set beside a preset wins over it."""


_DEPTH = ("volume", "planes", "project")
"""Settings of which one at most is given."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _stripped(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = value.strip()
            if not value:
                raise ValueError("must not be empty")
        return value


class Data(_Section):
    """Which pixels of the files are worked on."""

    axes: str | None = None
    """Axes of the files if their metadata does not tell, for example TYX."""
    channel: str | None = None
    """Channel that is segmented, by its name in the files or its number from 0, if they have several."""
    together: tuple[str, ...] = ()
    """Further channels that are denoised together with the one that is segmented, by one network, and measured: names
    or numbers separated by commas, or all."""
    measure: tuple[str, ...] = ()
    """Further channels in which the objects are measured, names or numbers separated by commas, or all."""
    volume: bool = False
    """Work on planes along Z together, in 3-D."""
    planes: bool = False
    """Work on each plane along Z as an image of its own."""
    project: Literal["max", "mean", "sum"] | None = None
    """Work on the projection of the planes along Z: max, mean or sum."""
    invalid: str = "auto"
    """Pixels that are no data: auto (NaN, and padding at the border; hot pixels and dust are mended), none (every pixel
    is data as it is), or the value that they have."""

    @field_validator("invalid", "channel", mode="before")
    @classmethod
    def _written(cls, value: Any) -> Any:
        return f"{value:.17g}" if isinstance(value, int | float) and not isinstance(value, bool) else value

    @field_validator("channel")
    @classmethod
    def _counted(cls, value: str | None) -> str | None:
        if value is not None and value.startswith("-"):
            raise ValueError("must be the name of a channel, or its number from 0")
        return value

    @field_validator("measure", "together", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return tuple(map(str, _parts(value, ","))) if isinstance(value, str | list | tuple) else value

    @property
    def depth(self) -> str | None:
        """What is done with planes along Z, as :func:`divseg.io.read` calls it."""
        return "volume" if self.volume else "planes" if self.planes else self.project

    @property
    def reading(self) -> dict[str, Any]:
        """Keywords of :func:`divseg.io.check_inputs`."""
        return {"axes": self.axes, "channel": self.channel, "depth": self.depth, "invalid": self.invalid}

    @property
    def pixels(self) -> dict[str, Any]:
        """What the pixels that are worked on depend on."""
        return self.model_dump(exclude={"measure"})


class Noise(_Section):
    """How pixels scatter around the clean image."""

    noise: str = "learned"
    """learned, estimated, gaussian[,std=20], poisson-gaussian[,a=2,b=-180], or the file of a noise model
    (.json, .npz; see noise-model)."""


class Training(_Section):
    """The network and the budget of its training."""

    network: str = "hierarchical"
    """hierarchical or flat, perhaps with settings: flat,depth=3,filters=16."""
    train_steps: int | None = Field(default=None, ge=1)
    """Training budget in optimiser steps: the same model every time on one machine."""
    train_minutes: float | None = Field(default=None, gt=0)
    """Training budget in minutes; 10 if neither budget is set."""


class Sampling(_Section):
    """Posterior samples of the clean image."""

    samples: int = Field(default=32, ge=1)
    """Posterior samples of each image."""
    seed: int = Field(default=0, ge=0)
    """Seed of training and sampling."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    tile: int | None = Field(default=None, ge=16)
    """Side of the network's tiles in pixels; results do not depend on it."""
    precision: Literal["exact", "bf16"] = "exact"
    """Arithmetic of sampling: exact (float32, the same in any tiles and nearly so on any device) or bf16 (convolutions
    in bfloat16, faster on recent GPUs)."""


class Segmentation(_Section):
    """The segmenter that every sample is given to, or several."""

    segmenter: str = "auto"
    """Segmenter with options, such as "li,smooth=1,split=distance,min_size=30"; auto: the thresholding, or the scale of
    stardist:nuclei, that the samples support best, with the best of another kind if both agree; auto:A|B|C: the same
    among these; stardist:NAME_OR_FOLDER; python:module:function; "A + B": both segment each sample, all is fused."""


class Fusion(_Section):
    """From the label images of the samples to one with a confidence for each object."""

    fuse_with: Literal["samples", "all"] = "all"
    """Label images that are fused: those of the samples alone, or (all) also those of the MMSE, of means of four
    samples and of smoothed images: half of the votes are the samples', the others share the rest by their agreement.
    Existence and intervals are always those of the samples."""
    method: str = "clustering"
    """Fusion method: clustering, voting (in a run perhaps with markers=mmse), mutex, majority or medoid, perhaps with
    options: voting,scheme=simple."""
    objective: str = "map"
    """Expected score that the selection of objects maximises: map, ap50, f1, pq or seg."""
    existence: float | None = Field(default=None, ge=0, le=1)
    """Keep the objects that are found in at least this fraction of the samples, whatever the objective; otherwise the
    objective chooses among those that at least three in ten of the samples hold."""
    snr: float | None = Field(default=None, ge=0)
    """Least signal-to-noise ratio of an object in the noisy image; 5 if not set, and 0, which keeps all, for a
    segmenter of your own (python:...)."""
    calibration: str | None = None
    """Folder written by divseg calibrate, or the calibration.json in it: existence becomes the probability p_true."""
    max_false: float | None = Field(default=None, gt=0, lt=1)
    """Keep only objects of so high a p_true that at most this fraction of them is expected to be false; needs a
    calibration made with ground truth."""


class Output(_Section):
    """What is written to the run folder beside labels and tables."""

    keep: tuple[str, ...] = KEEP
    """What is kept of each image beside labels and tables, separated by commas: denoised, std, foreground, boundary,
    crops (a part of three samples, for the report), stacks (label images of all samples: another fusion does not
    segment again), samples (the first two; samples=8), rois (for ImageJ), geojson (for QuPath), zarr (OME-Zarr),
    tracks (positions by frame), parquet (tables once more); all, or none."""

    @field_validator("keep", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return _parts(value, ",")


class Evaluation(_Section):
    """What is scored if there is ground truth, and what is simulated if there is no calibration."""

    simulate: int = Field(default=6, ge=0)
    """Simulated images, of which the truth is known, that confidence is calibrated with where no calibration is given;
    0 for none, else at least 2."""
    compare: tuple[str, ...] = ("clustering", "mutex", "majority")
    """Fusion methods that are scored beside the chosen one, separated by |."""
    baseline_sigmas: tuple[float, ...] = GAUSSIAN_SIGMAS
    """Widths in pixels of the Gaussian smoothing baseline, separated by commas; the best of them, chosen with the
    ground truth, is shown."""

    @field_validator("simulate")
    @classmethod
    def _several(cls, value: int) -> int:
        if value == 1:
            raise ValueError("one simulated image is too few: give 0, or 2 or more")
        return value

    @field_validator("compare", "baseline_sigmas", mode="before")
    @classmethod
    def _listed(cls, value: Any, info: Any) -> Any:
        return _parts(value, "|" if info.field_name == "compare" else ",")


def _parts(value: Any, separator: str) -> Any:
    """Return the parts of a text; another value as it is."""
    return tuple(part.strip() for part in value.split(separator) if part.strip()) if isinstance(value, str) else value


class RunConfig(_Section):
    """All settings of ``divseg run``, in sections; unknown names are errors.

    A TOML file has the sections as tables; on the command line and in Python the names stand alone, since each
    belongs to one section.

    Examples
    --------
    >>> config = RunConfig.make(samples=16, method="mutex")
    >>> config.sampling.samples, config.fusion.method
    (16, 'mutex')
    >>> config.replace(seed=3).sampling.seed
    3
    """

    data: Data = Data()
    noise: Noise = Noise()
    training: Training = Training()
    sampling: Sampling = Sampling()
    segmentation: Segmentation = Segmentation()
    fusion: Fusion = Fusion()
    output: Output = Output()
    evaluation: Evaluation = Evaluation()

    @classmethod
    def make(cls, **settings: Any) -> Self:
        """Build a configuration, with one-line errors.

        Parameters
        ----------
        **settings
            Names and values, or sections with a mapping of those. ``preset`` (fast, default or best) stands for
            several; what is set beside it wins.

        Raises
        ------
        ConfigError
            Unknown name (with the nearest known one), a name in a section of others, a section that is not a table,
            or an impossible value.
        """
        return cls._of(cls._by_section(settings))

    @classmethod
    def from_toml(cls, path: str | Path, *, allow_code: bool = False, **changes: Any) -> Self:
        """Read a TOML file; `changes` (what the command line says) win over it.

        Parameters
        ----------
        path : path
            The file.
        allow_code : bool
            Accept a segmenter ``python:module:function`` from the file: whoever wrote the file then runs code.
        **changes
            As for :meth:`make`.

        Raises
        ------
        ConfigError
            If the file is missing, is not TOML, holds an unknown or impossible setting, or names code that is not
            allowed.
        """
        path = Path(path)
        try:
            settings = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"cannot read the settings file {path}: {error.strerror}") from error
        except RecursionError:
            raise ConfigError(f"{path} is not a settings file: it is nested too deeply") from None
        except ValueError as error:  # of TOML, of UTF-8, or a number of too many digits
            raise ConfigError(f"{path} is not a valid TOML file: {one_line(error)}") from error
        try:
            own, given = cls._by_section(settings), cls._by_section(changes)
            if given["training"].keys() & {"train_steps", "train_minutes"}:
                own["training"] = _without_budget(own["training"])
            if given["data"].keys() & set(_DEPTH):
                own["data"] = {name: value for name, value in own["data"].items() if name not in _DEPTH}
            if not allow_code and "segmenter" not in given["segmentation"]:
                refuse_code(own["segmentation"].get("segmenter"))
            return cls._of({section: {**own[section], **given[section]} for section in SECTIONS})
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    def replace(self, **settings: Any) -> Self:
        """Return the configuration with other values of some settings.

        Raises
        ------
        ConfigError
            As for :meth:`make`.
        """
        changes, now = self._by_section(settings), self.model_dump()
        if changes["data"].keys() & set(_DEPTH):
            now["data"] |= {"volume": False, "planes": False, "project": None}
        return self._of({section: {**now[section], **changes[section]} for section in SECTIONS})

    def to_toml(self) -> str:
        """Write the settings as TOML that :meth:`from_toml` reads; absent settings are left out."""
        lines = []
        for section, values in self.model_dump(mode="json").items():
            lines.append(f"[{section}]")
            lines += [f"{name} = {json.dumps(value)}" for name, value in values.items() if value is not None]
            lines.append("")
        return "\n".join(lines)

    @classmethod
    def _of(cls, sections: Mapping[str, Any]) -> Self:
        if len(given := [name for name in _DEPTH if sections["data"].get(name)]) > 1:
            raise ConfigError(f"{' and '.join(given)} exclude each other: give one of {', '.join(_DEPTH)}")
        try:
            return cls(**sections)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][1])
            raise ConfigError(f"setting {name}={brief(first['input'], 200)}: {first['msg'].lower()}") from None

    @classmethod
    def _by_section(cls, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Sort names into their sections; a preset gives way to what is set."""
        settings = dict(settings)
        preset = settings.pop("preset", None)
        sections: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
        for name, value in settings.items():
            if name in SECTIONS and (isinstance(value, Mapping) or name not in SECTION_OF):
                if not isinstance(value, Mapping):
                    example = next(iter(SECTIONS[name].model_fields))
                    raise ConfigError(
                        f"{name}={brief(value)}: this is a section; write [{name}] and below it {example} = ..."
                    )
                for inner in value:
                    if SECTION_OF.get(inner) != name:
                        raise _unknown(inner, name)
                sections[name].update(value)
            elif name in SECTION_OF:
                sections[SECTION_OF[name]][name] = value
            else:
                raise _unknown(name)
        if preset is not None:
            if not isinstance(preset, str) or preset not in PRESETS:
                raise ConfigError(f"unknown preset {brief(preset)} (presets: {', '.join(PRESETS)})")
            budget = sections["training"].get("train_steps") or sections["training"].get("train_minutes")
            for name, value in (_without_budget(PRESETS[preset]) if budget is not None else PRESETS[preset]).items():
                sections[SECTION_OF[name]].setdefault(name, value)
        return sections


SECTIONS: dict[str, type[_Section]] = {
    name: field.annotation for name, field in RunConfig.model_fields.items() if isinstance(field.annotation, type)
}
"""Sections by name."""

SECTION_OF: dict[str, str] = {name: section for section, kind in SECTIONS.items() for name in kind.model_fields}
"""Section of each setting."""


def refuse_code(segmenter: Any) -> None:
    """Raise ConfigError if a segmenter from a file would run code that the user has not named.

    Parameters
    ----------
    segmenter : str or None
        The setting.
    """
    if isinstance(segmenter, str) and "python:" in segmenter.lower():
        raise ConfigError(
            f"the file names code of its own, segmenter {brief(segmenter, 200)}; if you trust it, give --allow-code, "
            "or name it yourself with --segmenter"
        )


def describe_setting(name: str) -> tuple[Any, Any, str]:
    """Return type, default and meaning of a setting.

    Raises
    ------
    ConfigError
        Unknown name.
    """
    if name not in SECTION_OF:
        raise _unknown(name)
    field = SECTIONS[SECTION_OF[name]].model_fields[name]
    return field.annotation, field.default, " ".join((field.description or "").split())


def _unknown(name: str, section: str | None = None) -> ConfigError:
    if section is None:
        known = ", ".join(["preset", *SECTION_OF])
        return ConfigError(f"unknown setting {brief(name)}{did_you_mean(name, SECTION_OF)} (settings: {known})")
    if name in SECTION_OF:
        return ConfigError(f"setting {brief(name)} belongs to section [{SECTION_OF[name]}], not to [{section}]")
    known = ", ".join(SECTIONS[section].model_fields)
    return ConfigError(
        f"unknown setting {brief(name)} in [{section}]{did_you_mean(name, SECTION_OF)} (settings: {known})"
    )


def _without_budget(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leave a training budget out if another is set: the first to run out would end training."""
    return {name: value for name, value in settings.items() if name not in ("train_steps", "train_minutes")}
