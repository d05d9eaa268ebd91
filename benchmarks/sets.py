"""The image sets of the benchmarks: noisy images with, if they exist, clean images, masks and parts.

`DIVSEG_DATA` names the folder with the sets. Noise is simulated as the ``make_noise.py`` in that folder does it, pixel
for pixel: one affine map a set puts every image on a common grey scale, and the random numbers of an image depend on
its name and the level alone. A set at a noise level is written ``SET-LEVEL``, such as ``dsb2018_fluo-n20``.

``demo`` is the nuclei image that the stardist wheel carries, with simulated noise, cut in four, and ``field_...`` are
the synthetic fields of :mod:`benchmarks.fields`; neither needs a folder.

Only the demo imports divseg, so that other tools can be run on the same images by whichever Python has them.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import tifffile
from numpy.typing import NDArray

from benchmarks.fields import COUNT, KINDS, draw_field
from benchmarks.record import data_root

T = TypeVar("T")

SPLIT = Path(__file__).parent / "nuclei_model" / "split.csv"
"""Part of each image of dsb2018_fluo and bbbc039, by groups of similar images."""

AFFINE = {"dsb2018_fluo": (0.0, 1.0), "text_pages": (0.0, 1.0), "bbbc039": (110.0, 255.0 / 1500.0)}
"""Offset and factor that put the images of a set on the common grey scale."""
GAUSSIAN = {"n10": 10.0, "n20": 20.0, "n40": 40.0, "n55": 55.0, "n70": 70.0}
"""Standard deviation of the noise, by level."""
POISSON = {"pg_mid": (0.20, 0.5, 2.0, 4.0), "pg_low": (0.04, 0.3, 5.0, 5.0)}
"""Photons a grey level, photons of background, gain, standard deviation of reading; by level."""
BASE = 100.0
"""Offset of the camera in the Poisson-Gaussian levels."""
NOISE_SEED = 2026

REAL = ("lowsnr_nuclei", "lowsnr_cells", "fmd_confocal_pairs")
"""Sets whose noise is real; their level is called real."""

LEVELS: dict[str, tuple[str, ...]] = {
    "dsb2018_fluo": ("n20", "pg_mid", "pg_low"),
    "bbbc039": ("pg_mid", "pg_low"),
    "lowsnr_nuclei": ("real",),
    "lowsnr_cells": ("real",),
    "demo": ("demo",),
}
"""Sets with masks, on which segmentations are scored, and their noise levels."""

CLEAN = (
    "dsb2018_fluo-n10",
    "dsb2018_fluo-n20",
    "bbbc039-pg_mid",
    "bbbc039-pg_low",
    "fmd_confocal_pairs-real",
    "text_pages-n70",
)
"""Sets with clean images, on which denoised images are scored."""

SCORED = {"dsb2018_fluo": 24, "bbbc039": 6}
"""Number of images on which denoised images are scored; all of them if a set is not named."""


@dataclass(frozen=True)
class Picture:
    """One image of a set; arrays have one shape (Y, X)."""

    name: str
    noisy: NDArray[np.float32]
    clean: NDArray[np.float32] | None
    masks: NDArray[np.integer] | None
    part: str
    """train, validation or test, by groups of similar images; test if a set has no parts."""

    @property
    def truth(self) -> NDArray[np.float32]:
        """The clean image of a set that has them (see :func:`load_clean`)."""
        assert self.clean is not None
        return self.clean


def split_name(job: str) -> tuple[str, str]:
    """Return set and noise level of ``SET-LEVEL``.

    Raises
    ------
    SystemExit
        If there is no level.
    """
    name, dash, level = job.rpartition("-")
    if not dash:
        raise SystemExit(f"{job!r} is not a SET-LEVEL, such as {CLEAN[0]}")
    return name, level


def evenly(items: Sequence[T], count: int | None) -> list[T]:
    """Return `count` of the items in the middles of as many equal parts; all of them if `count` is None or more."""
    count = len(items) if count is None else min(count, len(items))
    return [items[int((k + 0.5) * len(items) / count)] for k in range(count)]


def end_to_end(items: Sequence[T], count: int | None) -> list[T]:
    """Return `count` evenly spaced items, the first and the last among them; all if `count` is None or more."""
    if count is None or len(items) <= count:
        return list(items)
    return [items[k] for k in np.linspace(0, len(items) - 1, count).round().astype(int)]


def known_noise(level: str) -> str | None:
    """Return the noise of a simulated level as divseg's option ``noise``, None for real noise."""
    if level in GAUSSIAN:
        return f"gaussian,std={GAUSSIAN[level]:g}"
    if level in POISSON:
        # var = gain^2 * photons + read^2 with signal = BASE + gain * photons
        _, _, gain, read = POISSON[level]
        return f"poisson-gaussian,a={gain:g},b={read**2 - gain * BASE:g}"
    return None


def load_set(name: str, level: str) -> list[Picture]:
    """Return the images of a set at a noise level, ``real`` for sets of real noise.

    Raises
    ------
    SystemExit
        If the set or level is unknown, or the folder is missing.
    """
    if name == "demo":
        return _demo()
    if name in KINDS and level in (*GAUSSIAN, *POISSON):
        return _fields(name, level)
    if (name in REAL) != (level == "real") or not (name in REAL or name in AFFINE):
        names = ", ".join([*AFFINE, *REAL, *KINDS, "demo"])
        raise SystemExit(f"no noise level {level!r} for the set {name!r} (sets: {names}; levels: real for real noise)")
    root = data_root() / name
    if name == "fmd_confocal_pairs":
        files = sorted((root / "noisy").glob("*.tif"))
        return [Picture(f.stem, _read(f), _read(root / "reference" / f.name), None, "test") for f in files]
    parts, pictures = _parts(name), []
    for file in sorted((root / "images").glob("*.tif")):
        image, mask_file = tifffile.imread(file), root / "masks" / file.name
        if name in REAL:
            noisy, clean = image.astype(np.float32), None
        else:
            signal = _grey(image, name)
            noisy = add_noise(signal, level, _generator(name, file.name, level)).astype(np.float32)
            clean = expected(signal, level).astype(np.float32)
        masks = tifffile.imread(mask_file) if mask_file.is_file() else None
        pictures.append(Picture(file.stem, noisy, clean, masks, parts.get(file.name, "test")))
    return pictures


def load_clean(job: str) -> list[Picture]:
    """Return all images of ``SET-LEVEL``.

    Raises
    ------
    SystemExit
        If the set is unknown, is missing, or has no clean images to compare with.
    """
    pictures = load_set(*split_name(job))
    if any(p.clean is None for p in pictures):
        raise SystemExit(f"{job} has no clean images to compare with (sets: {', '.join(CLEAN)})")
    return pictures


def scored(pictures: list[Picture], name: str, limit: int | None = None) -> list[Picture]:
    """Return the images of a set on which denoised images are scored: always the same, evenly chosen.

    Parameters
    ----------
    pictures : list of Picture
        All images of the set.
    name : str
        The set.
    limit : int, optional
        At most so many of them, for trials.
    """
    return evenly(evenly(pictures, SCORED.get(name)), limit)


def denoised_file(folder: Path, job: str, picture: str) -> Path:
    """Return where another tool leaves its denoised image."""
    return folder / job / f"{picture}.npy"


def read_denoised(folder: Path, job: str, picture: Picture) -> NDArray[np.float32] | None:
    """Return the image that another tool has denoised, from ``FOLDER/SET-LEVEL/NAME.npy`` or ``.tif``, or None.

    Raises
    ------
    SystemExit
        If the file does not fit the image.
    """
    file = denoised_file(folder, job, picture.name)
    image = file if file.is_file() else file.with_name(f"{picture.name}.tif")
    if not image.is_file():
        return None
    array = (np.load(image) if image is file else tifffile.imread(image)).astype(np.float32)
    if array.shape != picture.noisy.shape:
        raise SystemExit(f"{image} has the shape {array.shape}, the noisy image {picture.noisy.shape}")
    return array


def read_split() -> list[dict[str, str]]:
    """Return the rows ``set, file, group, part`` of the split."""
    with SPLIT.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def expected(signal: NDArray[np.float64], level: str) -> NDArray[np.float64]:
    """Return the clean image in the units of the noisy one."""
    if level in GAUSSIAN:
        return signal
    photons, background, gain, _ = POISSON[level]
    return BASE + gain * (photons * signal + background)


def add_noise(signal: NDArray[np.float64], level: str, rng: np.random.Generator) -> NDArray[np.floating]:
    """Return a noisy image; the Poisson-Gaussian levels are rounded as a camera does."""
    if level in GAUSSIAN:
        return signal + rng.normal(0.0, GAUSSIAN[level], signal.shape)
    photons, background, gain, read = POISSON[level]
    counts = rng.poisson(photons * signal + background)
    return np.clip(np.rint(BASE + gain * counts + rng.normal(0.0, read, signal.shape)), 0, 65535)


def psnr(image: NDArray[np.floating], clean: NDArray[np.floating]) -> float:
    """Peak signal-to-noise ratio in dB, with the range of the clean image as the peak."""
    error = np.mean((image.astype(np.float64) - clean) ** 2)
    return float(20 * np.log10(float(clean.max()) - float(clean.min())) - 10 * np.log10(error))


def _grey(image: NDArray[np.generic], name: str) -> NDArray[np.float64]:
    offset, factor = AFFINE[name]
    return np.maximum(0.0, (image.astype(np.float64) - offset) * factor)


def _generator(name: str, file: str, level: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{NOISE_SEED}|{name}|{file}|{level}|0".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def _read(file: Path) -> NDArray[np.float32]:
    return tifffile.imread(file).astype(np.float32)


def _parts(name: str) -> dict[str, str]:
    return {row["file"]: row["part"] for row in read_split() if row["set"] == name}


def _fields(name: str, level: str) -> list[Picture]:
    pictures = []
    for number in range(COUNT):
        clean, labels = draw_field(name, number)
        noisy = add_noise(clean, level, _generator(name, str(number), level)).astype(np.float32)
        pictures.append(
            Picture(f"{name}{number:02d}", noisy, expected(clean, level).astype(np.float32), labels, "test")
        )
    return pictures


def _demo() -> list[Picture]:
    """Quarters of the demo image: two to tune on, two to score."""
    from divseg.workflow.demo import demo_image

    noisy, truth, clean = demo_image()
    half_y, half_x = (side // 2 for side in noisy.shape)
    pictures = []
    for k, (y, x) in enumerate((y, x) for y in (0, half_y) for x in (0, half_x)):
        cut = np.s_[y : y + half_y, x : x + half_x]
        part = "validation" if k in (0, 3) else "test"
        pictures.append(
            Picture(f"quarter{k}", noisy[cut].astype(np.float32), clean[cut].astype(np.float32), truth[cut], part)
        )
    return pictures
