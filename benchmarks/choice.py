"""Does ``--segmenter auto`` choose well? Its pick against the best thresholding in hindsight.

    DIVSEG_DATA=... python -m benchmarks.choice --models MODELS [--minutes 8] [--sets dsb2018_fluo-n20 ...] [--record]

The choice is made as ``divseg run --segmenter auto`` makes it: by a few samples of eight images of the set, without
truth. Then every candidate segments samples of other images, the consensus of each is scored against truth, and the
pick is held against the candidate with the best mean mAP there. Models come from the cache of
:mod:`benchmarks.trained`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from scipy.stats import spearmanr

from benchmarks.images import Images
from benchmarks.record import limit_threads, write_result
from benchmarks.sets import Picture, end_to_end, load_set, split_name
from benchmarks.trained import trained
from divseg import DivNoising, evaluate, fuse, segmenter
from divseg.workflow.choose_segmenter import IMAGES, SAMPLES, rank_segmenters

SETS = {
    "dsb2018_fluo-n20": 16,
    "bbbc039-pg_mid": 5,
    "lowsnr_nuclei-real": 3,
    "dsb2018_fluo-pg_low": 16,
    "bbbc039-pg_low": 5,
    "dsb2018_fluo-pg_mid": 16,
    "lowsnr_cells-real": 4,
}
"""Sets, and the number of images of each on which the choice is judged."""

SHOWN = 5
PLAIN = "otsu,smooth=1,split=distance"
"""What one would take without a choice."""


def images_of(model: DivNoising, picture: Picture, count: int) -> Images:
    """Return the images of a picture, with so many samples."""
    return Images(picture, lambda: model.draw(picture.noisy, range(count)))


def hindsight(specs: list[str], judged: list[Images]) -> pd.DataFrame:
    """Mean mAP of consensus and MMSE for every candidate."""
    rows = []
    for spec in specs:
        segment = segmenter(spec)
        for images in judged:
            mean, truth = images.image(("mmse",)), images.picture.masks
            fitted = segment.fit(mean)
            consensus = evaluate(fuse(list(fitted(images.samples))).labels, truth).map
            mmse = evaluate(fitted(mean), truth).map
            rows.append({"segmenter": spec, "consensus": consensus, "mmse": mmse})
    return pd.DataFrame(rows).groupby("segmenter", sort=False).mean()


def judge(job: str, count: int, a: argparse.Namespace) -> str:
    """Return the paragraph and table of one set."""
    name, level = split_name(job)
    pictures = load_set(name, level)
    model = trained(a.models, name, level, minutes=a.minutes, device="cpu", pictures=pictures)
    asked = end_to_end(range(len(pictures)), IMAGES)
    ranking = rank_segmenters([images_of(model, pictures[i], SAMPLES).samples for i in asked])
    others = [p for i, p in enumerate(pictures) if i not in asked and p.masks is not None] or pictures
    judged = [images_of(model, p, a.samples) for p in end_to_end(others, count)]
    scored = hindsight([*ranking["segmenter"], PLAIN], judged)
    if a.keep:
        a.keep.mkdir(parents=True, exist_ok=True)
        scored.to_csv(a.keep / f"{job}-hindsight.csv")
        ranking.to_csv(a.keep / f"{job}-ranking.csv", index=False)
    table = scored.drop(index=PLAIN) if PLAIN not in set(ranking["segmenter"]) else scored
    pick = str(ranking["segmenter"].iloc[0])
    best = str(table["consensus"].idxmax())
    agreement = spearmanr(ranking["score"], table.loc[ranking["segmenter"], "consensus"]).statistic
    shown = list(dict.fromkeys([*ranking["segmenter"][:SHOWN], best]))
    lines = ["| rank | candidate | score without truth | mAP consensus | mAP MMSE |", "| --- | --- | --- | --- | --- |"]
    order = list(ranking["segmenter"])
    for spec in shown:
        at, scores = order.index(spec), table.loc[spec]
        mark = " (best in hindsight)" if spec == best else ""
        lines.append(
            f"| {at + 1} | `{spec}`{mark} | {ranking['score'].iloc[at]:.3f} | {scores['consensus']:.3f} | "
            f"{scores['mmse']:.3f} |"
        )
    loss = table["consensus"].max() - table.loc[pick, "consensus"]
    words = (
        f"**{job}**: chosen by {len(asked)} images, judged on {len(judged)} others. The pick has "
        f"{table.loc[pick, 'consensus']:.3f} mAP, the best of {len(table)} {table['consensus'].max():.3f}: "
        f"**{loss:.3f}** are lost; the median candidate has {table['consensus'].median():.3f}, plain "
        f"`{PLAIN}` {scored.loc[PLAIN, 'consensus']:.3f}. Rank correlation of the score with the mAP "
        f"{agreement:.2f}."
    )
    print(words, flush=True)
    return words + "\n\n" + "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--minutes", type=float, default=8.0, help="training of the models")
    parser.add_argument("--samples", type=int, default=8, help="for judging")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--keep", type=Path, help="folder for rankings and scores as CSV")
    parser.add_argument("--record", action="store_true", help="write the tables to results/choice.md")
    a = parser.parse_args()
    if a.threads:
        limit_threads(a.threads)
    body = "\n\n".join(judge(job, SETS[job], a) for job in a.sets)
    if a.record:
        command = f"python -m benchmarks.choice --models MODELS --sets {' '.join(a.sets)} --minutes {a.minutes:g}"
        write_result("choice", "--segmenter auto against the best choice in hindsight", command, body)
    else:
        print(body)


if __name__ == "__main__":
    main()
