"""Does `divseg run` with nothing set do well on images that nobody tuned it on? Every set is left out in turn.

    DIVSEG_DATA=... python -m benchmarks.untuned --models MODELS --keep KEEP [--minutes 8] [--samples 16] [--record]
        [--sets dsb2018_fluo-n20 ...] [--name choice]

For each set the powers by which ``--segmenter auto`` ranks are chosen on all other sets, and the choice is made by the
samples of the set's images, as a run makes it. Its loss is the mAP of the mean sample's labels under the best candidate
in hindsight, less that under the choice. Then `divseg run` works on the images with the choice and everything else by
default; its consensus is held against the same segmenter on the mean of its samples (MMSE) and on the smoothing that
does best by the truth, and what it expects of itself against what is true. Sets without objects count in the choice of
nothing. What is measured is kept in KEEP. With ``--powers`` the powers are chosen on the other sets' models of another
training time: do they hold for this one?
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray

import divseg
from benchmarks.record import limit_threads, write_result
from benchmarks.untuned.confidence import confidence_row, confidence_table
from benchmarks.untuned.powers import FIGURES, Table, fit_powers
from benchmarks.untuned.sets import SETS, Left
from divseg.metrics import bootstrap_interval
from divseg.specs import BETWEEN
from divseg.workflow.choose_segmenter import POWERS


def run_default(left: Left, segmenter: str, samples: int, keep: Path) -> Path:
    """Run on the images of a set with a segmenter, unless that was done before, and return the run folder."""
    safe = "".join(c if c.isalnum() or c in ".=" else "_" for c in segmenter)
    out = keep / "runs" / f"{left.job}-{safe}"
    if not (out / "scores.csv").is_file() or len(pd.read_csv(out / "images.csv")) < len(left.pictures):
        shutil.rmtree(out, ignore_errors=True)
        images, masks = keep / "images" / left.job, keep / "masks" / left.job
        for folder in (images, masks):
            folder.mkdir(parents=True, exist_ok=True)
        for p in left.pictures:
            tifffile.imwrite(images / f"{p.name}.tif", p.noisy)
            tifffile.imwrite(masks / f"{p.name}.tif", np.asarray(p.masks, np.uint16))
        divseg.run(
            images, out, truth=masks, model=left.folder, segmenter=segmenter, samples=samples, compare=(), report=False
        )
    return out


def compare(job: str, out: Path) -> dict[str, Any]:
    """Return the row of a set in the table of default runs."""
    rows = pd.read_csv(out / "scores.csv").pivot_table(index="image", columns="input", values="map", aggfunc="mean")
    consensus = rows[[c for c in rows if c.startswith("consensus")]].iloc[:, 0]
    smooth = rows[[c for c in rows if c.startswith("gaussian")]]
    best = smooth.mean().idxmax()
    row: dict[str, Any] = {"set": job, "images": len(rows), "consensus": consensus.mean()}
    for name, other in (("MMSE", rows["mmse"]), ("best Gaussian", smooth[best])):
        low, high = bootstrap_interval((consensus - other).to_numpy())
        row |= {name: other.mean(), f"minus {name}": (consensus - other).mean(), f"{name} interval": (low, high)}
    return row


def choice_table(
    tables: dict[str, Table], others: dict[str, Table] | None = None
) -> tuple[str, dict[str, NDArray[np.float64]]]:
    """Return the table of choices, each by powers of the other sets, and these powers.

    Parameters
    ----------
    tables : dict of str to Table
        Of each set that is judged.
    others : dict of str to Table, optional
        What the powers are chosen by, always without the set that is judged; `tables` by default.
    """
    others = others or tables
    lines = [
        "| left out | picked | mAP | best in hindsight | mAP | lost | by the powers of all sets |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    every = np.array([POWERS[name] for name in FIGURES])
    found, losses = {}, []
    for job, table in tables.items():
        powers = fit_powers([t for other, t in others.items() if other != job])
        loss, pick = table.loss(powers)
        best = int(np.argmax(table.quality))
        found[job] = powers
        losses.append(loss)
        lines.append(
            f"| {job} | `{table.names[pick]}` | {table.quality[pick]:.3f} | `{table.names[best]}` | "
            f"{table.quality[best]:.3f} | {loss:.3f} | {table.loss(every)[0]:.3f} |"
        )
    fitted = ", ".join(
        f"{name} {value:.2f}" for name, value in zip(FIGURES, fit_powers(list(others.values())), strict=True)
    )
    words = (
        f"Lost in the mean {np.mean(losses):.3f}, at most {max(losses):.3f}. Powers from all sets: {fitted} (those in "
        f"use: {', '.join(f'{name} {value:g}' for name, value in POWERS.items())})."
    )
    return words + "\n\n" + "\n".join(lines), found


def run_table(rows: list[dict[str, Any]]) -> str:
    """Return the table of default runs."""
    frame = pd.DataFrame(rows)
    lines = [
        "| set | images | second segmenter | consensus | MMSE | best Gaussian | minus MMSE | minus best Gaussian |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = [f"{row[name]:.3f}" for name in ("consensus", "MMSE", "best Gaussian")]
        for name in ("MMSE", "best Gaussian"):
            low, high = row[f"{name} interval"]
            cells.append(f"{row[f'minus {name}']:+.3f} [{low:+.3f}, {high:+.3f}]")
        lines.append(f"| {row['set']} | {row['images']} | `{row['beside it']}` | {' | '.join(cells)} |")
    words = []
    for name in ("MMSE", "best Gaussian"):
        gain = frame[f"minus {name}"]
        low, high = bootstrap_interval(gain.to_numpy())
        below = sum(high < 0 for _, high in frame[f"{name} interval"])
        words.append(
            f"above the {name} on {(gain > 0).sum()} of {len(gain)} sets, surely below on {below}, in the mean "
            f"{gain.mean():+.3f} [{low:+.3f}, {high:+.3f}]"
        )
    lost = frame["best in hindsight"] - frame["consensus"]
    words.append(
        f"below the mean sample's labels by the best candidate in hindsight by {lost.mean():.3f} in the mean, "
        f"{lost.max():.3f} at most"
    )
    return f"Consensus {'; '.join(words)}.\n\n" + "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--powers", type=Path, metavar="KEEP", help="of another training time: choose the powers by it")
    parser.add_argument("--minutes", type=float, default=8.0, help="training of the models")
    parser.add_argument("--samples", type=int, default=16, help="of the default runs")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--record", action="store_true", help="write the tables to results")
    parser.add_argument("--name", default="choice", help="of the page in results")
    a = parser.parse_args()
    if a.threads:
        limit_threads(a.threads)
    lefts = {job: Left(job, a.models, a.minutes) for job in a.sets}
    tables = {job: left.table(a.keep) for job, left in lefts.items()}
    judged = {job: t for job, t in tables.items() if not job.startswith("field_empty")}
    files = [file for job in SETS if a.powers and (file := a.powers / f"{job}.npz").is_file()]
    others = {file.stem: Table.load(file) for file in files if not file.stem.startswith("field_empty")}
    if a.powers and not others:
        raise SystemExit(f"{a.powers} holds no tables to choose the powers by: name the --keep of a former call")
    choice, found = choice_table(judged, others)
    print(choice, flush=True)
    runs, rows = {}, []
    for job, powers in found.items():
        pick = tables[job].names[tables[job].loss(powers)[1]]
        second = lefts[job].second(tables[job], powers)
        runs[job] = run_default(lefts[job], BETWEEN.join(filter(None, (pick, second))), a.samples, a.keep)
        best = float(tables[job].quality.max())
        rows.append(compare(job, runs[job]) | {"beside it": second or "-", "best in hindsight": best})
        print(rows[-1], flush=True)
    body = f"## Choice of the segmenter\n\n{choice}"
    body += f"\n\n## Default runs\n\n{run_table(rows)}"
    rows = [confidence_row(job, out, lefts[job].pictures) for job, out in runs.items()]
    body += f"\n\n## Confidence\n\n{confidence_table(rows)}"
    if a.record:
        command = (
            f"python -m benchmarks.untuned --models MODELS --keep KEEP --minutes {a.minutes:g} --samples {a.samples}"
        )
        command += " --powers KEEP" if a.powers else ""
        command += f" --sets {' '.join(a.sets)}" if a.sets != list(SETS) else ""
        command += f" --name {a.name}" if a.name != "choice" else ""
        write_result(a.name, "With nothing set, on sets that are left out", command, body)
    else:
        print(body)


if __name__ == "__main__":
    main()
