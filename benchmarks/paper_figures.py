"""The figures of the paper, made anew from data that may be shown.

    python -m benchmarks.paper_figures [--models MODELS] [--out docs/figures] [--steps 2000] [--only scheme samples ...]

scheme        how the network is trained, and how samples and estimates come of it
samples       samples of one crop beside MMSE, MAP and their standard deviation
text          a noisy line of text, its samples with what an engine reads, and the fused reading (needs a text engine)
segmentation  outlines in several samples, and their consensus

The images are the demo's nuclei, which the stardist wheel carries, with simulated noise, and a page that is set here.
Models are trained for so many steps, once, and kept in MODELS.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import divseg
from benchmarks.denoising.pictures import sample_picture
from benchmarks.picture import LEFT, SCALE, SEGMENTER, SIDE, TOP, outlined
from benchmarks.sets import Picture
from divseg.io import write_bytes
from divseg.report.style import BLUE, GREY, INK, ORANGE, new_chart, safe_text, to_rgb
from divseg.results.overlay import CONFIDENCE, grey_limits, to_grey
from divseg.workflow.demo import demo_image
from divseg.workflow.ocr import DOUBTFUL

SAMPLES = 32
TEXT = (
    "Noise makes letters ambiguous: a sample",
    "of the posterior decides for one of them,",
    "another sample decides for another one.",
    "Where all agree, the word is certain;",
    "where they differ, the reader is told so.",
)
"""Set here, so that it may be shown."""
TEXT_NOISE = 32.0
LINES, LETTERS = slice(4, 56), 300
"""Rows and columns of the page that are shown."""
SHOWN = 4
"""Samples whose masks are shown."""
COLOURS = 128
"""Of the pictures."""
SHOWN_LINES = 3
"""Samples whose text is shown."""


def model_of(models: Path, name: str, images: list[NDArray[np.float32]], steps: int, noise: str) -> divseg.DivNoising:
    """Return a model from the folder, trained first if it is not there."""
    folder = models / f"{name}-{steps}steps"
    if (folder / "config.json").is_file():
        return divseg.DivNoising.load(folder, device="cpu")
    model = divseg.DivNoising.fit(images, noise=noise, train_steps=steps, seed=0, device="cpu")
    model.save(folder)
    return model


def page() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a page of text, clean and noisy."""
    picture = Image.new("L", (352, 128), 200)
    font = ImageFont.load_default(15)
    for k, line in enumerate(TEXT):
        ImageDraw.Draw(picture).text((12, 12 + 21 * k), line, fill=40, font=font)
    clean = np.asarray(picture, np.float32)
    return clean, (clean + np.random.default_rng(0).normal(0, TEXT_NOISE, clean.shape)).astype(np.float32)


def _write(path: Path, figure: Figure) -> None:
    """Write a figure with a palette: with all its greys it would be twice as large."""
    stream = io.BytesIO()
    picture = Image.fromarray(to_rgb(figure)).quantize(COLOURS, dither=Image.Dither.NONE)
    picture.save(stream, "PNG", optimize=True)
    write_bytes(path, stream.getvalue())


def scheme(out: Path, models: Path, steps: int) -> None:
    """Draw training above prediction."""
    figure, axes = new_chart(2, 1, 7.6, 3.9)
    rows: list[tuple[str, list[tuple[str, str]], str]] = [
        (
            "training",
            [
                ("noisy image x", GREY),
                ("encoder", BLUE),
                ("latents z ~ q(z | x)", ORANGE),
                ("decoder", BLUE),
                ("signal s", GREY),
                ("noise model p(x | s)", ORANGE),
            ],
            "loss: -log p(x | s) + KL(q(z | x) ‖ p(z)); no clean image takes part",
        ),
        (
            "prediction",
            [
                ("noisy image x", GREY),
                ("encoder", BLUE),
                ("z₁ … z_K", ORANGE),
                ("decoder", BLUE),
                ("samples s₁ … s_K", GREY),
                ("masks, text → consensus", ORANGE),
            ],
            "mean of the samples: MMSE; their mode: MAP; their spread: uncertainty",
        ),
    ]
    for ax, (title, boxes, below) in zip(axes, rows, strict=True):
        ax.set_axis_off()
        ax.set_xlim(0, len(boxes))
        ax.set_ylim(0, 1)
        ax.set_title(title, fontsize=10, loc="left", color=INK, fontweight="bold")
        for k, (name, colour) in enumerate(boxes):
            _box(ax, k, name, colour)
        ax.text(0.05, 0.12, below, fontsize=8, color=INK)
    _write(out / "scheme.png", figure)


def _box(ax: Axes, k: int, name: str, colour: str) -> None:
    ax.add_patch(
        FancyBboxPatch((k + 0.08, 0.38), 0.78, 0.42, boxstyle="round,pad=0.02", facecolor="white", edgecolor=colour)
    )
    ax.text(k + 0.47, 0.59, name.replace(" ", "\n", 1), fontsize=7.5, ha="center", va="center", color=INK)
    if k:
        ax.add_patch(FancyArrowPatch((k - 0.12, 0.59), (k + 0.06, 0.59), arrowstyle="->", mutation_scale=9, color=INK))


def samples(out: Path, models: Path, steps: int) -> None:
    """Show samples of one crop beside their estimates."""
    noisy, _, clean = demo_image()
    model = model_of(models, "demo", [noisy.astype(np.float32)], steps, "learned")
    crop = np.s_[TOP : TOP + SIDE, LEFT : LEFT + SIDE]
    picture = Picture("demo", noisy[crop].astype(np.float32), clean[crop].astype(np.float32), None, "test")
    sample_picture(out / "samples.png", picture, model.draw(noisy, range(SAMPLES))[:, *crop])


def text(out: Path, models: Path, steps: int) -> None:
    """Show what is read on the noisy page, on samples and on their mean, and the fused reading."""
    from divseg.ocr import as_page, fuse_readings, read_views, subsets, text_engine

    clean, noisy = page()
    model = model_of(models, f"page{TEXT_NOISE:g}", [noisy], steps, f"gaussian,std={TEXT_NOISE:g}")
    drawn = model.draw(noisy, range(SAMPLES))
    mean = drawn.mean(axis=0)
    engine = text_engine()
    shown = as_page(mean, engine, turn=False)
    readings = [shown.read(drawn[k], engine) for k in range(SHOWN_LINES)]
    fused = fuse_readings(read_views(drawn, shown, engine, subsets(SAMPLES)))
    noisy_read = as_page(noisy, engine, (shown.scale,), turn=False).read(noisy, engine).text
    panels = [("noisy", noisy, noisy_read)]
    panels += [(f"sample {k + 1}", drawn[k], readings[k].text) for k in range(SHOWN_LINES)]
    panels += [("MMSE", mean, shown.read(mean, engine).text), ("clean", clean, "\n".join(TEXT))]
    figure, axes = new_chart(len(panels) + 1, 1, 5.0, 7.0)
    limits = grey_limits(mean, low=0.2, high=99.8)
    for ax, (name, image, read) in zip(axes, panels, strict=False):
        ax.imshow(image[LINES, :LETTERS], cmap="gray", vmin=limits[0], vmax=limits[1], interpolation="nearest")
        said = safe_text(" / ".join(read.splitlines()[:2]), 90) or "nothing is read"
        ax.set_title(f"{name}: {said}", fontsize=6.5, loc="left", color=INK)
        ax.set_axis_off()
    last = axes[-1]
    last.set_axis_off()
    last.set_xlim(0, 74)
    last.set_ylim(0, 1)
    last.set_title(f"fused reading of {SAMPLES} samples; doubtful words in colour", fontsize=6.5, loc="left", color=INK)
    for line, y in zip(fused.lines[:2], (0.6, 0.1), strict=False):
        x = 0
        for word in line.words:
            colour = INK if word.vote.confidence >= DOUBTFUL else ORANGE
            last.text(x, y, safe_text(word.vote.text), fontsize=8, color=colour, family="monospace")
            x += len(word.vote.text) + 1
    _write(out / "text.png", figure)


def segmentation(out: Path, models: Path, steps: int) -> None:
    """Show outlines in samples, and their consensus coloured by existence."""
    noisy, truth, _ = demo_image()
    model = model_of(models, "demo", [noisy.astype(np.float32)], steps, "learned")
    drawn = model.draw(noisy, range(SAMPLES))
    mean = drawn.mean(axis=0)
    masks = np.asarray(list(divseg.segmenter(SEGMENTER).fit(mean)(drawn)))
    consensus = divseg.fuse(masks)
    crop = np.s_[TOP : TOP + SIDE, LEFT : LEFT + SIDE]
    existence = consensus.objects.set_index("label")["existence"]
    limits = grey_limits(mean[crop], low=0.5, high=99)

    def plain(_: int) -> NDArray[np.number]:
        return np.array((86, 180, 233))

    def sure(label: int) -> NDArray[np.number]:
        return 255 * np.array(CONFIDENCE(SCALE(existence[label])))[:3]

    panels = [
        (f"mask of sample {k + 1}", outlined(to_grey(drawn[k][crop], limits), masks[k][crop], plain))
        for k in range(SHOWN)
    ]
    panels.append(("consensus", outlined(to_grey(mean[crop], limits), consensus.labels[crop], sure)))
    panels.append(("ground truth", outlined(to_grey(mean[crop], limits), truth[crop], plain)))
    figure, axes = new_chart(2, 3, 6.4, 4.5)
    for ax, (name, image) in zip(axes, panels, strict=True):
        ax.imshow(image)
        ax.set_title(name, fontsize=8, loc="left", color=INK)
        ax.set_axis_off()
    bar = figure.colorbar(ScalarMappable(SCALE, CONFIDENCE), ax=axes[2::3], fraction=0.03, aspect=45, pad=0.02)
    bar.set_label("existence of the objects of the consensus", fontsize=7, color=INK)
    bar.ax.tick_params(labelsize=7, colors=INK)
    bar.outline.set_visible(False)
    _write(out / "segmentation.png", figure)


FIGURES: dict[str, Callable[[Path, Path, int], None]] = {
    "scheme": scheme,
    "samples": samples,
    "text": text,
    "segmentation": segmentation,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("paper_figures_models"))
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    parser.add_argument("--steps", type=int, default=2000, help="training steps of each model")
    parser.add_argument("--only", nargs="+", choices=list(FIGURES), default=list(FIGURES))
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    for name in a.only:
        FIGURES[name](a.out, a.models, a.steps)
        print(a.out / f"{name}.png", flush=True)


if __name__ == "__main__":
    main()
