"""What the engine works on: images with their ground truth, and sets of label images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from divseg.io import Image, ImageRef, LabelRef, MaskSet, PixelSize, config_hash, fingerprint
from divseg.io.image_source import file_stat
from divseg.io.joint import load_joint
from divseg.results.rows import pixel_columns


@dataclass(frozen=True)
class ImageUnit:
    """An image, and its ground truth if there is one."""

    ref: ImageRef
    truth: LabelRef | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    together: Mapping[str, int] = field(default_factory=dict)
    """Name and number of the channels that are denoised together with the own one."""
    measured: Mapping[str, int] = field(default_factory=dict)
    """Name and number of all channels that objects are measured in beside the own one; the former come first."""

    @property
    def name(self) -> str:
        """Name of the image."""
        return self.ref.name

    @property
    def pixel_size(self) -> PixelSize | None:
        """Size of a pixel."""
        return self.ref.pixel_size

    @property
    def file(self) -> Path:
        """File of the image."""
        return self.ref.path

    @property
    def sources(self) -> tuple[str, ...]:
        """The image, its truth, and its other channels that are worked on."""
        there = {"truth": self.truth is not None, "together": self.together, "measured": self.measured}
        return ("image", *(name for name, given in there.items() if given))

    def stat(self, source: str) -> list[Any]:
        """Return size and times of the file, and the place in it."""
        if source == "truth" and self.truth is not None:
            return [self.truth.path.name, *file_stat(self.truth.path), list(self.truth.lead)]
        place = [self.ref.source.series, list(self.ref.index), self.ref.project]
        others = {"together": self.together, "measured": self.measured}.get(source, {})
        return [self.ref.path.name, *self.ref.stat(), *place, *([dict(others)] if others else [])]

    def fingerprint(self, source: str) -> str:
        """Return the SHA-256 of the pixels."""
        if source == "truth" and self.truth is not None:
            return fingerprint(self.truth.load())
        if source == "measured":
            return config_hash({name: self.channel(name).fingerprint for name in self.measured})
        return (self.joint() if source == "together" else self.load()).fingerprint

    def row(self) -> dict[str, Any]:
        """Return file, plane, shape and pixel size."""
        ref = self.ref
        return {
            "file": str(ref.path),
            "plane": " ".join(f"{axis}={index}" for axis, index in ref.plane),
            **pixel_columns(ref.shape, ref.pixel_size),
            **({"channel": ref.channel_name or ref.channel} if ref.n_channels > 1 else {}),
            **({"frame_interval_s": ref.source.interval} if ref.source.interval is not None and ref.frame else {}),
        }

    def load(self) -> Image:
        """Read the image."""
        return self.ref.load()

    def joint(self) -> Image:
        """Read the channels that are denoised together, the own one first; without others it is the image itself."""
        return load_joint(self.ref, list(self.together.values()))

    def channel(self, name: str) -> Image:
        """Read one of the measured channels."""
        return self.ref.of_channel(self.measured[name]).load(check=False)

    def record(self) -> dict[str, Any]:
        """Return what run.json says of it."""
        ref = self.ref
        return {
            "name": ref.name,
            "path": str(ref.path.resolve()),
            "plane": ref.plane,
            "axes": ref.axes,
            "file_axes": ref.letters,
            "channel": ref.channel,
            "channels": ref.source.channels,
            **({"together": list(self.together)} if self.together else {}),
            "frame_interval_s": ref.source.interval,
            "shape": ref.shape,
            "dtype": str(ref.dtype),
            "pixel_size": None if ref.pixel_size is None else vars(ref.pixel_size),
            "truth": None if self.truth is None else str(self.truth.path.resolve()),
        }


@dataclass(frozen=True)
class MaskUnit:
    """The label images of one image, to be fused, and its ground truth if there is one."""

    masks: MaskSet
    truth: LabelRef | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the image."""
        return self.masks.name

    @property
    def pixel_size(self) -> PixelSize | None:
        """Size of a pixel."""
        return self.masks.pixel_size

    @property
    def file(self) -> Path:
        """File of the first label image."""
        return self.masks.files[0]

    @property
    def sources(self) -> tuple[str, ...]:
        """The label images, and the truth."""
        return ("masks",) if self.truth is None else ("masks", "truth")

    def _refs(self, source: str) -> list[LabelRef]:
        return [self.truth] if source == "truth" and self.truth is not None else list(self.masks.masks)

    def stat(self, source: str) -> list[Any]:
        """Return size and times of the files, and the places in them."""
        return [[ref.path.name, *file_stat(ref.path), list(ref.lead)] for ref in self._refs(source)]

    def fingerprint(self, source: str) -> str:
        """Return a hash of the pixels, and of the names of the sources."""
        pixels = [fingerprint(ref.load()) for ref in self._refs(source)]
        return config_hash({"pixels": pixels, "sources": self.masks.sources})

    def row(self) -> dict[str, Any]:
        """Return file, shape and pixel size, and how many label images there are."""
        masks = self.masks
        return {
            "file": str(masks.files[0]),
            "plane": "",
            **pixel_columns(masks.shape, masks.pixel_size),
            "n_masks": len(masks.masks),
            "missing": " ".join(masks.missing),
        }

    def load(self) -> MaskSet:
        """Return the references: label images are read one at a time."""
        return self.masks

    def record(self) -> dict[str, Any]:
        """Return what run.json says of it."""
        masks = self.masks
        return {
            "name": masks.name,
            "files": [str(path.resolve()) for path in masks.files],
            "masks": masks.sources,
            "missing": masks.missing,
            "shape": masks.shape,
            "pixel_size": None if masks.pixel_size is None else vars(masks.pixel_size),
            "truth": str(self.truth.path.resolve()) if self.truth is not None else None,
        }
