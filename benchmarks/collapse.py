"""Does training collapse? KL per pixel after a short training on dim noisy images, for several seeds.

    DIVSEG_DATA=... python -m benchmarks.collapse [--seeds 10] [--steps 400] [--images 16] [--sd 20]

The dimmest images of the DSB 2018 fluorescence set (by mean intensity) get Gaussian noise; training runs with the
default settings and known noise as well as co-learned noise. A collapsed model has a KL of about 0.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import tifffile

from benchmarks.record import data_root, write_result
from divseg import DivNoising
from divseg.errors import TrainingError


def dim_images(count: int, sd: float) -> list[np.ndarray]:
    """Return the dimmest images with seeded Gaussian noise, float32."""
    files = sorted((data_root() / "dsb2018_fluo" / "images").glob("*.tif"))
    images = sorted((tifffile.imread(f) for f in files), key=lambda im: float(im.mean()))[:count]
    rng = np.random.default_rng(2026)
    return [(im + rng.normal(0.0, sd, im.shape)).astype(np.float32) for im in images]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--sd", type=float, default=20.0)
    a = parser.parse_args()
    images = dim_images(a.images, a.sd)
    noises = [f"gaussian,sd={a.sd:g}", "learned"]
    rows = ["| seed | " + " | ".join(f"KL, {n}" for n in noises) + " |", "| --- |" + " --- |" * len(noises)]
    alive = dict.fromkeys(noises, 0)
    for seed in range(a.seeds):
        cells = []
        for noise in noises:
            try:
                model = DivNoising.fit(images, noise=noise, train_steps=a.steps, seed=seed, device="cpu")
                kl = model.training["kl_per_pixel"]
            except TrainingError as error:
                warnings.warn(str(error), stacklevel=1)
                kl = 0.0
            alive[noise] += kl > 1e-3
            cells.append(f"{kl:.4f}")
        rows.append(f"| {seed} | " + " | ".join(cells) + " |")
        print(rows[-1], flush=True)
    verdict = ", ".join(f"{alive[n]} of {a.seeds} above 0.001 with {n}" for n in noises)
    means = f"{np.mean([im.mean() for im in images]):.1f}"
    body = (
        f"{a.images} dim images (mean intensity {means}), noise sd {a.sd:g}, {a.steps} steps; KL in nats per pixel.\n\n"
        + "\n".join(rows)
        + f"\n\n{verdict}."
    )
    command = f"python -m benchmarks.collapse --seeds {a.seeds} --steps {a.steps} --images {a.images} --sd {a.sd:g}"
    write_result("collapse", "Posterior collapse", command, body)


if __name__ == "__main__":
    main()
