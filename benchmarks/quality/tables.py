"""From the rows of the quality benchmark to its tables, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from benchmarks.quality.rows import FAILED, Row

Select = Callable[[str, str], list[Row]]
"""Rows of a set and a method."""


def tables(rows: Sequence[Row], jobs: Sequence[str], counts: dict[str, int], many: int) -> str:
    """Return all tables: quality, margins, honesty, convergence and training.

    Parameters
    ----------
    rows : sequence of Row
        Of one training budget and number of samples, and rows of very many samples beside them.
    jobs : sequence of str
        SET-LEVEL, in the order of the columns.
    counts : dict
        Number of scored images of each.
    many : int
        Rows with this number of samples show how far the mean has converged.
    """
    plain = [r for r in rows if r.samples != many]
    methods = list(dict.fromkeys(r.method for r in plain))

    def select(job: str, method: str) -> list[Row]:
        return [r for r in plain if r.job == job and r.method == method]

    parts = [
        _quality(select, methods, jobs, counts),
        _margins(select, methods, jobs),
        _honesty(select, methods, jobs),
        _convergence(rows, plain, many),
        _training(select, methods, jobs),
    ]
    return "\n\n".join(part for part in parts if part)


def mean(rows: Sequence[Row], figure: str) -> float:
    """Mean of a figure over rows, without those for which it has no meaning."""
    values = [v for r in rows if not math.isnan(v := float(getattr(r, figure)))]
    return sum(values) / len(values) if values else math.nan


def margin(ours: Sequence[Row], theirs: Sequence[Row]) -> float:
    """Mean difference in PSNR over the images that both have."""
    other = {r.image: r.psnr for r in theirs}
    values = [r.psnr - other[r.image] for r in ours if r.image in other and r.image != FAILED]
    return sum(values) / len(values) if values else math.nan


def grid(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    all_lines = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in all_lines)


def _number(value: float, form: str = ".2f") -> str:
    return "-" if math.isnan(value) else format(value, form)


def _quality(select: Select, methods: Sequence[str], jobs: Sequence[str], counts: dict[str, int]) -> str:
    def cell(job: str, method: str) -> str:
        rows = select(job, method)
        if any(r.image == FAILED for r in rows):
            return "training failed"
        partly = f" ({len(rows)} of {counts[job]})" if 0 < len(rows) < counts[job] else ""
        return _number(mean(rows, "psnr")) + partly

    head = ["PSNR in dB", *(f"{job} ({counts[job]})" for job in jobs)]
    return grid(head, [[method, *(cell(job, method) for job in jobs)] for method in methods])


def _margins(select: Select, methods: Sequence[str], jobs: Sequence[str]) -> str:
    """`learned` against every other method, image by image."""
    if "learned" not in methods:
        return ""
    lines = []
    for method in methods:
        if method != "learned":
            values = [_number(margin(select(job, "learned"), select(job, method)), "+.2f") for job in jobs]
            lines.append([method, *values])
    return "`learned` above (+) or below (-), on the same images:\n\n" + grid(["dB", *jobs], lines)


def _honesty(select: Select, methods: Sequence[str], jobs: Sequence[str]) -> str:
    lines = []
    for job in jobs:
        for method in methods:
            rows = [r for r in select(job, method) if r.samples and r.image != FAILED]
            if rows:
                low, high = min(r.covered for r in rows), max(r.covered for r in rows)
                lines.append(
                    [
                        job,
                        method,
                        f"{100 * mean(rows, 'covered'):.1f} %",
                        f"{100 * low:.0f} to {100 * high:.0f} %",
                        _number(mean(rows, "residual"), ".3f"),
                        _number(mean(rows, "spread")),
                        _number(mean(rows, "single")),
                        _number(mean(rows, "seconds"), ".1f"),
                    ]
                )
    if not lines:
        return ""
    head = ["set", "method", "clean pixel in the 5 to 95 % interval", "by image"]
    head += ["(noisy - sample)² / noise variance", "spread / error", "PSNR of one sample", "seconds an image"]
    return "Honesty of the posterior:\n\n" + grid(head, lines)


def _convergence(rows: Sequence[Row], plain: Sequence[Row], many: int) -> str:
    lines = []
    fewer = {(r.job, r.image, r.method): r for r in plain if r.samples}
    for r in rows:
        few = fewer.get((r.job, r.image, r.method))
        if r.samples == many and few is not None:
            name = f"{r.job} {r.image[:24]}"
            lines.append([name, r.method, f"{few.psnr:.3f}", f"{r.psnr:.3f}", f"{r.psnr - few.psnr:+.3f}"])
    if not lines:
        return ""
    count = next(r.samples for r in plain if r.samples)
    head = ["image", "method", f"{count} samples", f"{many} samples", "difference, dB"]
    return "PSNR of the mean of more samples, in dB:\n\n" + grid(head, lines)


def _training(select: Select, methods: Sequence[str], jobs: Sequence[str]) -> str:
    lines = []
    for job in jobs:
        for method in methods:
            rows = select(job, method)
            if rows and rows[0].minutes:
                r = rows[0]
                lines.append([job, method, f"{r.minutes:g}", _number(r.megapixels, ".1f"), r.note.replace("|", "/")])
    if not lines:
        return ""
    return "Training:\n\n" + grid(["set", "method", "minutes", "megapixels", "noise model, or remark"], lines)
