"""Does training collapse? KL per pixel after a short training, for several seeds and sets of dim noisy images.

    DIVSEG_DATA=... python -m benchmarks.collapse [--seeds 20] [--steps 400] [--images 16] [--sets dim pg_low lowsnr]

Sets: ``dim``, the dimmest images of DSB 2018 (by mean intensity) with Gaussian noise of sd 20; ``pg_low``, BBBC039
with so little light that a nucleus of 100 grey levels gives 4 photons (gain 5, read noise sd 5); ``lowsnr``, the real
recordings of lowsnr_nuclei. Trained with the default settings, with known noise where it is known and with co-learned
noise. A collapsed model has a KL of about 0.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import tifffile

from benchmarks.record import data_root, write_result
from divseg import DivNoising
from divseg.errors import DivsegError


def read(name: str) -> list[np.ndarray]:
    """Return all planes of a set."""
    files = sorted((data_root() / name / "images").glob("*.tif"))
    return [plane for f in files for plane in np.atleast_3d(tifffile.imread(f).T).T]


def evenly(images: list[np.ndarray], count: int) -> list[np.ndarray]:
    """Return `count` of the images, evenly chosen."""
    return [images[int((k + 0.5) * len(images) / count)] for k in range(min(count, len(images)))]


def dim(count: int) -> list[np.ndarray]:
    """Return the dimmest images of DSB 2018 with Gaussian noise of sd 20, float32."""
    rng = np.random.default_rng(2026)
    images = sorted(read("dsb2018_fluo"), key=lambda im: float(im.mean()))[:count]
    return [(im + rng.normal(0.0, 20.0, im.shape)).astype(np.float32) for im in images]


def pg_low(count: int) -> list[np.ndarray]:
    """Return BBBC039 with a few photons a nucleus, uint16: 100 + 5 P(0.04 s + 0.3) + N(0, 5)."""
    rng = np.random.default_rng(2026)
    out = []
    for image in evenly(read("bbbc039"), count):
        grey = np.maximum(0.0, (image.astype(np.float64) - 110.0) * 255.0 / 1500.0)
        noisy = 100.0 + 5.0 * rng.poisson(0.04 * grey + 0.3) + rng.normal(0.0, 5.0, image.shape)
        out.append(np.clip(np.rint(noisy), 0, 65535).astype(np.uint16))
    return out


def lowsnr(count: int) -> list[np.ndarray]:
    """Return real recordings of dim nuclei."""
    return evenly(read("lowsnr_nuclei"), count)


SETS = {
    "dim": (dim, ["gaussian,std=20", "learned"]),
    "pg_low": (pg_low, ["poisson-gaussian,a=5,b=-475", "learned"]),
    "lowsnr": (lowsnr, ["learned"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--learned-only", action="store_true", help="leave the known noise out")
    parser.add_argument("--name", default="collapse", help="of the table")
    a = parser.parse_args()
    columns = [(name, noise) for name in a.sets for noise in SETS[name][1] if noise == "learned" or not a.learned_only]
    data = {name: SETS[name][0](a.images) for name in a.sets}
    rows = ["| seed | " + " | ".join(f"{s}, {n}" for s, n in columns) + " |", "| --- |" + " --- |" * len(columns)]
    alive = dict.fromkeys(columns, 0)
    for seed in range(a.seeds):
        cells = []
        for name, noise in columns:
            try:
                model = DivNoising.fit(data[name], noise=noise, train_steps=a.steps, seed=seed, device="cpu")
                kl = model.training["kl_per_pixel"]
            except DivsegError as error:
                warnings.warn(str(error), stacklevel=1)
                kl = 0.0
            alive[name, noise] += kl > 1e-3
            cells.append(f"{kl:.4f}")
        rows.append(f"| {seed} | " + " | ".join(cells) + " |")
        print(rows[-1], flush=True)
    counts = "; ".join(f"{a.seeds - alive[c]} of {a.seeds} collapsed on {c[0]} with {c[1]}" for c in columns)
    means = ", ".join(f"{name} {np.mean([im.mean() for im in images]):.1f}" for name, images in data.items())
    body = (
        f"KL in nats per pixel after {a.steps} steps on {a.images} images (mean intensity: {means}).\n\n"
        + "\n".join(rows)
        + f"\n\n{counts}."
    )
    command = (
        f"python -m benchmarks.collapse --seeds {a.seeds} --steps {a.steps} --images {a.images} "
        f"--sets {' '.join(a.sets)}{' --learned-only' * a.learned_only}"
    )
    write_result(a.name, "Posterior collapse", command, body)


if __name__ == "__main__":
    main()
