"""The words and numbers of the page, computed from the tables: overview, settings, warnings, citations."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from divseg.report.scalebar import pixel_size
from divseg.results.reader import Results, column, text

_DIVNOISING = (
    "Prakash M., Krull A., Jug F. Fully unsupervised diversity denoising with convolutional variational "
    "autoencoders. ICLR 2021. arXiv:2006.06072"
)
_STARDIST = (
    "Schmidt U., Weigert M., Broaddus C., Myers G. Cell detection with star-convex polygons. MICCAI 2018. "
    "doi:10.1007/978-3-030-00934-2_30"
)


def number(value: Any, digits: int = 3) -> str:
    """Write a number for people: fixed decimals, whole numbers with thin gaps, an en dash when unknown."""
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
    """Write a number with four significant digits, an en dash when unknown."""
    try:
        value = float(value)
    except (TypeError, ValueError):
        return "\u2013"
    return f"{value:.4g}" if math.isfinite(value) else "\u2013"


def overview(results: Results) -> list[tuple[str, str, str]]:
    """Return the cards of the page's head: name, value, and an explanation."""
    existence = column(results.objects, "existence")
    existence = existence[np.isfinite(existence)]
    found = column(results.images, "n_objects")
    total = float(np.nansum(found)) if np.isfinite(found).any() else np.nan
    count = len(results.objects) if "objects" not in results.missing else total
    failed = len(results.failures) if "failures" not in results.missing else results.run.get("n_failed")
    images = len(results.images) if "images" not in results.missing else results.run.get("n_images")
    middle = np.median(existence) if existence.size else np.nan
    cards = [
        ("images", number(images, 0), ""),
        ("objects", number(count, 0), ""),
        ("median existence", number(middle, 2), "1 = in every sample"),
    ]
    for limit in (0.5, 0.8):
        share = f"{100 * np.mean(existence < limit):.1f} %" if existence.size else "\u2013"
        cards.append((f"existence below {limit}", share, "of all objects"))
    confidence = column(results.objects, "confidence")
    if np.isfinite(confidence).any():
        cards.append(("objects expected right", number(np.nansum(confidence), 0), "by calibrated confidence"))
    cards.append(("failed images", number(failed, 0), ""))
    return cards


def calibration_words(results: Results) -> str:
    """Return what the run's calibration was made with and how well it did there; empty without one."""
    known = results.run.get("calibration")
    if not isinstance(known, dict):
        return ""
    check = known.get("check") or {}
    return (
        f"Confidence is calibrated on {known.get('n_objects')} objects of {known.get('n_images')} images with truth: "
        f"the probability of an IoU above {significant(known.get('iou'))} with a true object. On left-out images of "
        f"that set the calibration error (D-ECE) was {number(check.get('d_ece_after'), 3)}, before calibration "
        f"{number(check.get('d_ece_before'), 3)}; the {number(100 * known.get('coverage', np.nan), 0)} % intervals of "
        f"areas covered {number(100 * (check.get('area_coverage_after') or np.nan), 0)} % of the true ones. It holds "
        "for images, model and settings like those."
    )


def images_to_show(results: Results, most: int) -> list[str]:
    """Choose the images to show: half of them the least certain, the others spread over the folder.

    Parameters
    ----------
    results : Results
        The run.
    most : int
        At most so many.

    Returns
    -------
    list of str
        In the order of the folder. Images whose samples were kept go before others among those spread out.
    """
    names = results.names
    if len(names) <= most:
        return names
    certainty = column(results.images, "existence_mean")
    doubtful = np.argsort(np.where(np.isfinite(certainty), certainty, np.inf), kind="stable")
    chosen = [int(i) for i in doubtful[: most // 2]]
    rest = [i for i in range(len(names)) if i not in chosen]
    with_samples = [i for i in rest if results.has_samples(names[i])]
    for pool in (with_samples, [i for i in rest if i not in with_samples]):
        free = min(most - len(chosen), len(pool))
        if free > 0:
            chosen += [pool[k] for k in np.linspace(0, len(pool) - 1, free).round().astype(int)]
    return [names[i] for i in sorted(chosen)]


def warnings(results: Results) -> list[tuple[str, int, str]]:
    """Return each distinct warning with the number of images it concerns and the first few of them."""
    owners: dict[str, list[str]] = {}
    for name, words in zip(results.names, text(results.images, "warnings"), strict=True):
        for line in filter(None, (part.strip() for part in words.splitlines())):
            owners.setdefault(line, []).append(name)
    return [(line, len(names), few(names)) for line, names in owners.items()]


def few(names: Sequence[str], most: int = 5) -> str:
    """Join the first few names and say how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Turn nested settings into rows: dotted name and value, as JSON where it is not a plain word."""
    if isinstance(value, dict) and value:
        start = f"{prefix}." if prefix else ""
        return [row for key, part in value.items() for row in flatten(part, f"{start}{key}")]
    words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return [(prefix, words)]


def training_facts(results: Results) -> list[tuple[str, str]]:
    """Return name and value of what the run record says about the training."""
    record = results.run.get("training")
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
    noise = record.get("noise")
    if isinstance(noise, dict):
        rows.append(("noise model", _noise_words(noise)))
    others = {key: value for key, value in record.items() if key not in names and key != "noise"}
    if others:
        rows += flatten(others)
    return rows


def segmenter_ranking(results: Results, most: int = 8) -> dict[str, Any] | None:
    """Return what ``--segmenter auto`` chose and the best rows of its ranking, None where it did not choose."""
    table = results.segmenters
    names = [name for name in text(table, "segmenter") if name]
    config = results.run.get("config")
    named = isinstance(config, dict) and not str(config.get("segmenter", "auto")).startswith("auto")
    if named or not names or len(names) != len(table):
        return None
    columns = ("score", "objects", "explained")
    values = zip(*(column(table, name) for name in columns), column(table, "n_objects"), strict=True)
    rows = [
        (name, [number(v) for v in figures[:-1]] + [number(figures[-1], 1)])
        for name, figures in zip(names[:most], values, strict=False)
    ]
    choice = results.run.get("segmenter_choice")
    chosen = choice.get("segmenter", names[0]) if isinstance(choice, dict) else names[0]
    return {"chosen": chosen, "rows": rows, "total": len(names)}


def duration(seconds: Any) -> str:
    """Write seconds as a time for people."""
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


def image_facts(row: pd.DataFrame) -> list[tuple[str, str]]:
    """Return name and value of the facts of one image (one row of ``images.csv``)."""

    def value(name: str) -> float:
        return float(column(row, name)[0])

    facts = []
    if np.isfinite(value("height")) and np.isfinite(value("width")):
        facts.append(("size", f"{value('height'):.0f} \u00d7 {value('width'):.0f} px"))
    size = pixel_size(value("pixel_size_y"), value("pixel_size_x"), text(row, "pixel_unit")[0])
    if size is not None:
        facts.append(("pixel size", f"{size.y:.4g} \u00d7 {size.x:.4g} {size.unit}"))
    facts.append(("objects", number(value("n_objects"), 0)))
    if np.isfinite(value("count_mean")):
        spread = f"{number(value('count_q05'), 0)} to {number(value('count_q95'), 0)}"
        facts.append(("count in the samples", f"mean {value('count_mean'):.1f}, 5\u201395 %: {spread}"))
    if np.isfinite(value("count_low")):
        facts.append(("calibrated count", f"{number(value('count_low'), 0)} to {number(value('count_high'), 0)}"))
    facts.append(("mean area", f"{number(value('area_mean'), 1)} px"))
    facts.append(("mean existence", number(value("existence_mean"), 2)))
    if np.isfinite(value("expected_map")):
        facts.append(("expected mAP under the samples", number(value("expected_map"))))
    if np.isfinite(value("expected_seg")):
        facts.append(("expected SEG under the samples", number(value("expected_seg"))))
    if np.isfinite(value("seconds")):
        facts.append(("time", duration(value("seconds"))))
    return facts


def citations(results: Results) -> list[str]:
    """Return what to cite for the methods this run used."""
    version = results.run.get("divseg")
    mine = f"divseg {version}" if version else "divseg"
    cited = [f"{mine}: instance segmentation of noisy microscopy images with known uncertainty.", _DIVNOISING]
    if "stardist" in json.dumps(results.run.get("config", ""), default=str).lower():
        cited.append(_STARDIST)
    return cited


def _noise_words(noise: dict[str, Any]) -> str:
    kind = str(noise.get("kind", "unknown kind"))
    a, b = noise.get("a"), noise.get("b")
    if kind == "poisson-gaussian" and a is not None and b is not None:
        return f"Poisson-Gaussian, variance = {significant(a)} \u00b7 signal + {significant(b)}"
    tables = ("kind", "weight", "table")
    others = flatten({key: value for key, value in noise.items() if key not in tables})
    rest = ", ".join(f"{key} = {words}" for key, words in others if key)
    return f"{kind}, {rest}" if rest else kind
