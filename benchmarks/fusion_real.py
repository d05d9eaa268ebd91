"""Compare fusion methods on real posterior samples with each other and with segmenting the MMSE.

    python -m benchmarks.fusion_real --model MODEL --images DIR --masks DIR [--segmenter SPEC] [--name NAME]

Draws samples with a trained model folder, segments each, fuses them with every method, and scores all of it, the MMSE,
single samples and the noisy image with the same segmenter. Paired differences to the MMSE carry a 95 % bootstrap
interval by image.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.record import write_result
from divseg import DivNoising, evaluate, fuse, segmenter
from divseg.io import check_inputs
from divseg.metrics import compare, summarize, to_markdown

VARIANTS: dict[str, dict[str, Any]] = {
    "clustering": {"method": "clustering"},
    "clustering, existence 0.3": {"method": "clustering", "existence": 0.3},
    "clustering, existence 0.5": {"method": "clustering", "existence": 0.5},
    "voting, SIMPLE": {"method": "voting", "scheme": "simple"},
    "voting": {"method": "voting"},
    "mutex": {"method": "mutex"},
    "medoid": {"method": "medoid"},
    "majority": {"method": "majority"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--masks", required=True)
    parser.add_argument("--segmenter", default="otsu,smooth=1,split=distance")
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--name", default="fusion_real")
    a = parser.parse_args()
    model, segment = DivNoising.load(a.model), segmenter(a.segmenter)
    found = check_inputs(a.images, truth=a.masks)
    rows = []
    for ref in found.images.refs:
        if ref.name not in found.truth:
            continue
        image, truth = ref.load(), found.truth[ref.name].load()
        samples = [s.cpu().numpy() for batch in model.sample(image, n=a.samples) for s in batch]
        masks = list(segment(samples))
        results = {"noisy": segment.fit(image)(image), "mmse": segment(np.mean(samples, axis=0))}
        results |= {name: fuse(masks, **options).labels for name, options in VARIANTS.items()}
        rows += [{"image": ref.name, "input": k, **evaluate(v, truth).as_row()} for k, v in results.items()]
        rows += [{"image": ref.name, "input": "single sample", **evaluate(m, truth).as_row()} for m in masks]
        print(ref.name, flush=True)
    table = pd.DataFrame(rows)
    shown = summarize(table, by="input")
    order = ["noisy", "mmse", "single sample", *VARIANTS]
    shown = shown.set_index("input").loc[order].reset_index()
    differences = {}
    for name in order:
        if name != "mmse":
            c = compare(table, name, "mmse", score="map", by="input")
            differences[name] = f"{c.difference:+.3f} [{c.low:+.3f}, {c.high:+.3f}]"
    shown["mAP minus MMSE's [95 %]"] = [differences.get(name, "") for name in order]
    columns = ["input", "map", "ap50", "ap75", "seg", "det", "f1", "pq", "mAP minus MMSE's [95 %]"]
    body = f"{table['image'].nunique()} images, {a.samples} samples, segmenter `{a.segmenter}`.\n\n"
    folders = " ".join(f"--{k} {'/'.join(Path(getattr(a, k)).parts[-2:])}" for k in ("model", "images", "masks"))
    command = f'python -m benchmarks.fusion_real {folders} --segmenter "{a.segmenter}" --samples {a.samples}'
    command += f" --name {a.name}"
    write_result(a.name, "Fusion methods on real posterior samples", command, body + to_markdown(shown[columns]))


if __name__ == "__main__":
    main()
