"""Words and numbers of the page, made of the tables: overview, settings, warnings, citations."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from divseg.results.open_run import Run
from divseg.results.reader import column, read_table, text

_DIVNOISING = (
    "Prakash M., Krull A., Jug F. Fully unsupervised diversity denoising with convolutional variational "
    "autoencoders. ICLR 2021. arXiv:2006.06072"
)
_STARDIST = (
    "Schmidt U., Weigert M., Broaddus C., Myers G. Cell detection with star-convex polygons. MICCAI 2018. "
    "doi:10.1007/978-3-030-00934-2_30"
)


def number(value: Any, digits: int = 3) -> str:
    """Write a number for people: fixed decimals, thousands apart by a thin space, an en dash if it is not a number."""
    try:
        value = float(value)
    except (TypeError, ValueError):
        return "\u2013"
    if not math.isfinite(value):
        return "\u2013"
    if digits == 0:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.{digits}f}"


def significant(value: Any) -> str:
    """Write a number with four significant digits, an en dash if it is not a number."""
    try:
        value = float(value)
    except (TypeError, ValueError):
        return "\u2013"
    return f"{value:.4g}" if math.isfinite(value) else "\u2013"


def overview(run: Run) -> list[tuple[str, str, str]]:
    """Return the cards at the top of the page: name, value, and an explanation."""
    existence = column(run.objects, "existence")
    existence = existence[np.isfinite(existence)]
    empty = int((column(run.images_table, "n_objects") == 0).sum())
    nothing = f"nothing found in {empty} image{'s' if empty > 1 else ''}" if empty else ""
    cards = [
        ("images", number(len(run.names), 0), ""),
        ("objects", number(len(run.objects), 0), nothing),
        ("median existence", number(np.median(existence) if existence.size else np.nan, 2), "1 = in every sample"),
    ]
    p_true = column(run.objects, "p_true")
    p_true, how = p_true[np.isfinite(p_true)], calibration_source(run)
    name, values = ("p_true", p_true) if p_true.size else ("existence", existence)
    for limit in (0.5, 0.8):
        fraction = f"{100 * np.mean(values < limit):.1f} %" if values.size else "\u2013"
        cards.append((f"{name} below {limit}", fraction, "of all objects"))
    if p_true.size:
        cards.append(("objects expected right", number(p_true.sum(), 0), f"of {p_true.size}, {how}"))
    for score, title in (("map", "mAP"), ("seg", "SEG")):
        value = _mean(column(run.images_table, f"calibrated_{score}"))
        if np.isfinite(value):
            raw = number(_mean(column(run.images_table, f"expected_{score}")))
            cards.append((f"expected {title}", number(value), f"{how}; {raw} with the samples as truth"))
    cards.append(("failed images", number(len(run.failures), 0), ""))
    return cards


def calibration_source(run: Run) -> str:
    """Return in a word or two what the calibration of the run was made with."""
    made = run.record.get("calibration")
    return "simulated" if isinstance(made, dict) and made.get("source") == "simulated" else "by labelled images"


def calibration_words(run: Run) -> str:
    """Return what the calibration of the run was made with and how good it was there; empty without one."""
    made = run.record.get("calibration")
    if not isinstance(made, dict):
        return ""
    check, simulated = made.get("check") or {}, made.get("source") == "simulated"
    size = f"{made.get('n_objects')} objects of {made.get('n_images')}"
    what, limits = (
        (
            f"{size} images that the run's own model simulated, with truth drawn by the segmenter and by others",
            "A simulation knows the noise, not all errors of model and segmenter, so this stays a little too sure: "
            "label some images to know better (divseg calibrate RUN --truth MASKS).",
        )
        if simulated
        else (f"{size} images with ground truth", "This holds for images, a model and settings like those.")
    )
    return (
        f"p_true is calibrated on {what}: it is the probability of an IoU above {significant(made.get('iou'))} with a "
        f"true object. On left-out {'simulated ' if simulated else ''}images of that set the calibration error (D-ECE) "
        f"was {number(check.get('d_ece_after'), 3)}, and "
        f"{number(check.get('d_ece_before'), 3)} before calibration; the "
        f"{number(100 * made.get('coverage', np.nan), 0)} % intervals of areas covered "
        f"{number(100 * (check.get('area_coverage_after') or np.nan), 0)} % of the true areas. {limits}"
    )


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def images_to_show(run: Run, max_images: int) -> list[str]:
    """Choose the images to show: half of them with warnings or the least certain, the others spread over the folder.

    Parameters
    ----------
    run : Run
        The run.
    max_images : int
        Largest number of images.

    Returns
    -------
    list of str
        In the order of the folder. Among those spread over the folder, images with stored samples go first.
    """
    names = run.names
    if len(names) <= max_images:
        return names
    certainty = column(run.images_table, "existence_mean")
    fine = np.array([name not in run.warnings for name in names])
    doubtful = np.lexsort((np.where(np.isfinite(certainty), certainty, np.inf), fine))
    chosen = [int(i) for i in doubtful[: max_images // 2]]
    rest = [i for i in range(len(names)) if i not in chosen]
    with_samples = [i for i in rest if names[i] in run.crops]
    for pool in (with_samples, [i for i in rest if i not in with_samples]):
        free = min(max_images - len(chosen), len(pool))
        if free > 0:
            chosen += [pool[k] for k in np.linspace(0, len(pool) - 1, free).round().astype(int)]
    return [names[i] for i in sorted(chosen)]


def flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Turn nested settings into rows: dotted name and value, as JSON if it is not text."""
    if isinstance(value, dict) and value:
        start = f"{prefix}." if prefix else ""
        return [row for key, part in value.items() for row in flatten(part, f"{start}{key}")]
    if value is None:
        return [(prefix, "not set")]
    words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return [(prefix, words)]


def training_facts(run: Run) -> list[tuple[str, str]]:
    """Return name and value of what ``run.json`` says about the training."""
    record = run.record.get("training")
    if not isinstance(record, dict):
        return []
    names = {
        "steps": "steps",
        "seconds": "time",
        "megapixels": "pixels seen",
        "kl_per_pixel": "KL per pixel",
        "stopped": "stopped because",
    }
    rows = []
    for key, title in names.items():
        if record.get(key) is None:
            continue
        value = record[key]
        if key == "steps":
            words = number(value, 0)
        elif key == "seconds":
            words = duration(value)
        elif key == "megapixels":
            words = f"{significant(value)} megapixels"
        else:
            words = value if isinstance(value, str) else significant(value)
        rows.append((title, words))
    short = record.get("shortfalls")
    if record.get("only_noise") is True:
        rows.append(("converged", "nothing to learn: the images hold nothing but noise, as far as can be told"))
    elif isinstance(short, list):
        rows.append(("converged", f"no: {'; '.join(map(str, short))}" if short else "yes, as far as can be told"))
    noise = record.get("noise")
    if isinstance(noise, dict):
        rows.append(("noise model", _noise_words(noise)))
    told = {*names, "noise", "shortfalls", "only_noise"}
    others = {key: value for key, value in record.items() if key not in told}
    if others:
        rows += flatten(others)
    return rows


def segmenter_ranking(run: Run, max_rows: int = 8) -> dict[str, Any] | None:
    """Return what ``--segmenter auto`` chose and the best rows of its ranking; None if the segmenter was named."""
    table = read_table(run.folder / "segmenters.csv")
    if not len(table) or not str(run.setting("segmentation", "segmenter")).startswith("auto"):
        return None
    names = text(table, "segmenter")
    columns = ("score", "objects", "explained", "edges", "sharpness")
    values = zip(*(column(table, name) for name in columns), column(table, "n_objects"), strict=True)
    rows = [
        (name, [number(v) for v in figures[:-1]] + [number(figures[-1], 1)])
        for name, figures in zip(names[:max_rows], values, strict=False)
    ]
    score, rival = column(table, "score"), ""
    if len(names) > 1 and np.isfinite(score[:2]).all():
        rival = f"Its score is {number(score[0])}, that of the next, {names[1]}, {number(score[1])}."
    return {"chosen": run.segmenters, "rows": rows, "total": len(names), "rival": rival}


def area_of_pixel(run: Run, names: Sequence[str]) -> tuple[np.ndarray, str]:
    """Return the area of a pixel (of a volume the volume of a voxel) of each of several images, and its unit.

    Returns
    -------
    float array, shape (len(names),), and str
        1 and ``px`` unless all images share a unit.
    """
    depths = dict(zip(run.names, column(run.images_table, "depth").tolist(), strict=True))
    found: list[tuple[float, str] | None] = []
    for name in names:
        size, volume = run.pixel_sizes.get(name), math.isfinite(depths.get(name, math.nan))
        if size is None or (volume and size.z is None):
            found.append(None)
        elif volume and size.z is not None:
            found.append((size.z * size.y * size.x, f"{size.unit}\u00b3"))
        else:
            found.append((size.y * size.x, f"{size.unit}\u00b2"))
    units = {None if area is None else area[1] for area in found}
    if len(units) == 1 and None not in units:
        return np.array([area[0] for area in found if area is not None]), str(units.pop())
    return np.ones(len(names)), "px"


def duration(seconds: Any) -> str:
    """Write seconds as seconds, minutes or hours, an en dash if it is not a number."""
    try:
        value = float(seconds)
    except (TypeError, ValueError):
        return "\u2013"
    if not math.isfinite(value):
        return "\u2013"
    if value < 120:
        return f"{value:.1f} s"
    if value < 7200:
        return f"{value / 60:.1f} min"
    return f"{value / 3600:.1f} h"


def image_facts(run: Run, name: str) -> list[tuple[str, str]]:
    """Return name and value of what ``images.csv`` says about one image."""
    row = run.images_table.iloc[[run.names.index(name)]]

    def value(key: str) -> float:
        return float(column(row, key)[0])

    facts = []
    if np.isfinite(value("height")) and np.isfinite(value("width")):
        depth = f"{value('depth'):.0f} \u00d7 " if np.isfinite(value("depth")) else ""
        facts.append(("size", f"{depth}{value('height'):.0f} \u00d7 {value('width'):.0f} px"))
    size = run.pixel_sizes[name]
    if size is not None:
        depth = "" if size.z is None else f"{size.z:.4g} \u00d7 "
        facts.append(("pixel size", f"{depth}{size.y:.4g} \u00d7 {size.x:.4g} {size.unit}"))
    facts.append(("objects", "nothing found" if value("n_objects") == 0 else number(value("n_objects"), 0)))
    if np.isfinite(value("count_mean")) and value("n_objects") > 0:  # else these are spots of noise
        interval = f"{number(value('count_q05'), 0)} to {number(value('count_q95'), 0)}"
        facts.append(("count in the samples", f"mean {value('count_mean'):.1f}, 5\u201395 %: {interval}"))
    how = calibration_source(run)
    if np.isfinite(value("calibrated_count")):
        low, high = value("count_low"), value("count_high")
        interval = f", 90 %: {low:.0f} to {high:.0f}" if np.isfinite(low) and np.isfinite(high) else ""
        facts.append((f"expected count ({how})", f"{value('calibrated_count'):.0f}{interval}"))
    if np.isfinite(value("area_mean")):
        pixel, unit = area_of_pixel(run, [name])
        facts.append(("mean area", f"{significant(value('area_mean') * pixel[0])} {unit}"))
    facts.append(("mean existence", number(value("existence_mean"), 2)))
    for score, title in (("map", "mAP"), ("seg", "SEG")):
        if np.isfinite(value(f"calibrated_{score}")):
            facts.append((f"expected {title} ({how})", number(value(f"calibrated_{score}"))))
        if np.isfinite(value(f"expected_{score}")):
            facts.append((f"expected {title} (samples as truth)", number(value(f"expected_{score}"))))
    if np.isfinite(value("seconds")):
        facts.append(("time", duration(value("seconds"))))
    return facts


def citations(run: Run) -> list[str]:
    """Return what to cite for the methods that this run used."""
    version = run.record.get("divseg")
    cited = [
        f"divseg {version or ''}".strip()
        + ": instance segmentation of noisy microscopy images with known uncertainty.",
        _DIVNOISING,
    ]
    if "stardist" in str(run.segmenter).lower():
        cited.append(_STARDIST)
    return cited


def _noise_words(noise: dict[str, Any]) -> str:
    kind = str(noise.get("kind", "unknown kind"))
    a, b = noise.get("a"), noise.get("b")
    if kind == "poisson-gaussian" and a is not None and b is not None:
        sign = "+" if b >= 0 else "\u2212"
        return f"Poisson-Gaussian, variance = {significant(a)} \u00b7 signal {sign} {significant(abs(b))}"
    tables = ("kind", "weight", "table")
    others = flatten({key: value for key, value in noise.items() if key not in tables})
    rest = ", ".join(f"{key} = {words}" for key, words in others if key)
    return f"{kind}, {rest}" if rest else kind
