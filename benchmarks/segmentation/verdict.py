"""The claims, counted over all cells: how often a consensus is above its rivals, and how often below."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from benchmarks.segmentation.tables import best_smoothing, cells
from divseg.metrics import compare

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
    found = []
    for rival in RIVALS:
        line: dict[str, Any] = {"against": rival, "cells": 0, "above": 0, "surely above": 0, "surely below": 0}
        differences, quarter, with_clean = [], 0, 0
        for _, part in cells(rows):
            other = best_smoothing(part, score) if rival == "best smoothing" else rival
            means = part.groupby("input")[score].mean()
            if ours not in means or other not in means:
                continue
            c = compare(part, ours, str(other), score)
            line["cells"] += 1
            line["above"] += c.difference > 0
            line["surely above"] += c.low > 0
            line["surely below"] += c.high < 0
            differences.append(c.difference)
            if rival == "MMSE" and "clean" in means and means["clean"] - means["MMSE"] > 0:
                with_clean += 1
                quarter += c.low > 0 and c.difference >= QUARTER * (means["clean"] - means["MMSE"])
        if line["cells"]:
            line["mean difference"] = f"{np.mean(differences):+.3f}"
            line["a quarter of the gap, surely"] = f"{quarter} of {with_clean}" if rival == "MMSE" else ""
            found.append({name: str(value) for name, value in line.items()})
    return pd.DataFrame(found)
