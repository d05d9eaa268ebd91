"""The command."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import benchmarks.denoising as package
from benchmarks.denoising.methods import METHODS, NETWORKS, Impossible, prepare
from benchmarks.denoising.pictures import sample_picture
from benchmarks.denoising.registry import AFFINE, REGISTRY, load, missing_files, scored
from benchmarks.denoising.scores import FAILED, Row, add_row, read_rows, score
from benchmarks.denoising.tables import registry_table, set_table
from benchmarks.record import limit_threads, write_result
from divseg import DivsegError, DivsegWarning

NOTE = """\
Every network, Noise2Void's too, is trained on all noisy images of a set for so many minutes of processor time of one
thread; the others need no training. Scored are the middle 256x256 pixels of at most four images a set, evenly chosen.
The best Gaussian is chosen with the target, image by image. Means over the scored images; diversity is the root of the
samples' mean variance divided by the range of their mean; the rank correlation is Spearman's, of the samples' standard
deviation with the absolute error of their mean, pixel by pixel.""".replace("\n", " ")


def run_set(job: str, a: argparse.Namespace) -> None:
    """Train and score all methods on a set; what is in its table already is left as it is."""
    pictures = load(job)
    chosen = scored(pictures, a.limit)
    path = a.out / f"{job}.csv"
    done = {(row.method, row.image) for row in read_rows(path) if row.minutes == a.minutes}
    affine = REGISTRY[job].psnr == AFFINE
    for name in a.methods:
        collapsed = name in NETWORKS and (name, FAILED) in done  # what else was missing may be there now
        if collapsed or all((name, p.name) in done for p in chosen):
            continue
        try:
            method = prepare(
                name, job, pictures, minutes=a.minutes, samples=a.samples, models=a.out / "models", n2v=a.n2v
            )
            for picture in chosen:
                if (name, picture.name) in done:
                    continue
                made = method.denoise(picture)
                row = score(job, picture.name, name, a.minutes, made, picture.clean, affine)
                add_row(path, Row(**{**vars(row), "training_seconds": method.training_seconds, "note": method.note}))
                if made.samples is not None and picture is chosen[0]:
                    file = a.out / "pictures" / f"{job}-{name.replace(', ', '_').replace(' ', '_')}.png"
                    sample_picture(file, picture, made.samples, f"{job}: {name}")
        except (Impossible, DivsegError) as error:
            add_row(path, Row(job, FAILED, name, a.minutes, note=str(error).replace("|", "/")))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.denoising",
        description=package.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--set", choices=list(REGISTRY), action="append", default=[], metavar="NAME")
    parser.add_argument("--list", action="store_true", help="say of every set which files are missing")
    parser.add_argument("--table", action="store_true", help="make the tables of all sets that have rows")
    parser.add_argument("--out", type=Path, help="folder for rows, models and pictures")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD")
    parser.add_argument("--minutes", type=float, default=1.0, help="training of every network, processor time")
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--limit", type=int, help="score at most so many images")
    parser.add_argument("--n2v", type=Path, action="append", default=[], metavar="FOLDER")
    parser.add_argument("--record", action="store_true", help="write the tables to results/denoising.md")
    a = parser.parse_args()
    if a.list:
        for name, entry in REGISTRY.items():
            print(f"{name}: {entry.what}")
            for line in missing_files(name) or ["all files are here"]:
                print(f"    {line}")
        return
    if a.out is None:
        parser.error("--set and --table need --out")
    limit_threads(1)
    warnings.simplefilter("ignore", DivsegWarning)
    for job in a.set:
        run_set(job, a)
    if a.table:
        parts = [NOTE, registry_table()]
        for job in REGISTRY:
            rows = [row for row in read_rows(a.out / f"{job}.csv") if row.minutes == a.minutes]
            if rows:
                parts.append(set_table(job, rows))
        body = "\n\n".join(parts)
        if a.record:
            command = f"python -m benchmarks.denoising --set NAME --out OUT --minutes {a.minutes:g}"
            write_result("denoising", "The sets of the paper", f"{command} --samples {a.samples} --n2v FOLDER", body)
        else:
            print(body)


if __name__ == "__main__":
    main()
