"""Do padding and hot pixels change what is found? mAP against that of the same images without them.

    DIVSEG_DATA=... python -m benchmarks.invalid_pixels [--sets demo ...] [--minutes 1] [--samples 8] [--images 3]
        [--side 256] [--each | --models MODELS] [--record]

A model is trained once a set on its crops as they are (with ``--each`` again for every case, on the spoilt crops), or
taken from a cache of models of whole images (``--models``, :mod:`benchmarks.trained`). The first rows are a yardstick:
other samples of the same crops and, with ``--each``, another model of them.
The consensus of the samples is scored in the valid part alone, that of the unspoilt crops in the same part. All cases
of a crop are sampled with the same latent noise, so that only what is asked about differs. ``auto`` chooses among
thresholdings for every case anew.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.record import write_result
from benchmarks.sets import evenly, load_set, split_name
from benchmarks.trained import trained as from_cache
from divseg import DivNoising, segmenter
from divseg.consensus import LabelStack, fuse
from divseg.io import Image
from divseg.io.defects import without_defects
from divseg.metrics import evaluate
from divseg.workflow.choose_segmenter import METHODS, rank_segmenters

SETS = ("demo-demo", "lowsnr_nuclei-real", "dsb2018_fluo-n20", "bbbc039-pg_mid")

OPTIONS = ",smooth=1,split=distance,min_size=20"
SEGMENTERS = (
    *(method + OPTIONS for method in ("otsu", "li", "isodata", "triangle", "yen", "local", "sauvola", "hysteresis")),
    "stardist:nuclei",
)
CHOICES = [f"{method},smooth={smooth},split=distance,min_size=20" for method in METHODS for smooth in (1, 2)]
"""What ``auto`` chooses among here: a part of its own candidates, to be quick."""

PADDING = (0.01, 0.03, 0.10, 0.25)
HOT = (0.0001, 0.001, 0.005)

Spoil = Callable[[NDArray[np.generic]], tuple[NDArray[np.generic], NDArray[np.bool_]]]
"""From a crop to a spoilt one, and which of its pixels are data."""


def padded(fraction: float, high: bool) -> Spoil:
    """Rows and columns at two sides; a small fraction on the left alone."""

    def spoil(image: NDArray[np.generic]) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        out, valid = image.copy(), np.ones(image.shape, bool)
        share = fraction if fraction < 0.05 else 1 - (1 - fraction) ** 0.5
        valid[:, : round(share * image.shape[1])] = False
        if fraction >= 0.05:
            valid[image.shape[0] - round(share * image.shape[0]) :] = False
        out[~valid] = np.iinfo(image.dtype).max if high else 0
        return out, valid

    return spoil


def round_field(image: NDArray[np.generic]) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Leave a round field of view that touches all four sides."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in image.shape)
    valid = (y[:, None] / (image.shape[0] / 2)) ** 2 + (x / (image.shape[1] / 2)) ** 2 <= 1
    return np.where(valid, image, image.dtype.type(0)), valid


def hot(fraction: float, times: float | None) -> Spoil:
    """Single pixels at a multiple of the brightest, or at 65535."""

    def spoil(image: NDArray[np.generic]) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        rng, out = np.random.default_rng(1), image.astype(np.uint16)
        places = rng.choice(out.size, max(1, round(fraction * out.size)), replace=False)
        value = 65535 if times is None else min(65535, times * float(np.quantile(image, 0.999)))
        out.reshape(-1)[places] = round(value)
        return out, np.ones(image.shape, bool)

    return spoil


def cases() -> dict[str, Spoil]:
    """Return all cases by name."""
    out: dict[str, Spoil] = {}
    for fraction in PADDING:
        for high in (False, True):
            out[f"{fraction:.0%} at {'the maximum' if high else '0'}"] = padded(fraction, high)
        out[f"{fraction:.0%} cropped away"] = padded(fraction, False)
    out["round field of view"] = round_field
    for fraction in HOT:
        for times in (2, 10, None):
            name = "65535" if times is None else f"{times} x the brightest"
            out[f"hot pixels {fraction * 100:g} % at {name}"] = hot(fraction, times)
    return out


def consensus(
    model: DivNoising, crops: list[Image], keys: list[int], samples: int
) -> dict[str, list[NDArray[np.integer]]]:
    """Return the label images of all segmenters, by segmenter."""
    stacks = []
    for crop, key in zip(crops, keys, strict=True):
        posterior = model.posterior(crop)
        posterior.key, posterior.checked = key, True
        stacks.append(np.concatenate([batch.numpy() for batch in model.sample(posterior, n=samples)]))
    valid = [crop.valid for crop in crops]
    ranking = rank_segmenters([stack[:3] for stack in stacks], CHOICES, valid=valid)
    specs = {spec.partition(",")[0]: spec for spec in SEGMENTERS} | {"auto": str(ranking["segmenter"].iloc[0])}
    found = {}
    for name, spec in specs.items():
        found[name] = []
        for stack, mask in zip(stacks, valid, strict=True):
            segment = segmenter(spec).within(mask)
            masks = segment.fit(stack.mean(0))(stack)
            found[name].append(np.asarray(fuse(LabelStack.of(masks), method="clustering").labels))
    return found


def score(labels: list[NDArray[np.integer]], truth: list[NDArray[np.integer]], valid: list[NDArray[np.bool_]]) -> float:
    """Mean over the crops of the mAP in the valid part."""
    each = [evaluate(np.where(v, a, 0), np.where(v, t, 0)).map for a, t, v in zip(labels, truth, valid, strict=True)]
    return float(np.nanmean(each))


def measure(job: str, args: argparse.Namespace) -> list[str]:
    """Return the rows of the table for one set."""
    pictures = [p for p in load_set(*split_name(job)) if p.masks is not None]
    arrays, truth = [], []
    for p in evenly(pictures, args.images):
        cut = tuple(slice((n - min(n, args.side)) // 2, (n + min(n, args.side)) // 2) for n in p.noisy.shape)
        pixels = np.clip(np.rint(p.noisy[cut]), 0, 65535)
        arrays.append(pixels.astype(np.uint8 if pixels.max() < 256 else np.uint16))
        truth.append(np.asarray(p.masks)[cut])

    def trained(crops: list[Image], seed: int = 0) -> DivNoising:
        return DivNoising.fit(crops, noise="estimated", train_minutes=args.minutes, device="cpu", seed=seed)

    def difference(method: str, after: dict[str, list[NDArray[np.integer]]], valid: list[NDArray[np.bool_]]) -> str:
        was, now = score(before[method], truth, valid), score(after[method], truth, valid)
        return f"{was:.3f} {now - was:+.3f}"

    def row(name: str, seen: float, outliers: int, cells: list[str]) -> None:
        rows.append(f"| {job} | {name} | {seen:.2%} | {outliers} | " + " | ".join(cells) + " |")
        print(rows[-1], file=sys.stderr, flush=True)

    plain = [without_defects(Image.from_array(a, f"crop {i}"), "auto") for i, a in enumerate(arrays)]
    keys = list(range(len(plain)))
    name, level = split_name(job)
    model = trained(plain) if args.models is None else from_cache(args.models, name, level, minutes=args.minutes)
    before = consensus(model, plain, keys, args.samples)
    rows: list[str] = []
    everywhere = [np.ones(a.shape, bool) for a in arrays]
    same = {f"other samples, {k}": consensus(model, plain, [1000 * k + i for i in keys], args.samples) for k in (1, 2)}
    if args.each:
        same["another model"] = consensus(trained(plain, 1), plain, keys, args.samples)
    for what, after in same.items():
        row(what, 1.0, 0, [difference(method, after, everywhere) for method in before])
    for name, spoil in cases().items():
        if not re.search(args.only, name):
            continue
        spoilt, valid = map(list, zip(*map(spoil, arrays), strict=True))
        crops = [without_defects(Image.from_array(s, f"crop {i}"), "auto") for i, s in enumerate(spoilt)]
        if name.endswith("cropped away"):
            inside = [tuple(slice(i.min(), i.max() + 1) for i in np.nonzero(v)) for v in valid]
            crops = [
                Image.from_array(a[box], f"crop {i}") for i, (a, box) in enumerate(zip(arrays, inside, strict=True))
            ]
        seen = np.mean(
            [
                1.0 if c.valid is None and c.shape != v.shape else np.mean(v if c.valid is None else c.valid == v)
                for c, v in zip(crops, valid, strict=True)
            ]
        )
        after = consensus(trained(crops) if args.each else model, crops, keys, args.samples)
        if name.endswith("cropped away"):
            for labels in after.values():
                for i, box in enumerate(inside):
                    whole = np.zeros(valid[i].shape, labels[i].dtype)
                    whole[box] = labels[i]
                    labels[i] = whole
        cells = [difference(method, after, valid) for method in before]
        row(name, float(seen), sum(c.outliers for c in crops), cells)
    return rows


def main() -> None:
    """Measure all sets, and write or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--only", default="", help="only cases whose name holds this regular expression")
    parser.add_argument("--models", type=Path, help="cache of models of whole images, trained for --minutes")
    parser.add_argument("--each", action="store_true", help="train again for every case")
    parser.add_argument("--record", action="store_true", help="write results/invalid_pixels.md")
    args = parser.parse_args()
    rows = [row for job in args.sets for row in measure(job, args)]
    names = [*(spec.partition(",")[0] for spec in SEGMENTERS), "auto"]
    body = (
        f"{args.images} crops of {args.side} pixels a set, {args.samples} samples, {args.minutes:g} minutes of "
        f"training{' on whole images' if args.models else ''}. mAP of the crops as they are, in the part that is valid "
        "in the case, and the difference that the "
        "case makes. "
        "Told apart: pixels that are rightly taken as data or not. Mended: outliers in all crops.\n\n"
        f"| set | case | told apart | mended | {' | '.join(names)} |\n|{' --- |' * (4 + len(names))}\n"
        + "\n".join(rows)
    )
    if args.record:
        command = f"python -m benchmarks.invalid_pixels {shlex.join(sys.argv[1:])}"
        write_result("invalid_pixels", "Padding and hot pixels", command, body)
    else:
        print(body)


if __name__ == "__main__":
    main()
