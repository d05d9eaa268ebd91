"""Score `stardist:nuclei` on images of groups that it never saw.

    DIVSEG_DATA=... python -m benchmarks.nuclei_model.score --denoisers FOLDER [--former MODEL] [--part test]

Takes the part from ``split.csv``, segments the clean images, noisy versions of them (Gaussian, std in percent of the
range between the 1st and the 99.8th percentile of the clean image), and the mean of posterior samples (MMSE) of
dsb2018_fluo with few photons (``pg_low``), by a denoiser trained on all its noisy images (kept in the folder of
denoisers). The test part includes drawn fields of textured nuclei (:mod:`benchmarks.fields`), by another generator than
the training's.

Each is segmented with the model as it is, with the image resized by the factor for which the mean object probability is
highest (``scale=auto``), by a former model (clean images and MMSE alone), and, for comparison, with Otsu's threshold;
the scores are pooled over all objects of a set.
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
from benchmarks.sets import load_set, read_split
from benchmarks.trained import trained
from divseg import evaluate, segmenter
from divseg.io import read, read_labels
from divseg.metrics import THRESHOLDS, summarize, to_markdown

SETS = ("dsb2018_fluo", "bbbc039")
NOISE = (0, 10, 20)
DENOISED = ("dsb2018_fluo", "pg_low")
SAMPLES = 32
DRAWN = "field_textured"
OTSU = "otsu,smooth=1,split=distance,min_size=20"


def images(part: str, denoisers: Path, minutes: float) -> Iterator[tuple[dict[str, str], NDArray[Any], NDArray[Any]]]:
    """Yield where an image is from (``set``, ``group``, ``image``, ``noise``), the image and the truth."""
    root = data_root()
    rows = [row for row in read_split() if row["part"] == part and row["set"] in SETS]
    for row in rows:
        image = np.asarray(read(root / row["set"] / "images" / row["file"])[0])
        truth = read_labels(root / row["set"] / "masks" / row["file"])
        where = {"set": row["set"], "group": row["group"], "image": row["file"]}
        for percent in NOISE:
            yield where | {"noise": f"{percent} %"}, noisy(image, percent, row["file"]), truth
    model = trained(denoisers, *DENOISED, minutes=minutes, device="cpu")
    groups = {row["file"]: row["group"] for row in rows if row["set"] == DENOISED[0]}
    for picture in load_set(*DENOISED):
        if (name := f"{picture.name}.tif") in groups and picture.masks is not None:
            where = {"set": DENOISED[0], "group": groups[name], "image": name, "noise": f"MMSE {DENOISED[1]}"}
            yield where, model.mmse(picture.noisy, n=SAMPLES), picture.masks
    for picture in load_set(DRAWN, "n10") if part == "test" else ():  # the clean images of any level
        if picture.masks is not None:
            yield {"set": DRAWN, "group": DRAWN, "image": picture.name, "noise": "0 %"}, picture.truth, picture.masks


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
    parser.add_argument("--former", help="name or folder of another StarDist model to compare with")
    parser.add_argument("--part", default="test", choices=("train", "validation", "test"))
    parser.add_argument("--denoisers", type=Path, required=True, help="folder of denoisers, see benchmarks.trained")
    parser.add_argument("--minutes", type=float, default=8.0, help="training time of the denoiser if it is not there")
    a = parser.parse_args()
    plain = f"stardist:{a.model}"
    ours = (plain, f"{plain},scale=auto")
    methods = {spec: segmenter(spec) for spec in (*ours, OTSU)}
    former = {f"former{how}": segmenter(f"stardist:{a.former}{how}") for how in ("", ",scale=auto")} if a.former else {}
    rows = []
    for where, image, truth in images(a.part, a.denoisers, a.minutes):
        added = former if where["noise"] in ("0 %", f"MMSE {DENOISED[1]}") else {}
        for method, segment in (methods | added).items():
            scores = evaluate(segment.fit(image)(image), truth).as_row()
            rows.append({**where, "method": method, **scores})
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
        clean = clean[clean["set"] != DRAWN]
        groups = summarize(clean, ["set", "group"])[["set", "group", "n_images", "n_true", "ap50_pooled", "pq_pooled"]]
        parts += [f"## {method}: by IoU threshold, clean images\n\n{to_markdown(by_threshold(clean))}"]
        parts += [f"## {method}: by group, clean images\n\n{to_markdown(groups)}"]
    command = f"python -m benchmarks.nuclei_model.score --model {Path(a.model).name} --part {a.part} --denoisers FOLDER"
    command += " --former MODEL" if a.former else ""
    name = "stardist_nuclei" if a.part == "test" else f"stardist_nuclei_{a.part}"
    write_result(name, "stardist:nuclei on unseen groups of images", command, "\n".join(parts))


if __name__ == "__main__":
    main()
