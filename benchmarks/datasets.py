"""The image sets of the benchmarks: noisy images with, where they exist, clean images, masks and parts.

`DIVSEG_DATA` names the folder with the sets. Noise is simulated as the ``make_noise.py`` in that folder does it, pixel
for pixel: one affine map a set puts every image on a common grey scale, and the random numbers of an image depend on
its name and the level alone.

``demo`` is the nuclei image that the stardist wheel carries, with simulated noise, cut in four; it needs no folder.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from benchmarks.record import data_root

SPLIT = Path(__file__).parent / "stardist_nuclei_split.csv"

AFFINE = {"dsb2018_fluo": (0.0, 1.0), "text_pages": (0.0, 1.0), "bbbc039": (110.0, 255.0 / 1500.0)}
"""Offset and factor that put the images of a set on the common grey scale."""
GAUSSIAN = {"n10": 10.0, "n20": 20.0, "n70": 70.0}
"""Standard deviation of the noise, by level."""
POISSON = {"pg_mid": (0.20, 0.5, 2.0, 4.0), "pg_low": (0.04, 0.3, 5.0, 5.0)}
"""Photons a grey level, photons of background, gain, standard deviation of reading; by level."""
BASE = 100.0
"""Offset of the camera in the Poisson-Gaussian levels."""
NOISE_SEED = 2026

REAL = ("lowsnr_nuclei", "lowsnr_cells", "fmd_confocal_pairs")
"""Sets whose noise is real; their level is called real."""


@dataclass(frozen=True)
class Picture:
    """One image of a set; arrays have one shape (Y, X)."""

    name: str
    noisy: NDArray[np.float32]
    clean: NDArray[np.float32] | None
    masks: NDArray[np.integer] | None
    part: str
    """train, validation or test, by groups of similar images; test where a set is not parted."""


def known_noise(level: str) -> str | None:
    """Return the noise of a simulated level in divseg's words, None for real noise."""
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
    if (name in REAL) != (level == "real") or not (name in REAL or name in AFFINE):
        known = ", ".join([*AFFINE, *REAL, "demo"])
        raise SystemExit(f"no noise level {level!r} for the set {name!r} (sets: {known}; levels: real for real noise)")
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
    with SPLIT.open(encoding="utf-8") as file:
        return {row["file"]: row["part"] for row in csv.DictReader(file) if row["set"] == name}


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
