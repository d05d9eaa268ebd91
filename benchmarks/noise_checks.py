"""How well noise that is correlated between pixels is detected, and how often independent noise is taken for it.

Images with little noise of their own get Gaussian noise of a standard deviation of 10 or 20 grey values of 255, of
whose variance a share is correlated: the same along rows or columns, or blurred. The threshold of each set is chosen on
the other sets: the geometric mean of the 98 % quantile of clean images and the 5 % quantile at a share of 20 %;
photographs (bsd68), textured all over, are never chosen on. Images of real noise come last.

    DIVSEG_DATA=... python -m benchmarks.noise_checks [--images 8] [--record]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage as ndi

from benchmarks.record import data_root, write_result
from benchmarks.sets import evenly
from divseg.denoise.noise.correlation import CORRELATED, noise_spectrum

Array = NDArray[np.float64]

CLEAN = {
    "dsb2018_fluo": "images",
    "dsb2018_more": "images",
    "bbbc039": "images",
    "w2s_pairs": "reference",
    "fmd_confocal_pairs": "reference",
    "text_pages": "images",
    "bsd68": "images",
}
"""Sets of images with little noise, and the folder with them; bsd68 are photographs."""

REAL = ("lowsnr_nuclei/images", "lowsnr_cells/images", "w2s_pairs/noisy", "fmd_confocal_pairs/noisy")

SHARES = (0.1, 0.2, 0.4, 0.8)
BRIGHT = 200.0
"""Grey value that the 99.9 % quantile of an image is brought to."""


def _smooth(sigma: float) -> Callable[[Array], Array]:
    def blur(noise: Array) -> Array:
        blurred = ndi.gaussian_filter(noise, sigma, mode="wrap")
        return np.asarray(blurred / blurred.std())

    return blur


KINDS: dict[str, Callable[[Array], Array]] = {
    "rows": lambda noise: np.repeat(noise[:, :1], noise.shape[1], axis=1),
    "columns": lambda noise: np.repeat(noise[:1], noise.shape[0], axis=0),
    "3 pixels along rows": lambda noise: ndi.convolve1d(noise, np.full(3, 3**-0.5), axis=1),
    "blur 0.7": _smooth(0.7),
    "blur 2": _smooth(2.0),
}


def correlated_noise(kind: str, share: float, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Return noise of standard deviation 1, of whose variance a share is correlated."""
    white, other = rng.standard_normal((2, *shape))
    return np.asarray(np.sqrt(1 - share) * white + np.sqrt(share) * KINDS[kind](other))


def images(folder: Path, count: int) -> Iterator[Array]:
    """Yield images of a set, at most 512x512 pixels, on a common grey scale."""
    for file in evenly(sorted(folder.glob("*.tif")), count):
        image = tifffile.imread(file).astype(np.float64)
        image = (image if image.ndim == 2 else image[0])[:512, :512]
        low, high = np.quantile(image, (0.001, 0.999))
        yield (image - low) * (BRIGHT / (high - low))


def strength(image: Array) -> float:
    """Return what is compared with the threshold."""
    found = noise_spectrum(image)
    return max(found.rows, found.columns, found.smooth)


def measure(count: int) -> dict[str, dict[tuple[str, float], list[float]]]:
    """Return the strengths of the images by set, kind of noise and share; ``("clean", 0)`` is independent noise."""
    found: dict[str, dict[tuple[str, float], list[float]]] = {}
    for name, part in CLEAN.items():
        found[name] = {}
        for k, image in enumerate(images(data_root() / name / part, count)):
            rng, std = np.random.default_rng([7, k]), (10.0, 20.0)[k % 2]
            clean = image + std * rng.standard_normal(image.shape)
            found[name].setdefault(("clean", 0.0), []).append(strength(clean))
            for kind in KINDS:
                for share in SHARES:
                    noisy = image + std * correlated_noise(kind, share, image.shape, rng)
                    found[name].setdefault((kind, share), []).append(strength(noisy))
    return found


def _pooled(found: dict[str, dict[tuple[str, float], list[float]]], keys: list[tuple[str, float]]) -> Array:
    return np.array([value for table in found.values() for key in keys for value in table.get(key, [])])


def _threshold(found: dict[str, dict[tuple[str, float], list[float]]]) -> float:
    clean = np.quantile(_pooled(found, [("clean", 0.0)]), 0.98)
    return float(np.sqrt(clean * np.quantile(_pooled(found, [(kind, 0.2) for kind in KINDS]), 0.05)))


def tables(found: dict[str, dict[tuple[str, float], list[float]]]) -> str:
    """Return the tables in Markdown."""
    lines = ["Threshold of each set chosen on the other sets; detected of all images.", ""]
    lines += [f"| set | threshold | false alarms | {' | '.join(f'{kind}, 20 %' for kind in KINDS)} |"]
    lines += ["| --- " * (3 + len(KINDS)) + "|"]
    for name, table in found.items():
        limit = _threshold({other: values for other, values in found.items() if other not in (name, "bsd68")})
        cells = [
            f"{sum(v > limit for v in table[key])} of {len(table[key])}"
            for key in [("clean", 0.0), *((kind, 0.2) for kind in KINDS)]
        ]
        lines.append(f"| {name} | {limit:.2f} | {' | '.join(cells)} |")
    micro = {name: table for name, table in found.items() if name != "bsd68"}
    clean = _pooled(micro, [("clean", 0.0)])
    lines += [
        "",
        f"With the threshold of the package, {CORRELATED:g}, on all sets but bsd68 (median strength): "
        f"{(clean > CORRELATED).sum()} false alarms in {len(clean)} images ({np.median(clean):.2f}).",
        "",
    ]
    lines += [f"| correlated share of the variance | {' | '.join(KINDS)} |", "| --- " * (1 + len(KINDS)) + "|"]
    for share in SHARES:
        cells = []
        for kind in KINDS:
            values = _pooled(micro, [(kind, share)])
            cells.append(f"{(values > CORRELATED).sum()} of {len(values)} ({np.median(values):.2f})")
        lines.append(f"| {share:.0%} | {' | '.join(cells)} |")
    return "\n".join(lines)


def real_noise() -> str:
    """Return a table of the images of real noise."""
    lines = [
        "Real noise, largest strength over the images:",
        "",
        "| set | images | rows | columns | smooth | alarms |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in REAL:
        files = sorted((data_root() / name).glob("*.tif"))
        spectra = [noise_spectrum(tifffile.imread(file)) for file in files]
        worst = [max(getattr(s, band) for s in spectra) for band in ("rows", "columns", "smooth")]
        alarms = sum(s.is_correlated for s in spectra)
        lines.append(f"| {name} | {len(files)} | {' | '.join(f'{w:.2f}' for w in worst)} | {alarms} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8, help="images of each set")
    parser.add_argument("--record", action="store_true", help="write results/noise_checks.md")
    options = parser.parse_args()
    body = f"{(__doc__ or '').split('    DIVSEG')[0].strip()}\n\n{tables(measure(options.images))}\n\n{real_noise()}"
    if options.record:
        write_result(
            "noise_checks",
            "Detection of correlated noise",
            f"python -m benchmarks.noise_checks {' '.join(sys.argv[1:])}",
            body,
        )
    else:
        print(body)


if __name__ == "__main__":
    main()
