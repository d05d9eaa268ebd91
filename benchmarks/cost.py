"""What does quality cost? Scores after a fixed time of training, against those of a first version after 40 minutes.

    DIVSEG_DATA=... python -m benchmarks.cost --models MODELS [--minutes 10] [--threads 2] [--device auto] [--record]

The protocol is fixed: DSB 2018 fluorescence with Gaussian noise of sd 20, learned noise, trained on all its noisy
images; the first 24 images of 256x256 by name; 16 samples; Otsu with splitting by distance and no smoothing of its own,
the same for every input; clustering of the samples. A flat network of 261 thousand parameters reached 36.1 dB and .49
mAP in 40 minutes of two cores, on 24 images that are not on record, of which the clean ones had .594 and the noisy ones
.175: 76 % of that gap. So the share of the gap is what can be compared.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage as ndi

from benchmarks.datasets import Picture, load_set, psnr
from benchmarks.quality_sets import clean_of
from benchmarks.record import write_result
from benchmarks.threads import limit_threads
from benchmarks.trained import trained
from divseg import evaluate, fuse, segmenter

SIDE, COUNT, SAMPLES = 256, 24, 16
SEGMENTER = "otsu,split=distance,min_size=20"
WIDTHS = (0.5, 1.0, 1.5, 2.0, 3.0)


def chosen(pictures: list[Picture]) -> list[Picture]:
    """Return the images of the protocol."""
    return [p for p in pictures if p.noisy.shape == (SIDE, SIDE) and p.masks is not None][:COUNT]


def rows_of(picture: Picture, samples: np.ndarray) -> list[dict[str, object]]:
    """Score all inputs of one picture."""
    segment = segmenter(SEGMENTER)
    mean, clean = samples.mean(axis=0), clean_of(picture)
    inputs = {"noisy": picture.noisy} | {f"Gaussian sd {w:g}": ndi.gaussian_filter(picture.noisy, w) for w in WIDTHS}
    inputs |= {"MMSE": mean, "clean image": clean}
    out = []
    for name, image in inputs.items():
        error = np.nan if name == "clean image" else psnr(image, clean)
        out.append({"input": name, "psnr": error, "labels": segment.fit(image)(image)})
    fitted = segment.fit(mean)
    masks = list(fitted(samples))
    for sample, labels in zip(samples, masks, strict=True):
        out.append({"input": "single sample", "psnr": psnr(sample, clean), "labels": labels})
    out.append({"input": "consensus of the samples", "psnr": np.nan, "labels": fuse(masks).labels})
    for row in out:
        found = evaluate(row.pop("labels"), np.asarray(picture.masks))
        row |= {"image": picture.name, "map": found.map, "ap50": found.ap50, "seg": found.seg}
    return out


def table(rows: pd.DataFrame) -> str:
    """Return the table of means: of an input over its draws, then over the images."""
    each = rows.groupby(["input", "image"], sort=False)[["psnr", "map", "ap50", "seg"]].mean()
    mean = each.groupby("input", sort=False).mean()
    widths = [name for name in mean.index if name.startswith("Gaussian")]
    best = mean.loc[widths, "map"].idxmax()
    noisy, clean = mean.loc["noisy", "map"], mean.loc["clean image", "map"]
    lines = ["| input | PSNR dB | mAP | AP50 | SEG | gap closed |", "| --- | --- | --- | --- | --- | --- |"]
    for name, row in mean.drop(index=[w for w in widths if w != best]).iterrows():
        decibels = "" if np.isnan(row["psnr"]) else f"{row['psnr']:.1f}"
        told = f"{name} (best by truth)" if name == best else name
        closed = "" if name in ("noisy", "clean image") else f"{(row['map'] - noisy) / (clean - noisy):.2f}"
        scores = f"{row['map']:.3f} | {row['ap50']:.3f} | {row['seg']:.3f}"
        lines.append(f"| {told} | {decibels} | {scores} | {closed} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--record", action="store_true", help="write the table to results/cost.md")
    a = parser.parse_args()
    limit_threads(a.threads)
    pictures = load_set("dsb2018_fluo", "n20")
    model = trained(a.models, "dsb2018_fluo", "n20", minutes=a.minutes, device=a.device, pictures=pictures)
    judged = chosen(pictures)
    rows = []
    for picture in judged:
        samples = np.concatenate([batch.cpu().numpy() for batch in model.sample(picture.noisy, n=SAMPLES)])
        rows += rows_of(picture, samples)
    facts = model.training
    body = (
        f"{a.minutes:g} minutes of training by the clock with {a.threads} thread(s) "
        f"({facts['megapixels']:.0f} Mpx, device {facts['device']}, "
        f"{facts['precision']}), {len(judged)} images of 256x256 pixels, {SAMPLES} samples, `{SEGMENTER}`, nothing "
        f"tuned. Asked: what 40 minutes gave before (PSNR 36.1, mAP .487 for the MMSE and .492 for the consensus, on "
        f"other images of the set; 74 and 76 % of the gap).\n\n{table(pd.DataFrame(rows))}"
    )
    if a.record:
        command = f"python -m benchmarks.cost --models MODELS --minutes {a.minutes:g} --threads {a.threads} --record"
        write_result("cost", "What the quality of 40 minutes costs now", command, body)
    else:
        print(body)


if __name__ == "__main__":
    main()
