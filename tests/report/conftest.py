"""A small but true run: discs are blurred and made noisy, samples drawn, segmented, fused and scored."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy import ndimage

K = 8


@dataclass
class Run:
    folder: Path
    noisy: dict[str, np.ndarray]

    def load(self, name: str) -> np.ndarray:
        return self.noisy[name]


def discs(shape: tuple[int, int], n: int, rng: np.random.Generator) -> np.ndarray:
    labels = np.zeros(shape, np.int32)
    for label in range(1, n + 1):
        radius = rng.uniform(5, 11)
        cy, cx = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        y0, y1 = max(0, int(cy - 13)), int(cy + 14)
        x0, x1 = max(0, int(cx - 13)), int(cx + 14)
        part = labels[y0:y1, x0:x1]
        yy, xx = np.mgrid[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]]
        part[((yy - cy) ** 2 + (xx - cx) ** 2 < radius**2) & (part == 0)] = label
    return labels


def segment(image: np.ndarray, threshold: float) -> np.ndarray:
    labels, n = ndimage.label(ndimage.binary_fill_holes(image > threshold))
    areas = np.bincount(labels.ravel(), minlength=n + 1)
    return np.where(areas[labels] >= 25, labels, 0).astype(np.int32)


def iou_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of the objects of `a` (rows) with those of `b` (columns), labels made consecutive."""
    ia, na = compact(a)
    ib, nb = compact(b)
    table = np.bincount((ia * (nb + 1) + ib).ravel(), minlength=(na + 1) * (nb + 1)).reshape(na + 1, nb + 1)
    union = table.sum(1, keepdims=True) + table.sum(0, keepdims=True) - table
    return (table / np.maximum(union, 1))[1:, 1:]


def compact(labels: np.ndarray) -> tuple[np.ndarray, int]:
    present = np.unique(labels[labels > 0])
    return np.searchsorted(np.concatenate([[0], present]), labels), len(present)


def scores(pred: np.ndarray, true: np.ndarray) -> dict[str, float]:
    overlap = iou_matrix(true, pred)
    n_true, n_pred = overlap.shape
    row: dict[str, float] = {"n_true": n_true, "n_pred": n_pred}
    if n_true + n_pred == 0:
        return row | dict.fromkeys(("seg", "ap50", "ap75", "map", "f1"), float("nan"))
    best = overlap.max(axis=1, initial=0) if n_pred else np.zeros(n_true)
    ap = {}
    for t in np.arange(0.5, 1, 0.05):
        hits = int((best > t).sum())
        ap[round(t, 2)] = hits / (n_true + n_pred - hits)
    hits = int((best > 0.5).sum())
    return row | {
        "seg": float(np.where(best > 0.5, best, 0).mean()) if n_true else float("nan"),
        "ap50": ap[0.5],
        "ap75": ap[0.75],
        "map": float(np.mean(list(ap.values()))),
        "f1": 2 * hits / (n_true + n_pred),
    }


def fused_objects(name: str, fused: np.ndarray, masks: list[np.ndarray]) -> pd.DataFrame:
    found = [iou_matrix(fused, mask) for mask in masks]
    areas = [np.bincount(compact(mask)[0].ravel())[1:] for mask in masks]
    rows = []
    sizes = np.bincount(fused.ravel())
    present = np.unique(fused[fused > 0])
    centres = ndimage.center_of_mass(fused > 0, fused, present) if len(present) else []
    for index, (label, centre) in enumerate(zip(present, centres, strict=True)):
        members = [
            (m[index].max(), a[m[index].argmax()])
            for m, a in zip(found, areas, strict=True)
            if m.shape[1] and m[index].max() > 0.5
        ]
        size = np.array([area for _, area in members], float)
        rows.append(
            {
                "image": name,
                "label": label,
                "existence": len(members) / len(masks),
                "mean_iou": float(np.mean([iou for iou, _ in members])) if members else float("nan"),
                "area": int(sizes[label]),
                "area_mean": size.mean() if size.size else float("nan"),
                "area_sd": size.std() if size.size else float("nan"),
                "area_q05": np.quantile(size, 0.05) if size.size else float("nan"),
                "area_q95": np.quantile(size, 0.95) if size.size else float("nan"),
                "p_split": 0.0,
                "p_merge": 0.0,
                "centroid_y": centre[0],
                "centroid_x": centre[1],
            }
        )
    columns = ["image", "label", "existence", "mean_iou", "area", "area_mean", "area_q05", "area_q95"]
    return pd.DataFrame(rows, columns=None if rows else [*columns, "centroid_y", "centroid_x"])


def one_image(folder: Path, name: str, shape: tuple[int, int], n: int, rng: np.random.Generator):
    truth = discs(shape, n, rng)
    bright = rng.uniform(25, 90, truth.max() + 1)
    bright[0] = 0
    clean = 20 + ndimage.gaussian_filter(bright[truth], 1.2)
    noisy = clean + rng.normal(0, 22, shape)
    samples = np.stack(
        [
            0.5 * clean
            + 0.5 * ndimage.gaussian_filter(noisy, 1.5)
            + ndimage.gaussian_filter(rng.normal(0, 22, shape), 2.0) * 1.6
            for _ in range(K)
        ]
    ).astype(np.float32)
    mmse = samples.mean(axis=0)
    masks = [segment(sample, 42.0) for sample in samples]
    vote = np.mean([mask > 0 for mask in masks], axis=0)
    fused = segment(vote, 0.5)
    objects = fused_objects(name, fused, masks)
    for kind, ending, image in (
        ("labels", ".tif", fused),
        ("denoised", ".tif", mmse),
        ("maps", "_sd.tif", samples.std(axis=0)),
        ("maps", "_foreground.tif", vote.astype(np.float32)),
        ("samples", ".tif", samples[:3]),
    ):
        path = folder / kind / f"{name}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, image, photometric="minisblack")
    inputs = {"noisy": segment(noisy, 42.0)}
    inputs |= {f"gaussian sd={sd}": segment(ndimage.gaussian_filter(noisy, sd), 42.0) for sd in (1, 2, 3)}
    inputs |= {"mmse": segment(mmse, 42.0), "single sample": masks[0], "consensus majority": fused}
    rows = [{"image": name, "input": key, **scores(mask, truth)} for key, mask in inputs.items()]
    counts = [len(np.unique(mask)) - 1 for mask in masks]
    image = {
        "image": name,
        "file": f"{name}.tif",
        "plane": "",
        "height": shape[0],
        "width": shape[1],
        "pixel_size_y": 0.325,
        "pixel_size_x": 0.325,
        "pixel_unit": "um",
        "n_objects": len(objects),
        "count_mean": np.mean(counts),
        "count_q05": np.quantile(counts, 0.05),
        "count_q95": np.quantile(counts, 0.95),
        "area_mean": objects["area"].mean() if len(objects) else float("nan"),
        "existence_mean": objects["existence"].mean() if len(objects) else float("nan"),
        "sd_mean": float(samples.std(axis=0).mean()),
        "expected_map": 0.5,
        "expected_seg": 0.6,
        "warnings": "3 saturated pixels" if "2" in name else "",
        "seconds": 1.5,
    }
    return noisy, image, objects, rows


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    metrics = ["map", "ap50", "ap75", "seg", "f1"]
    means = table.groupby("input", sort=False)[[*metrics, "n_pred"]].mean()
    spread = 1.96 * table.groupby("input")["map"].std() / np.sqrt(table["image"].nunique())
    means["map_lo"], means["map_hi"] = means["map"] - spread, means["map"] + spread
    means.insert(0, "n_images", table["image"].nunique())
    gaussians = means[means.index.str.startswith("gaussian")]
    best = gaussians["map"].fillna(-1).idxmax()
    rows = means.drop(index=[name for name in gaussians.index if name != best])
    rows = rows.rename(index={best: f"best gaussian ({best.removeprefix('gaussian ')})"})
    return rows.rename_axis("input").reset_index()


def training_log(path: Path, steps: int, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(0, steps, 10)
    loss = 4.5 + 2 * np.exp(-t / (steps / 8)) + rng.normal(0, 0.06, len(t))
    kl = 30 * (1 - np.exp(-t / (steps / 3))) + rng.normal(0, 0.8, len(t))
    lines = []
    for k, step in enumerate(t.tolist()):
        record = {"step": step, "loss": loss[k], "nll": loss[k] - 0.1, "kl": kl[k], "lr": 1e-3, "beta": 1.0}
        record |= {"active": int(64 * (1 - np.exp(-step / (steps / 4)))), "megapixels": step * 0.065}
        if k % 20 == 0:
            record["val_loss"] = loss[k] + 0.1
        lines.append(json.dumps(record))
    path.write_text("\n".join(lines) + "\n")


def make_run(
    folder: Path,
    sizes: dict[str, tuple[int, int]],
    *,
    seed: int = 0,
    density: float = 1 / 900,
    truth: bool = True,
) -> Run:
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    noisy, images, objects, rows = {}, [], [], []
    for name, shape in sizes.items():
        n = round(shape[0] * shape[1] * density)
        noisy[name], image, table, score = one_image(folder, name, shape, n, rng)
        images.append(image)
        objects.append(table)
        rows += score
    pd.DataFrame(images).to_csv(folder / "images.csv", index=False)
    filled = [table for table in objects if len(table)] or objects[:1]
    pd.concat(filled).to_csv(folder / "objects.csv", index=False)
    pd.DataFrame(columns=["image", "file", "stage", "error"]).to_csv(folder / "failures.csv", index=False)
    if truth:
        table = pd.DataFrame(rows)
        table.to_csv(folder / "scores.csv", index=False)
        summarise(table).to_csv(folder / "summary.csv", index=False)
    training_log(folder / "model" / "training.jsonl", 4000, rng)
    record = {
        "divseg": "0.1.0",
        "created": "2025-01-31T12:00:00+00:00",
        "config": {
            "samples": K,
            "segmenter": "otsu,smooth=1",
            "consensus": {"method": "majority", "target": "map"},
            "train": {"steps": 4000, "noise": "learned"},
        },
        "device": "cpu",
        "versions": {"python": "3.12.1", "torch": "2.4.0", "numpy": "2.1.0"},
        "seed": 0,
        "input": "plate1/",
        "n_images": len(sizes),
        "n_failed": 0,
        "timings": {"train_s": 754.2, "images_s": 31.0},
        "inputs": [{"name": name, "path": f"plate1/{name}.tif", "plane": None} for name in sizes],
        "training": {
            "steps": 4000,
            "seconds": 754.2,
            "megapixels": 262.1,
            "kl_per_pixel": 0.031,
            "noise": {"kind": "poisson-gaussian", "a": 1.52, "b": 310.0},
            "stopped": "step limit reached",
        },
    }
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return Run(folder, noisy)


@pytest.fixture(scope="session")
def builder() -> Callable[..., Run]:
    return make_run
