"""One set at one noise level with one model: its pictures, their parts, and their posterior samples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.segmentation.source import Source
from benchmarks.sets import Picture, end_to_end, load_set
from benchmarks.smoothing import SetNoise
from benchmarks.trained import model_folder, trained
from divseg import DivNoising
from divseg.io.atomic import replacing


@dataclass(frozen=True)
class Fold:
    """Names of the pictures that tune, and of those that are scored with the result."""

    tune: tuple[str, ...]
    score: tuple[str, ...]


@dataclass
class Cell:
    """Pictures of a set at a level, and the model for them.

    Attributes
    ----------
    name, level : str
        Set and noise level.
    models, cache : Path
        Folders of the models and of what is drawn from them.
    samples : int
        Posterior samples of each image.
    minutes, variant, seed, device
        As for :func:`benchmarks.trained.trained`.
    most_tuned, most_scored : int, optional
        At most so many pictures of either part, spread evenly.
    """

    name: str
    level: str
    models: Path
    cache: Path
    samples: int
    minutes: float
    variant: str = "learned"
    seed: int = 0
    device: str = "auto"
    most_tuned: int | None = None
    most_scored: int | None = None
    others: dict[str, Callable[[Picture], NDArray[np.float32]]] = field(default_factory=dict)
    """Makers of images by other means, by kind."""
    origins: dict[str, str] = field(default_factory=dict)
    """What tells the images of each of these kinds from others of the same name."""

    @property
    def large(self) -> bool:
        """Whether the objects are large."""
        return self.name.startswith("lowsnr")

    @cached_property
    def pictures(self) -> dict[str, Picture]:
        """All pictures of the set by name."""
        return {p.name: p for p in load_set(self.name, self.level)}

    @cached_property
    def folds(self) -> list[Fold]:
        """One fold if the set has parts; two that tune and score in turn if it has none."""
        return make_folds(list(self.pictures.values()), self.most_tuned, self.most_scored)

    @property
    def clean(self) -> bool:
        """Whether there are clean images."""
        return all(p.clean is not None for p in self.pictures.values())

    @cached_property
    def noise(self) -> SetNoise:
        """Noise of the set, estimated from its noisy images."""
        return SetNoise.of([p.noisy for p in self.pictures.values()])

    def has_model(self, variant: str) -> bool:
        """Tell whether the model of a variant is in the cache."""
        return (self._folder(variant) / "config.json").is_file()

    @cached_property
    def model(self) -> DivNoising:
        """The model, loaded or trained."""
        return self._load(self.variant)

    @cached_property
    def digest(self) -> str:
        """Short hash of the model's weights."""
        _ = self.model
        return _digest(self._folder(self.variant))

    @property
    def vanilla_digest(self) -> str:
        """Short hash of the weights of the plain variational autoencoder, trained first if it is not cached."""
        _ = self._vanilla
        return _digest(self._folder("vanilla"))

    def source(self, name: str, count: int | None = None) -> Source:
        """Return a picture's images, with `count` posterior samples instead of the usual number."""
        picture = self.pictures[name]
        others = {kind: partial(make, picture) for kind, make in self.others.items()}
        return Source(picture, lambda: self.draw(picture, count=count), self.noise, others)

    def draw(self, picture: Picture, variant: str | None = None, count: int | None = None) -> NDArray[np.float32]:
        """Return posterior samples, (K, Y, X), from the cache as far as it holds them."""
        variant, count = variant or self.variant, count or self.samples
        model = self.model if variant == self.variant else self._vanilla
        folder = self._folder(variant)
        file = self.cache / f"{folder.name}-{_digest(folder)}" / f"{picture.name}.npy"
        have = np.load(file, mmap_mode="r") if file.is_file() else np.empty((0, *picture.noisy.shape), np.float32)
        if len(have) >= count:
            return np.asarray(have[:count])
        new = model.draw(picture.noisy, range(len(have), count))
        stack = np.concatenate([have, new])
        with replacing(file) as stream:
            np.save(stream, stack)
        return stack

    def vanilla_mmse(self, picture: Picture) -> NDArray[np.float32]:
        """Mean of the samples of a plain variational autoencoder."""
        return self.draw(picture, "vanilla").mean(axis=0)

    @cached_property
    def _vanilla(self) -> DivNoising:
        return self._load("vanilla")

    def _load(self, variant: str) -> DivNoising:
        options = {"minutes": self.minutes, "seed": self.seed, "device": self.device}
        return trained(self.models, self.name, self.level, variant, pictures=list(self.pictures.values()), **options)

    def _folder(self, variant: str) -> Path:
        return model_folder(self.models, self.name, self.level, variant, self.minutes, self.seed)


def make_folds(pictures: list[Picture], most_tuned: int | None = None, most_scored: int | None = None) -> list[Fold]:
    """Part the pictures: validation tunes and test is scored; without parts, every other one in turn.

    Parameters
    ----------
    pictures : list of Picture
    most_tuned, most_scored : int, optional
        At most so many of either, spread evenly.
    """
    tune = [p.name for p in pictures if p.part == "validation"]
    score = [p.name for p in pictures if p.part == "test"]
    if tune:
        return [Fold(_names(tune, most_tuned), _names(score, most_scored))]
    even, odd = score[::2], score[1::2]
    half = None if most_scored is None else max(1, most_scored // 2)
    return [Fold(_names(a, most_tuned), _names(b, half)) for a, b in ((even, odd), (odd, even))]


def _names(names: list[str], most: int | None) -> tuple[str, ...]:
    return tuple(end_to_end(names, most))


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / "weights.pt").read_bytes()).hexdigest()[:8]
