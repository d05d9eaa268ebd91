"""The plot of a training, from the log of a model folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from divseg.errors import InputError
from divseg.io import write_bytes
from divseg.report.figures import training_figure
from divseg.report.style import to_png

LOG, PLOT = "training.jsonl", "training.png"


def read_training_log(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a training log, or that of a model folder.

    Returns
    -------
    DataFrame
        A row a report: step, megapixels, seconds, loss, nll, kl (nats per pixel), beta, lr, active, skipped;
        val_loss, val_kl and val_active where there was a validation.

    Raises
    ------
    InputError
        If there is no log, or it is empty or damaged.
    """
    file = Path(path)
    if file.is_dir():
        file = file / LOG
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file}: there is no training log to read ({error.strerror}); name a model folder") from error
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            rows.append({str(k): float(v) for k, v in row.items()})
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{file}: line {number} is damaged ({error}); delete the line") from error
    table = pd.DataFrame(rows)
    needed = {"step", "loss", "kl", "active"}
    if not len(table) or not needed <= set(table.columns):
        raise InputError(f"{file}: the training log is empty or lacks {', '.join(sorted(needed))}")
    return table


def write_training_plot(folder: str | os.PathLike[str]) -> Path | None:
    """Write ``training.png``, loss, KL divergence and latents in use against the steps, to a model folder.

    Returns
    -------
    Path or None
        None where the log holds nothing that could be drawn.
    """
    figure = training_figure(read_training_log(folder))
    if figure is None:
        return None
    path = Path(folder) / PLOT
    write_bytes(path, to_png(figure))
    return path
