"""From rows to tables in Markdown: one of the sets, and one of the methods for each set."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.denoising.methods import METHODS
from benchmarks.denoising.registry import REGISTRY, missing_files
from benchmarks.denoising.scores import FAILED, Row
from divseg.metrics import bootstrap_interval


def interval(values: Sequence[float]) -> str:
    """Return the 95 % bootstrap interval of the mean over images, as text; sets have three images or more."""
    low, high = bootstrap_interval(np.array(values), least=2)
    return "" if math.isnan(low) else f" ({low:.2f} to {high:.2f})"


def registry_table() -> str:
    """Return the table of all sets, and what is missing of those that are not here."""
    lines = [
        "| set | what | source | licence | protocol | PSNR | here |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, entry in REGISTRY.items():
        here = "no" if missing_files(name) else "yes"
        words = [name, entry.what, entry.source, entry.licence, entry.protocol, entry.psnr, here]
        lines.append("| " + " | ".join(words) + " |")
    return "\n".join(lines)


def set_table(job: str, rows: Sequence[Row]) -> str:
    """Return the table of one set."""
    lines = [
        f"### {job}",
        "",
        f"{REGISTRY[job].what}. PSNR: {REGISTRY[job].psnr}.",
        "",
        "| method | PSNR, dB (95 % interval) | SSIM | one sample, dB | diversity | rank correlation with error "
        "| s an image | training, s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for method in METHODS:
        mine = [row for row in rows if row.method == method and row.image != FAILED]
        why = [row.note for row in rows if row.method == method and row.image == FAILED]
        if mine:
            figures = {
                n: _mean(mine, n) for n in ("ssim", "single", "diversity", "rank", "seconds", "training_seconds")
            }
            values = [row.psnr for row in mine if not math.isnan(row.psnr)]
            quality = f"{np.mean(values):.2f}{interval(values)}" if values else "-"
            cells = [_text(figures[name], form) for name, form in FORMS.items()]
            lines.append(f"| {method} | {quality} | {' | '.join(cells)} |")
        elif why:
            lines.append(f"| {method} | {why[0]} | | | | | | |")
    return "\n".join(lines)


FORMS = {"ssim": ".3f", "single": ".2f", "diversity": ".3f", "rank": ".2f", "seconds": ".1f", "training_seconds": ".0f"}


def _mean(rows: Sequence[Row], figure: str) -> float:
    values = [v for row in rows if not math.isnan(v := float(getattr(row, figure)))]
    return sum(values) / len(values) if values else math.nan


def _text(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)
