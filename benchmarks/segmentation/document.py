"""The document: all tables of the benchmark as Markdown."""

from __future__ import annotations

import pandas as pd

from benchmarks.segmentation.rows import AS_RUN, VIEWS_TUNED
from benchmarks.segmentation.tables import NAMES, cells, differences_table, overview, ranking, scores_table
from benchmarks.segmentation.verdict import verdict
from divseg.metrics import to_markdown

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
        "Surely: with the whole interval.\n"
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
    told = part[part["kind"] != "combination"].drop_duplicates(["input", "setting", "spec"])
    lines = []
    for name, mine in told.groupby("input", sort=False):
        words = [
            f"`{s}`" + ("" if v in ("None", "nan") else f" of {v}")
            for s, v in zip(mine["spec"], mine["setting"], strict=True)
        ]
        lines.append(f"- {name}: {' / '.join(words)}")
    return "\n".join(lines) + "\n"
