"""Score `stardist:nuclei` on images of groups that it never saw.

    DIVSEG_DATA=... python -m benchmarks.nuclei_model.score [--model nuclei] [--part test]

Takes the part from ``split.csv``, segments the clean images and noisy versions of them (Gaussian, std in
percent of the range between the 1st and the 99.8th percentile of the clean image) with the model as it is, with
each image resized by the factor for which the mean object probability is highest (``scale=auto``), and, for comparison,
with Otsu's threshold, and pools the scores over all objects of a set.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.record import data_root, write_result
from benchmarks.sets import read_split
from divseg import evaluate, segmenter
from divseg.io import read, read_labels
from divseg.metrics import THRESHOLDS, summarize, to_markdown

NOISE = (0, 10, 20)
OTSU = "otsu,smooth=1,split=distance,min_size=20"


def images(part: str) -> Iterator[tuple[dict[str, str], NDArray[Any], NDArray[Any]]]:
    """Yield row of the split, image and truth."""
    root = data_root()
    for row in read_split():
        if row["part"] == part:
            image = read(root / row["set"] / "images" / row["file"])[0]
            yield row, np.asarray(image), read_labels(root / row["set"] / "masks" / row["file"])


def noisy(image: NDArray[Any], percent: int, name: str) -> NDArray[Any]:
    """Add Gaussian noise that depends on nothing but the file's name."""
    if not percent:
        return image
    low, high = np.percentile(image, (1, 99.8))
    rng = np.random.default_rng(zlib.crc32(f"{name} {percent}".encode()))
    return (image + rng.normal(0, percent / 100 * (high - low), image.shape)).astype(np.float32)


def by_threshold(table: pd.DataFrame) -> pd.DataFrame:
    """AP, F1 of summed counts at each IoU threshold, a row for each."""
    rows = []
    for threshold in THRESHOLDS:
        row: dict[str, Any] = {"IoU": threshold}
        for name, part in table.groupby("set", sort=False):
            tp, fp, fn = (part[f"{kind}{100 * threshold:.7g}"].sum() for kind in ("tp", "fp", "fn"))
            row |= {f"AP {name}": tp / (tp + fp + fn), f"F1 {name}": 2 * tp / (2 * tp + fp + fn)}
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nuclei", help="name or folder of a StarDist model")
    parser.add_argument("--part", default="test", choices=("train", "validation", "test"))
    a = parser.parse_args()
    plain = f"stardist:{a.model}"
    ours = (plain, f"{plain},scale=auto")
    methods = {spec: segmenter(spec) for spec in (*ours, OTSU)}
    rows = []
    for row, image, truth in images(a.part):
        for percent in NOISE:
            version = noisy(image, percent, row["file"])
            for method, segment in methods.items():
                scores = evaluate(segment.fit(version)(version), truth).as_row()
                where = {"set": row["set"], "group": row["group"], "image": row["file"]}
                rows.append({**where, "noise": f"{percent} %", "method": method, **scores})
    table = pd.DataFrame(rows)
    shown = summarize(table, ["set", "noise", "method"])
    shown = shown[
        ["set", "noise", "method", "n_images", "n_true", "n_pred"] + [str(c) for c in shown if "_pooled" in str(c)]
    ]
    shown = shown.rename(columns=lambda name: name.removesuffix("_pooled")).drop(columns=["aji_plus"])
    parts = [
        f"Part `{a.part}` of `benchmarks/nuclei_model/split.csv`; scores pooled over all objects of a set.\n\n"
        f"{to_markdown(shown)}"
    ]
    for method in ours:
        clean = table[(table["noise"] == "0 %") & (table["method"] == method)]
        groups = summarize(clean, ["set", "group"])[["set", "group", "n_images", "n_true", "ap50_pooled", "pq_pooled"]]
        parts += [f"## {method}: by IoU threshold, clean images\n\n{to_markdown(by_threshold(clean))}"]
        parts += [f"## {method}: by group, clean images\n\n{to_markdown(groups)}"]
    command = f"python -m benchmarks.nuclei_model.score --model {Path(a.model).name} --part {a.part}"
    write_result("stardist_nuclei", "stardist:nuclei on unseen groups of images", command, "\n".join(parts))


if __name__ == "__main__":
    main()
