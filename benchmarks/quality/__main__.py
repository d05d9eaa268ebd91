"""From images to the table of quality: the command."""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from pathlib import Path

import torch

import benchmarks.quality as package
from benchmarks.images import Images
from benchmarks.quality.posterior import judge, mmse_psnr
from benchmarks.quality.rows import FAILED, Row, Rows
from benchmarks.quality.tables import tables
from benchmarks.record import limit_threads, write_result
from benchmarks.sets import (
    BASE,
    CLEAN,
    GAUSSIAN,
    POISSON,
    Picture,
    load_clean,
    psnr,
    read_denoised,
    scored,
    split_name,
)
from benchmarks.smoothing import SetNoise, denoisers
from benchmarks.trained import trained
from divseg import DivNoising, DivsegError, DivsegWarning
from divseg.denoise.noise import photon_transfer

GAUSSIANS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)
"""Standard deviations in pixels among which the best is chosen with the clean image, image by image."""

MANY = 1000
"""Samples whose mean shows how far that of fewer has converged."""

NOTE = """\
PSNR with the range of the clean image as the peak, mean over the images in brackets. The Gaussian is the best of ten
for each image, chosen with the clean image; non-local means and BM3D know the noise (the photon-transfer estimate
if it is real) and see the image through the generalised Anscombe transform if its variance grows with the
signal. Networks see the noisy images alone. Samples of the true posterior would give 90 % ({exact:.1f} % with
{samples} samples and their interpolated quantiles) and twice 1; spread is the root of the samples' mean variance,
error the root-mean-square error of their mean."""


def set_noise(level: str, pictures: list[Picture]) -> SetNoise:
    """Return the variance of the noise: the truth, or for real noise the estimate."""
    if level in GAUSSIAN:
        return SetNoise(0.0, GAUSSIAN[level] ** 2)
    if level in POISSON:
        _, _, gain, read = POISSON[level]
        return SetNoise(gain, read**2 - gain * BASE)
    estimate = photon_transfer([p.noisy for p in pictures])
    return SetNoise(estimate.a, estimate.b) if estimate.a > 0 else SetNoise(0.0, estimate.std**2)


def score_classical(job: str, pictures: list[Picture], chosen: list[Picture], rows: Rows) -> None:
    """Add the rows of methods without training."""
    names = ("noisy", "best Gaussian", *denoisers())
    if rows.has(Row(job, p.name, name, math.nan) for p in chosen for name in names):
        return
    noise = set_noise(split_name(job)[1], pictures)
    for p in chosen:
        images = Images(p, noise=noise)
        for name in names:
            if Row(job, p.name, name, math.nan) in rows:
                continue
            start, note = time.perf_counter(), ""
            if name == "noisy":
                value = psnr(p.noisy, p.truth)
            elif name == "best Gaussian":
                value, width = max((psnr(images.image(("gaussian", w)), p.truth), w) for w in GAUSSIANS)
                note = f"sigma {width:g}"
            else:
                value = psnr(images.image(("advised", name)), p.truth)
            rows.add(Row(job, p.name, name, value, seconds=time.perf_counter() - start, note=note))


def score_n2v(job: str, chosen: list[Picture], folder: Path, minutes: float, rows: Rows) -> None:
    """Add the rows of N2V, read from its folder."""
    facts_file = folder / job / "training.json"
    if not facts_file.is_file():
        print(f"{job}: no N2V in {folder}: python -m benchmarks.n2v --set {job} --out {folder}", flush=True)
        return
    facts = json.loads(facts_file.read_text(encoding="utf-8"))
    name = "N2V" if facts["minutes"] == minutes else f"N2V, {facts['minutes']:g} min"
    remark = f"CAREamics {facts['careamics']}, {facts['steps']} steps, {facts['threads']} threads"
    remark += f", {facts['cpu_seconds']:.0f} s of processor time"
    for p in chosen:
        image = read_denoised(folder, job, p)
        if image is None:
            print(f"{folder / job} lacks the image {p.name}: run benchmarks.n2v again without --limit", flush=True)
            continue
        value = psnr(image, p.truth)
        rows.add(Row(job, p.name, name, value, facts["minutes"], megapixels=facts["megapixels"], note=remark))


def score_variant(
    job: str, variant: str, pictures: list[Picture], chosen: list[Picture], rows: Rows, a: argparse.Namespace
) -> None:
    """Add the rows of one network, trained if it is not there yet."""
    wanted = [Row(job, p.name, variant, math.nan, a.minutes, a.seed, a.samples) for p in chosen]
    many = [Row(job, p.name, variant, math.nan, a.minutes, a.seed, MANY) for p in chosen[: a.thousand]]
    failed = Row(job, FAILED, variant, math.nan, a.minutes, a.seed, a.samples)
    if failed in rows or rows.has([*wanted, *many]):
        return
    name, level = split_name(job)
    words = variant.split(";")
    if level == "real":
        words = ["estimated" if word == "known" else word for word in words]
    try:
        options = {"minutes": a.minutes, "seed": a.seed, "device": a.device, "pictures": pictures}
        model = trained(a.models, name, level, ";".join(words), **options)
    except DivsegError as error:
        rows.add(Row(job, FAILED, variant, math.nan, a.minutes, a.seed, a.samples, note=str(error)[:120]))
        return
    for p, empty in zip(chosen, wanted, strict=True):
        if empty not in rows:
            rows.add(_judged(job, variant, model, p, a))
    for p, empty in zip(chosen, many, strict=False):
        if empty not in rows:
            value, seconds = mmse_psnr(model, p, MANY)
            rows.add(Row(job, p.name, variant, value, a.minutes, a.seed, MANY, seconds=seconds))


def _judged(job: str, variant: str, model: DivNoising, picture: Picture, a: argparse.Namespace) -> Row:
    figures = judge(model, Images(picture, lambda: model.draw(picture.noisy, range(a.samples))))
    return Row(
        job,
        picture.name,
        variant,
        figures.psnr,
        a.minutes,
        a.seed,
        a.samples,
        figures.single,
        figures.covered,
        math.nan if model.noise.kind == "none" else figures.residual,
        figures.spread,
        figures.seconds,
        float(model.training.get("megapixels", math.nan)),
        model.noise.describe(),
    )


def report(rows: Rows, counts: dict[str, int], a: argparse.Namespace) -> str:
    """Return the tables of these settings."""
    budgets = {(0.0, 0, 0), (a.minutes, a.seed, a.samples), (a.minutes, a.seed, MANY)}
    shown = [
        r
        for r in rows.rows.values()
        if r.job in counts
        and (r.key[3:] in budgets or r.method.startswith("N2V"))
        and (not r.samples or r.method in a.variants)
    ]
    fixed = ("noisy", "best Gaussian", "non-local means", "BM3D", "N2V", *a.variants)
    shown.sort(key=lambda r: fixed.index(r.method) if r.method in fixed else fixed.index("N2V") + 0.5)
    exact = 90 * (a.samples - 1) / (a.samples + 1)
    note = NOTE.format(exact=exact, samples=a.samples).replace("\n", " ")
    how = f"{a.minutes:g} minutes of training for every network, {torch.get_num_threads()} threads"
    return f"{how}, the mean of {a.samples} samples.\n\n{note}\n\n{tables(shown, list(counts), counts, MANY)}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality",
        description=package.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--models", type=Path, required=True, help="folder of trained models")
    parser.add_argument("--sets", nargs="+", default=list(CLEAN), metavar="SET-LEVEL")
    parser.add_argument("--variants", nargs="*", default=["learned", "known", "vanilla"])
    parser.add_argument("--minutes", type=float, default=10.0, help="training of every network")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--thousand", type=int, default=0, metavar="N", help=f"also {MANY} samples of N images a set")
    parser.add_argument("--n2v", type=Path, action="append", default=[], metavar="FOLDER")
    parser.add_argument("--no-classical", action="store_true", help="add no rows of methods without training")
    parser.add_argument("--limit", type=int, help="at most so many images a set, for trials")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--csv", type=Path, help="rows; MODELS/quality.csv by default")
    parser.add_argument("--out", type=Path, help="write the tables to this file")
    parser.add_argument("--record", action="store_true", help="write the tables to the results")
    a = parser.parse_args()
    if not 64 <= a.samples < MANY:
        raise SystemExit(f"--samples {a.samples}: quantiles need 64 at least, and below {MANY}")
    if a.threads:
        limit_threads(a.threads)
    warnings.simplefilter("ignore", DivsegWarning)
    rows, counts = Rows(a.csv or a.models / "quality.csv"), {}
    for job in a.sets:
        pictures = load_clean(job)
        chosen = scored(pictures, split_name(job)[0], a.limit)
        counts[job] = len(chosen)
        if not a.no_classical:
            score_classical(job, pictures, chosen, rows)
        for folder in a.n2v:
            score_n2v(job, chosen, folder, a.minutes, rows)
        for variant in a.variants:
            score_variant(job, variant, pictures, chosen, rows, a)
    body = report(rows, counts, a)
    if a.out:
        a.out.parent.mkdir(parents=True, exist_ok=True)
        a.out.write_text(body + "\n", encoding="utf-8")
    if a.record:
        options = " ".join(f'"{v}"' if ";" in v else v for v in a.variants)
        command = f"python -m benchmarks.quality --models MODELS --minutes {a.minutes:g} --samples {a.samples}"
        command += f" --sets {' '.join(a.sets)} --variants {options} --thousand {a.thousand}"
        write_result("quality", "Quality of the denoised images", command + " --n2v FOLDER" * len(a.n2v), body)
    elif not a.out:
        print(body)


if __name__ == "__main__":
    main()
