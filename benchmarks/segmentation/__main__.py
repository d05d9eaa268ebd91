"""From images to table: the command."""

from __future__ import annotations

import argparse
import fnmatch
import os
import shlex
import sys
import time
from functools import partial
from pathlib import Path

import pandas as pd

import benchmarks.segmentation as package
from benchmarks.record import limit_threads, write_result
from benchmarks.segmentation.cell import Cell
from benchmarks.segmentation.elsewhere import made_elsewhere
from benchmarks.segmentation.grids import make_grid
from benchmarks.segmentation.inputs import TIMED, catalogue, select
from benchmarks.segmentation.rows import Book, read_rows
from benchmarks.segmentation.tables import minutes_table, report, samples_table
from benchmarks.sets import LEVELS
from benchmarks.smoothing import have_bm3d
from divseg import DivsegError
from divseg.io import write_text
from divseg.metrics import to_markdown


def parser() -> argparse.ArgumentParser:
    """Return the options of the command."""
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.segmentation",
        description=package.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--data", help="folder with the sets (otherwise DIVSEG_DATA)")
    p.add_argument("--out", type=Path, required=True, help="folder of rows, table and plots")
    p.add_argument("--models", type=Path, help="cache of models (OUT/models)")
    p.add_argument("--sets", nargs="+", choices=LEVELS, help="all; without data: demo")
    p.add_argument("--noise", nargs="+", help="levels, as far as a set has them")
    p.add_argument("--segmenters", nargs="+", default=["threshold", "stardist:nuclei"])
    p.add_argument("--minutes", nargs="+", type=float, default=[10.0], help="of training; the last one gives the table")
    p.add_argument("--variant", default="learned", help="of the model, see benchmarks.trained")
    p.add_argument("--samples", type=int, default=32)
    p.add_argument("--tuning-samples", type=int, default=8, help="samples segmented for tuning")
    p.add_argument("--tuning-images", type=int, help="at most so many images of the tuning part")
    p.add_argument("--images", type=int, help="at most so many images of the scored part")
    p.add_argument("--inputs", nargs="+", metavar="PATTERN", help='only these rows, such as "consensus*" MMSE')
    p.add_argument(
        "--curves", nargs="?", type=int, const=128, default=0, metavar="N", help="score against samples, to N"
    )
    p.add_argument("--no-map", action="store_true", help="leave the maximum a posteriori out")
    p.add_argument("--vanilla", action="store_true", help="train the plain autoencoder if it is not cached")
    p.add_argument(
        "--add",
        nargs="+",
        default=[],
        metavar="NAME=DIR",
        help="images denoised by other tools: DIR/SET-LEVEL/NAME.npy or .tif; N2V=DIR takes what benchmarks.n2v wrote",
    )
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--device", default="auto")
    p.add_argument("--threads", type=int, help="of PyTorch and Numba")
    p.add_argument("--no-plots", action="store_true")
    p.add_argument("--record", action="store_true", help="write the table to benchmarks/results")
    return p


def main(words: list[str] | None = None) -> None:
    """Run the benchmark."""
    a = parser().parse_args(words)
    if a.data:
        os.environ["DIVSEG_DATA"] = a.data
    if a.samples < 1 or a.tuning_samples < 1:
        raise SystemExit("--samples and --tuning-samples must be at least 1")
    if a.threads:
        limit_threads(a.threads)
    try:
        run(a, words if words is not None else sys.argv[1:])
    except DivsegError as error:
        raise SystemExit(str(error)) from error


def jobs(a: argparse.Namespace) -> list[tuple[str, str]]:
    """Return the sets and levels that are asked for."""
    with_data = bool(os.environ.get("DIVSEG_DATA"))
    sets = a.sets or ([s for s in LEVELS if s != "demo"] if with_data else ["demo"])
    pairs = [(s, level) for s in sets for level in LEVELS[s] if not a.noise or level in a.noise]
    if not pairs:
        levels = ", ".join(f"{s}: {' '.join(LEVELS[s])}" for s in sets)
        raise SystemExit(f"none of the sets has a level {' or '.join(a.noise)} ({levels})")
    return pairs


def run(a: argparse.Namespace, words: list[str]) -> None:
    """Fill the rows of all cells, then write table and plots."""
    models, notes, books, chosen = a.models or a.out / "models", [], [], {}
    if not have_bm3d():
        notes.append(
            "BM3D: the package bm3d is not installed; non-local means of the stabilised image stands in for it."
        )
    start = time.monotonic()
    for name, level in jobs(a):
        for minutes in a.minutes:
            last = minutes == a.minutes[-1]
            cell = Cell(
                name,
                level,
                models,
                a.out / "samples",
                a.samples,
                minutes,
                variant=a.variant,
                seed=a.seed,
                device=a.device,
                most_tuned=a.tuning_images,
                most_scored=a.images,
            )
            notes += [r for r in (made_elsewhere(cell, a) if last else []) if r not in notes]
            rows = catalogue(clean=cell.clean, samples=a.samples, mode=not a.no_map, others=cell.origins)
            if a.inputs:
                rows = select(rows, lambda n: any(fnmatch.fnmatch(n, pattern) for pattern in a.inputs))
            for segmenter in a.segmenters:
                grid = make_grid(segmenter, large=cell.large, device=a.device)
                book = Book(a.out, cell, grid, a.tuning_samples)
                progress = partial(_say, start, f"{name} {level} {segmenter}")
                folds = book.fill(rows, progress, only=None if last else TIMED, curve=a.curves if last else 0)
                books.append((book, last))
                chosen[book.rows] = (rows, folds)
    rows = pd.concat([read_rows(book.rows, chosen[book.rows][0]) for book, last in books if last], ignore_index=True)
    body = report(rows, notes)
    write_text(a.out / "table.md", f"# Segmentation benchmark\n\n{body}")
    print(f"table: {a.out / 'table.md'}")
    if a.record:
        shown = shlex.join(_without_folders(words))
        write_result(
            "segmentation",
            "Segmentation: consensus against its rivals",
            f"python -m benchmarks.segmentation {shown}",
            body,
        )
    if a.curves:
        curves = [read_rows(book.curve, chosen[book.rows][0], ("image", "input", "samples")) for book, _ in books]
        table = to_markdown(samples_table(pd.concat(curves, ignore_index=True)))
        write_text(a.out / "samples.md", f"# mAP against the number of posterior samples\n\n{table}")
        print(f"table: {a.out / 'samples.md'}")
    if len(a.minutes) > 1:
        timed = pd.concat([read_rows(book.rows, chosen[book.rows][0]) for book, _ in books], ignore_index=True)
        write_text(
            a.out / "minutes.md", f"# mAP against the minutes of training\n\n{to_markdown(minutes_table(timed, TIMED))}"
        )
        print(f"table: {a.out / 'minutes.md'}")
    if not a.no_plots:
        from benchmarks.segmentation.plots import draw_all

        for file in draw_all(a.out / "plots", [book for book, _ in books], chosen):
            print(f"plot: {file}")


def _say(start: float, head: str, what: str) -> None:
    print(f"[{time.monotonic() - start:6.0f} s] {head}: {what}", flush=True)


def _without_folders(words: list[str]) -> list[str]:
    """Replace folders of this machine by words."""
    names = {"--data": "DIR", "--out": "OUT", "--models": "MODELS"}
    shown, before = [], ""
    for word in words:
        name, equals, value = word.partition("=")
        if before in names:
            word = names[before]
        elif equals and name in names:
            word = f"{name}={names[name]}"
        elif equals and Path(value).is_dir():  # of --add
            word = f"{name}=DIR"
        shown.append(word)
        before = word
    return shown


if __name__ == "__main__":
    main()
