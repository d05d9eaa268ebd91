"""Is one network for two channels at least as good as one for each? PSNR after equal time of the processor.

    python -m benchmarks.together [--steps 300] [--images 8] [--samples 16] [--record]

Images are drawn (:mod:`benchmarks.nuclei_model.synthetic`): nuclei, and in the second channel the same nuclei hollowed
out, in another order of brightness, with surroundings that the first does not have. Noise is Gaussian, known, and
stronger in the second channel. The single networks have `--steps` steps each; the joint one has as many, and again as
many as it does in the time of both.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from benchmarks.nuclei_model.synthetic import draw
from benchmarks.record import limit_threads, write_result
from benchmarks.sets import psnr
from divseg import DivNoising
from divseg.io import Image

SIDE, NOISE = 192, (0.15, 0.3)
"""Pixels on a side; standard deviations of the noise, with clean images from about 0 to 1."""


def pair(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw two clean channels, shape (2, Y, X)."""
    while True:
        nuclei, labels = draw(SIDE, rng)
        if labels.max() > 4:
            break
    shades = np.concatenate([[0.0], rng.uniform(0.3, 1.0, labels.max())])[labels]
    hollow = shades * np.exp(-distance_transform_edt(labels > 0) / 4)
    around = gaussian_filter(rng.standard_normal(labels.shape), 12)
    marker = gaussian_filter(hollow, 0.8) + 0.15 * around / around.std()
    return np.stack([np.clip(nuclei, 0, 1.5), marker]).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/together.md")
    args = parser.parse_args()
    limit_threads(1)
    rng = np.random.default_rng(args.seed)
    clean = [pair(rng) for _ in range(args.images)]
    spread = np.array(NOISE, np.float32)[:, None, None]
    noisy = [image + spread * rng.standard_normal(image.shape, np.float32) for image in clean]
    names = [f"gaussian,std={std:g}" for std in NOISE]

    def train(channels: list[int], steps: int) -> tuple[DivNoising, float]:
        images = [
            Image(np.ascontiguousarray(image[channels] if len(channels) > 1 else image[channels[0]]), axes, f"i{k}")
            for k, image in enumerate(noisy)
            for axes in ["CYX" if len(channels) > 1 else "YX"]
        ]
        began = time.process_time()
        noise = [names[c] for c in channels]
        model = DivNoising.fit(images, noise=noise, train_steps=steps, seed=args.seed, device="cpu")
        return model, time.process_time() - began

    def scores(model: DivNoising, channels: list[int]) -> list[float]:
        """Return the mean PSNR of the MMSE of each channel."""
        found = []
        for image, truth in zip(noisy, clean, strict=True):
            if len(channels) > 1:
                made = model.mmse(Image(image[channels], "CYX", "i"), n=args.samples)
            else:
                made = model.mmse(image[channels[0]], n=args.samples)[None]
            found.append([psnr(one, truth[c]) for one, c in zip(made, channels, strict=True)])
        return [float(value) for value in np.mean(found, axis=0)]

    rows, start = [], [np.mean([psnr(n[c], t[c]) for n, t in zip(noisy, clean, strict=True)]) for c in (0, 1)]
    rows.append(f"| noisy | | | {start[0]:.2f} | {start[1]:.2f} |")
    alone = [train([c], args.steps) for c in (0, 1)]
    first, second = (scores(model, [c])[0] for c, (model, _) in enumerate(alone))
    both = sum(seconds for _, seconds in alone)
    rows.append(f"| two networks | {args.steps} each | {both:.0f} s | {first:.2f} | {second:.2f} |")
    print("\n".join(rows), flush=True)
    seconds = 0.0
    for steps in (args.steps, 0):
        steps = steps or round(args.steps * both / seconds)
        model, seconds = train([0, 1], steps)
        one, two = scores(model, [0, 1])
        rows.append(f"| one network for both | {steps} | {seconds:.0f} s | {one:.2f} | {two:.2f} |")
        print(rows[-1], flush=True)
    body = (
        f"{args.images} drawn images of {SIDE}x{SIDE} pixels with two channels that show the same nuclei; known "
        f"Gaussian noise of standard deviation {NOISE[0]:g} and {NOISE[1]:g}; mean of {args.samples} samples; one "
        f"thread (torch {torch.__version__}).\n\n"
        "| | steps | training, processor | PSNR, first channel (dB) | PSNR, second channel (dB) |\n"
        "| --- | --- | --- | --- | --- |\n" + "\n".join(rows)
    )
    if args.record:
        command = f"python -m benchmarks.together --steps {args.steps} --images {args.images} --samples {args.samples}"
        write_result("together", "Two channels denoised together", command, body)


if __name__ == "__main__":
    main()
