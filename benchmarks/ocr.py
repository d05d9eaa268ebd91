"""Is text read better from many samples? Character and word errors of readings of noisy pages.

    DIVSEG_DATA=... python -m benchmarks.ocr --out OUT [--levels n40 n55 n70] [--steps 6000] [--engine tesseract,psm=6]
        [--n2v FOLDER] [--threads 1] [--record]

trains a model on the noisy pages of text_pages at each level (kept in OUT/models), reads the noisy pages, the best
Gaussian smoothing (its width chosen with the transcripts, once a level), Noise2Void if :mod:`benchmarks.n2v` has
written its images to FOLDER, the mean of the samples (MMSE) and single samples, and fuses readings of 1, 4, 16 and 64
samples as ``divseg ocr`` does: each reading is of the mean of a quarter of them. All readings are kept in OUT/readings:
fusing them anew takes seconds. Errors are edit distances to the transcript divided by its length, of characters (white
space counts once) and of words; differences are paired by page, with 95 % bootstrap intervals over the pages.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.record import data_root, limit_threads, write_result
from benchmarks.sets import Picture, load_set, read_denoised
from benchmarks.smoothing import SetNoise, gaussian
from benchmarks.trained import trained
from divseg.metrics import bootstrap_interval
from divseg.ocr import (
    Box,
    Engine,
    FusedReading,
    Line,
    Reading,
    Word,
    as_page,
    fuse_readings,
    read_views,
    subsets,
    text_engine,
)

SET = "text_pages"
WIDTHS = (0.8, 1.2)
"""Gaussians among which the best is chosen."""
FUSED, SINGLE = "fused", "mean single sample"
BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)
"""Edges of the bins of confidence."""


@dataclass(frozen=True)
class Errors:
    """Error rates of one page read in one way."""

    level: str
    page: str
    method: str
    character: float
    word: float


class Reader:
    """Reads images of one level; readings are kept in a folder."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine, self.folder = engine, folder

    def read(self, name: str, image: Callable[[], NDArray[np.float32]], scale: int) -> str:
        """Return the text read on an image."""

        def make() -> list[Reading]:
            shown = image()
            return [as_page(shown, self.engine, (scale,), turn=False).read(shown, self.engine)]

        return self._kept(name, make)[0].text

    def _kept(self, name: str, make: Callable[[], list[Reading]]) -> list[Reading]:
        """Return readings from the folder, made if they are not there."""
        file = self.folder / f"{name}.json"
        if file.is_file():
            return [_from_plain(reading) for reading in json.loads(file.read_text(encoding="utf-8"))]
        readings = make()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps([asdict(reading) for reading in readings]), encoding="utf-8")
        return readings

    def views(
        self, name: str, samples: Callable[[], Sequence[NDArray[np.float32]]], count: int, scale: int
    ) -> list[Reading]:
        """Return the readings that ``divseg ocr`` makes of the first `count` samples."""

        def make() -> list[Reading]:
            drawn = np.stack(samples()[:count])
            page = as_page(np.mean(samples(), axis=0), self.engine, (scale,), turn=False)
            return read_views(drawn, page, self.engine, subsets(count))

        return self._kept(name, make)

    def scale(self, name: str, samples: Callable[[], Sequence[NDArray[np.float32]]]) -> int:
        """Return the enlargement at which the mean of the samples is read with most confidence."""
        file = self.folder / f"{name}-scale.json"
        if not file.is_file():
            page = as_page(np.mean(samples(), axis=0), self.engine, turn=False)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(str(page.scale), encoding="utf-8")
        return int(file.read_text(encoding="utf-8"))


def _from_plain(reading: dict) -> Reading:
    lines = ([Word(w["text"], Box(**w["box"]), w["confidence"]) for w in line["words"]] for line in reading["lines"])
    return Reading(tuple(Line(tuple(words)) for words in lines))


def distance(a: Sequence, b: Sequence) -> int:
    """Edit distance (Levenshtein): insertions, deletions and changes."""
    b_items = np.array(list(b), dtype=object)
    row = np.arange(len(b) + 1)
    for i, item in enumerate(a, start=1):
        fresh = np.minimum(row[1:] + 1, row[:-1] + (b_items != item))
        own = np.concatenate([[i], fresh]) - np.arange(len(b) + 1)
        row = np.minimum.accumulate(own) + np.arange(len(b) + 1)
    return int(row[-1])


def rates(text: str, truth: str) -> tuple[float, float]:
    """Return the error rates of characters and of words."""
    read, true = text.split(), truth.split()
    characters = distance(" ".join(read), " ".join(true)) / max(len(" ".join(true)), 1)
    return characters, distance(read, true) / max(len(true), 1)


def right_words(fused: FusedReading, truth: str) -> list[tuple[float, bool]]:
    """Return confidence of each fused word, and whether the transcript has it in an alignment of fewest edits."""
    words = [(w.vote.text, w.vote.confidence) for line in fused.lines for w in line.words]
    true = truth.split()
    n, m = len(words), len(true)
    cost = np.zeros((n + 1, m + 1), int)
    cost[:, 0], cost[0] = np.arange(n + 1), np.arange(m + 1)
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            same = cost[i - 1, j - 1] + (words[i - 1][0] != true[j - 1])
            cost[i, j] = min(same, cost[i - 1, j] + 1, cost[i, j - 1] + 1)
    right = [False] * n
    i, j = n, m
    while i and j:
        if cost[i, j] == cost[i - 1, j - 1] + (words[i - 1][0] != true[j - 1]):
            right[i - 1] = words[i - 1][0] == true[j - 1]
            i, j = i - 1, j - 1
        elif cost[i, j] == cost[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return [(confidence, ok) for (_, confidence), ok in zip(words, right, strict=True)]


def score_level(level: str, a: argparse.Namespace) -> tuple[list[Errors], list[tuple[float, bool]], str]:
    """Return the errors of all pages and methods, and how well the fused words' confidences are borne out."""
    pictures = load_set(SET, level)[: a.pages]
    truths = {p.name: (data_root() / SET / "text" / f"{p.name}.txt").read_text(encoding="utf-8") for p in pictures}
    reader = Reader(text_engine(a.engine), a.out / "readings" / f"{level}-{a.steps}")
    noise = SetNoise(0.0, 1.0)
    rows: list[Errors] = []
    words: list[tuple[float, bool]] = []

    def add(p: Picture, method: str, texts: Sequence[str]) -> None:
        character, word = np.mean([rates(text, truths[p.name]) for text in texts], axis=0)
        rows.append(Errors(level, p.name, method, float(character), float(word)))

    model = trained(a.out / "models", SET, level, a.variant, steps=a.steps, device="cpu")
    smoothed: dict[float, list[Errors]] = {width: [] for width in WIDTHS}
    for p in pictures:
        drawn: list[NDArray[np.float32]] = []

        def samples(p: Picture = p, drawn: list[NDArray[np.float32]] = drawn) -> list[NDArray[np.float32]]:
            drawn.extend(model.draw(p.noisy, range(max(a.counts))) if not drawn else [])
            return drawn

        scale = reader.scale(p.name, samples)

        def read(kind: str, image: NDArray[np.float32], p: Picture = p, scale: int = scale) -> list[str]:
            return [reader.read(f"{p.name}-{kind}", lambda: image, scale)]

        add(p, "clean", read("clean", p.truth))
        add(p, "noisy", read("noisy", p.noisy))
        for width in WIDTHS:
            add(p, "best Gaussian", read(f"gaussian{width:g}", gaussian(p.noisy, width, noise)))
            smoothed[width].append(rows.pop())
        n2v = [image for folder in a.n2v if (image := read_denoised(folder, f"{SET}-{level}", p)) is not None]
        if n2v:
            add(p, "N2V", read("n2v", n2v[0]))
        add(p, "MMSE", [reader.read(f"{p.name}-mmse", lambda f=samples: np.mean(f(), axis=0, dtype=np.float32), scale)])
        for count in a.counts:
            readings = reader.views(f"{p.name}-views{count}", samples, count, scale)
            if len(subsets(count)[0]) == 1 and count > 1:
                add(p, SINGLE, [reading.text for reading in readings])
            fused = fuse_readings(readings)
            add(p, f"{FUSED}, {count} sample{'s' * (count > 1)}", [fused.text])
        words += right_words(fused, truths[p.name])
        print(level, p.name, {row.method: round(row.word, 3) for row in rows if row.page == p.name}, flush=True)
    best = min(WIDTHS, key=lambda width: float(np.mean([row.word for row in smoothed[width]])))
    rows += smoothed[best]
    facts = f"{level}: {model.training['megapixels']:.0f} Mpx of training, {model.noise.describe()}; "
    facts += f"best Gaussian {best:g} px"
    return rows, words, facts


def error_table(rows: list[Errors]) -> str:
    """Return the table of error rates and of differences to the fused reading."""
    lines = ["| level | method | character error | word error | word error, fused reading minus this one |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for level in dict.fromkeys(row.level for row in rows):
        mine = [row for row in rows if row.level == level]
        fused = [row.method for row in mine if row.method.startswith(FUSED)][-1]
        ours = {row.page: row.word for row in mine if row.method == fused}
        for method in dict.fromkeys(row.method for row in mine):
            these = [row for row in mine if row.method == method]
            character, word = (np.mean([getattr(row, kind) for row in these]) for kind in ("character", "word"))
            difference = [ours[row.page] - row.word for row in these]
            low, high = bootstrap_interval(np.array(difference), least=1)
            told = "" if method == fused else f"{np.mean(difference):+.3f} ({low:+.3f} to {high:+.3f})"
            lines.append(f"| {level} | {method} | {character:.3f} | {word:.3f} | {told} |")
    return "\n".join(lines)


def reliability_table(words: dict[str, list[tuple[float, bool]]]) -> str:
    """Return the table of confidences and shares of right words."""
    lines = ["| level | confidence | words | mean confidence | right |", "| --- | --- | --- | --- | --- |"]
    for level, pairs in words.items():
        for low, high in pairwise(BINS):
            held = [(c, ok) for c, ok in pairs if low <= c < high or (high == BINS[-1] and c >= high)]
            if held:
                confidence, right = np.mean(held, axis=0)
                lines.append(f"| {level} | {low:g} to {high:g} | {len(held)} | {confidence:.2f} | {right:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for models and readings")
    parser.add_argument("--levels", nargs="+", default=["n40", "n55", "n70"])
    parser.add_argument("--steps", type=int, default=6000, help="training steps of each model")
    parser.add_argument("--variant", default="learned", help="as for benchmarks.trained")
    parser.add_argument("--engine", default="tesseract,psm=6")
    parser.add_argument("--n2v", type=Path, action="append", default=[], metavar="FOLDER")
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 4, 16, 64], help="samples of each fused reading")
    parser.add_argument("--pages", type=int, help="at most so many pages, for trials")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="write the tables to results/ocr.md")
    a = parser.parse_args()
    limit_threads(a.threads)
    rows: list[Errors] = []
    words: dict[str, list[tuple[float, bool]]] = {}
    facts = []
    for level in a.levels:
        found, words[level], fact = score_level(level, a)
        rows += found
        facts.append(fact)
    parts = [NOTE, "\n".join(f"- {fact}" for fact in facts), error_table(rows), RELIABILITY, reliability_table(words)]
    body = "\n\n".join(parts)
    if a.record:
        command = f"python -m benchmarks.ocr --out OUT --levels {' '.join(a.levels)} --steps {a.steps}"
        command += (
            f" --variant {a.variant} --engine {a.engine} --counts {' '.join(map(str, a.counts))}"
            + " --n2v FOLDER" * len(a.n2v)
        )
        command += f" --pages {a.pages}" * (a.pages is not None)
        write_result("ocr", "Text read from diverse samples", command, body)
    else:
        print(body)


NOTE = """\
Error rates by page (edit distance divided by the length of the transcript), mean over the pages; in brackets a 95 %
bootstrap interval of the mean difference over pages. All images of a page are shown to the engine at the enlargement
at which it reads the MMSE with most confidence.""".replace("\n", " ")
RELIABILITY = "How often words are right, by the confidence of the fused reading of all samples:"

if __name__ == "__main__":
    main()
