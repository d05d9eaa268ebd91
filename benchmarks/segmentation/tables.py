"""The tables: means with intervals, paired differences, gaps closed, cells counted; and the document of them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.segmentation.inputs import AS_RUN, VIEWS_TUNED
from divseg.metrics import compare, summarize, to_markdown

SHOWN = ("map", "ap50", "ap75", "seg", "det", "pq")
"""Scores of the tables."""
CELL = ["set", "level", "segmenter", "minutes"]
"""Columns that name a cell."""


def best_smoothing(rows: pd.DataFrame, score: str = "map") -> str | None:
    """Return the kind of smoothing with the highest mean on the scored pictures: the strongest opponent there is."""
    smooth = rows[rows["kind"] == "smoothing"]
    return None if smooth.empty else str(smooth.groupby("input")[score].mean().idxmax())


def scores_table(rows: pd.DataFrame, *, medians: bool = False) -> pd.DataFrame:
    """Return means over the pictures of one cell, with 95 % bootstrap intervals by picture.

    Parameters
    ----------
    rows : DataFrame
        Of one cell.
    medians : bool
        Also the medians of mAP and AP50.
    """
    means = summarize(rows, by="input").set_index("input")
    error = rows.assign(count=rows["count_error"].abs()).groupby("input")["count"].mean()
    table = pd.DataFrame({"input": means.index})
    for score in SHOWN:
        low, high = means.get(f"{score}_lo"), means.get(f"{score}_hi")
        texts = [f"{v:.3f}" for v in means[score]]
        if low is not None and high is not None and low.notna().any():
            texts = [f"{t} [{a:.3f}, {b:.3f}]" for t, a, b in zip(texts, low, high, strict=True)]
        table[NAMES[score]] = texts
    table["count error"] = [f"{error[name]:.1f}" for name in means.index]
    if medians:
        for score in ("map", "ap50"):
            median = rows.groupby("input")[score].median()
            table[f"median {NAMES[score]}"] = [f"{median[name]:.3f}" for name in means.index]
    return table


NAMES = {"map": "mAP", "ap50": "AP50", "ap75": "AP75", "seg": "SEG", "det": "DET", "pq": "PQ"}


def differences_table(rows: pd.DataFrame, score: str = "map") -> pd.DataFrame:
    """Return each input's paired differences to the MMSE and to the best smoothing, and the gaps it closes.

    ``gap closed`` is (x - noisy) / (clean - noisy), ``MMSE gap closed`` is (x - MMSE) / (clean - MMSE), of mean scores.
    """
    means, best = rows.groupby("input", sort=False)[score].mean(), best_smoothing(rows)
    lines = []
    for name in means.index:
        line: dict[str, Any] = {"input": name}
        for head, other in (("MMSE", "MMSE"), (f"{best}", best)):
            if other is not None:
                line |= _difference(rows, name, other, score, head)
        line["gap closed"] = gap(means, name, "noisy")
        line["MMSE gap closed"] = gap(means, name, "MMSE")
        lines.append(line)
    return pd.DataFrame(lines)


def gap(means: pd.Series, name: str, start: str) -> str:
    """Share of the way from `start` to the clean image that an input goes; empty if there is no such way."""
    if "clean" not in means or start not in means or name in (start, "clean"):
        return ""
    way = means["clean"] - means[start]
    return f"{(means[name] - means[start]) / way:.2f}" if way > 0.005 else ""


def _difference(rows: pd.DataFrame, name: str, other: str, score: str, head: str) -> dict[str, str]:
    if name == other or other not in set(rows["input"]):
        return {f"minus {head}": "", "improved" if head == "MMSE" else "improved on it": ""}
    c = compare(rows, name, other, score)
    interval = f" [{c.low:+.3f}, {c.high:+.3f}]" if np.isfinite(c.low) else ""
    return {
        f"minus {head}": f"{c.difference:+.3f}{interval}",
        "improved" if head == "MMSE" else "improved on it": f"{100 * c.improved:.0f} %",
    }


def cells(rows: pd.DataFrame) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """Yield the cells of a table of rows, in order of appearance."""
    yield from rows.groupby(CELL, sort=False)


def overview(rows: pd.DataFrame, ours: str = "consensus clustering", score: str = "map") -> pd.DataFrame:
    """Return a row for each cell: one consensus beside the MMSE, the best smoothing and the fused smoothings."""
    lines = []
    for (name, level, segmenter, minutes), part in cells(rows):
        names = set(part["input"])
        if ours not in names:
            continue
        means, best = part.groupby("input")[score].mean(), best_smoothing(part, score)
        line: dict[str, Any] = {"set": f"{name} {level}", "segmenter": segmenter, "min": f"{minutes:g}"}
        line["images"] = str(part["image"].nunique())
        for other in ("noisy", best, "fused Gaussians", "MMSE", ours, "clean"):
            label = "best smoothing" if other == best and other is not None else str(other)
            if other is not None and label not in line:
                line[label] = f"{means[other]:.3f}" if other in names else ""
        for label, other in (("MMSE", "MMSE"), ("smoothing", best), ("fused", "fused Gaussians")):
            if other in names:
                line[f"minus {label}"] = next(iter(_difference(part, ours, str(other), score, "x").values()))
        line["gap closed"], line["of MMSE's"] = gap(means, ours, "noisy"), gap(means, ours, "MMSE")
        lines.append(line)
    return pd.DataFrame(lines).fillna("")


def samples_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean mAP of each cell's inputs with 1, 2, 4, ... samples."""
    lines = []
    for (name, level, segmenter, _), part in cells(rows):
        means = part.pivot_table(index="input", columns="samples", values="map", sort=False)
        for who, line in means.sort_index(axis=1).iterrows():
            head = {"set": f"{name} {level}", "segmenter": segmenter, "images": str(part["image"].nunique())}
            shown = {str(count): "" if np.isnan(value) else f"{value:.3f}" for count, value in line.items()}
            lines.append({**head, "input": str(who), **shown})
    return pd.DataFrame(lines)


def minutes_table(rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return the mean mAP of some inputs after each training time, beside what needs no training.

    The images are those that were scored after every time.

    Parameters
    ----------
    rows : DataFrame
        Of cells with one training time or several.
    names : sequence of str
        Inputs that depend on the training.
    """
    lines = []
    for (name, level, segmenter), part in rows.groupby(CELL[:3], sort=False):
        if part["minutes"].nunique() < 2:
            continue
        counts = part[part["input"] == names[0]].groupby("image")["minutes"].nunique()
        part = part[part["image"].isin(counts[counts == counts.max()].index)]
        best = best_smoothing(part)
        head = {"set": f"{name} {level}", "segmenter": segmenter, "images": str(part["image"].nunique())}
        for who in (n for n in (*names, "noisy", best, "clean") if n in set(part["input"])):
            means = part[part["input"] == who].groupby("minutes")["map"].mean()
            label = f"best smoothing ({who})" if who == best else str(who)
            shown = {f"{m:g} min": f"{means[m]:.3f}" if m in means else "" for m in sorted(part["minutes"].unique())}
            if who not in names:
                shown = dict.fromkeys(shown, f"{means.iloc[-1]:.3f}")
            lines.append({**head, "input": label, **shown})
    return pd.DataFrame(lines)


def ranking(rows: pd.DataFrame) -> pd.DataFrame:
    """Return every input's mean mAP minus the MMSE's, cell by cell, and in the mean over the cells."""
    columns = {}
    for (name, level, segmenter, minutes), part in cells(rows):
        means = part.groupby("input", sort=False)["map"].mean()
        if "MMSE" in means:
            columns[f"{name} {level} {segmenter} {minutes:g}'"] = means - means["MMSE"]
    if not columns:
        return pd.DataFrame()
    order = list(dict.fromkeys(rows["input"]))
    table = pd.DataFrame(columns).reindex(order)
    table.insert(0, "mean", table.mean(axis=1))
    texts = table.apply(lambda column: column.map(lambda v: "" if np.isnan(v) else f"{v:+.3f}"))
    return texts.rename_axis("input").reset_index()


QUARTER = 0.25
"""Share of the gap between MMSE and clean image that is asked for."""
RIVALS = ("MMSE", "best smoothing", "N2V", "vanilla VAE", "fused Gaussians")


def verdict(rows: pd.DataFrame, ours: str, score: str = "map") -> pd.DataFrame:
    """Count the cells in which a consensus is above and below each rival.

    Parameters
    ----------
    rows : DataFrame
        Of all cells.
    ours : str
        Input that is judged.
    score : str
        Column of `rows`.

    Returns
    -------
    DataFrame
        A row for each rival: number of cells, above in the mean, above with the whole 95 % interval, below with the
        whole interval, the mean difference over the cells, and against the MMSE how often at least a quarter of its
        gap to the clean image is closed with the interval above 0.
    """
    lines = []
    for rival in RIVALS:
        line: dict[str, Any] = {
            "against": rival,
            "cells": 0,
            "above": 0,
            "significantly above": 0,
            "significantly below": 0,
        }
        differences, quarter, with_clean = [], 0, 0
        for _, part in cells(rows):
            other = best_smoothing(part, score) if rival == "best smoothing" else rival
            means = part.groupby("input")[score].mean()
            if ours not in means or other not in means:
                continue
            c = compare(part, ours, str(other), score)
            line["cells"] += 1
            line["above"] += c.difference > 0
            line["significantly above"] += c.low > 0
            line["significantly below"] += c.high < 0
            differences.append(c.difference)
            if rival == "MMSE" and "clean" in means and means["clean"] - means["MMSE"] > 0:
                with_clean += 1
                quarter += c.low > 0 and c.difference >= QUARTER * (means["clean"] - means["MMSE"])
        if line["cells"]:
            line["mean difference"] = f"{np.mean(differences):+.3f}"
            line["a quarter of the gap, significantly"] = f"{quarter} of {with_clean}" if rival == "MMSE" else ""
            lines.append({name: str(value) for name, value in line.items()})
    return pd.DataFrame(lines)


OURS = (AS_RUN, VIEWS_TUNED, "consensus clustering")
"""Consensuses that the document begins with: what ``divseg run`` does, the same with more tuning, samples alone."""


def report(rows: pd.DataFrame, notes: list[str]) -> str:
    """Write everything as Markdown.

    Parameters
    ----------
    rows : DataFrame
        Of all cells.
    notes : list of str
        What was left out, and why.
    """
    kinds = list(dict.fromkeys(rows.loc[rows["kind"].isin(["consensus", "combination"]), "input"]))
    body = [
        "Every input gets the same segmenter, tuned for it on the tuning part. Brackets: 95 % bootstrap interval by "
        "image. The best smoothing is the kind that does best on the *scored* images. Count error: mean absolute. "
        "Three consensuses are shown first: what `divseg run` does (half of the votes are the samples', the other half "
        "those of their means, of the MMSE and of five smoothings, each kind weighted by agreement; one segmenter for "
        "all and fixed smoothings), the same with segmenter and strength tuned for each kind, and the samples alone. "
        "Significantly: with the whole interval.\n"
    ]
    body += [f"- {note}" for note in notes] + [""]
    for name in (k for k in OURS if k in kinds):
        body.append(f"## All cells: {name}\n")
        for score in ("map", "ap50"):
            body += [f"{NAMES[score]}:\n", to_markdown(overview(rows, name, score))]
            body += [f"{NAMES[score]}, cells counted:\n", to_markdown(verdict(rows, name, score))]
    body += ["## All cells: mean mAP minus that of the MMSE\n", to_markdown(ranking(rows))]
    for (name, level, segmenter, minutes), part in cells(rows):
        body.append(
            f"## {name} {level}, `{segmenter}`, {minutes:g} min of training, {part['image'].nunique()} images\n"
        )
        body.append(to_markdown(scores_table(part, medians=str(name).startswith("lowsnr"))))
        for score in ("map", "ap50"):
            body += [f"{NAMES[score]}:\n", to_markdown(differences_table(part, score))]
        body += ["Tuned:\n", _choices(part)]
    return "\n".join(body)


def _choices(part: pd.DataFrame) -> str:
    tuned = part[part["kind"] != "combination"].drop_duplicates(["input", "setting", "spec"])
    lines = []
    for name, mine in tuned.groupby("input", sort=False):
        words = [
            f"`{s}`" + ("" if v in ("None", "nan") else f" of {v}")
            for s, v in zip(mine["spec"], mine["setting"], strict=True)
        ]
        lines.append(f"- {name}: {' / '.join(words)}")
    return "\n".join(lines) + "\n"
