"""Make the README's picture: from a noisy image to a consensus with a confidence for each object.

    python -m benchmarks.picture [--model FOLDER] [--out docs/picture.png]

The image and the number of training steps are those of ``divseg demo``; the segmenter is named here. The model is
trained on the noisy image alone, for some four minutes on one core, and kept in FOLDER; a model that is there already
is loaded.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from numpy.typing import NDArray

import divseg
from divseg.io import write_bytes
from divseg.report.style import INK, new_chart, to_png
from divseg.results.overlay import CONFIDENCE, draw, grey_limits, to_grey
from divseg.workflow.demo import DEMO, demo_image

TOP, LEFT, SIDE = 354, 66, 128
"""The part of the image that is shown."""
ENLARGE = 6
SAMPLES = 32
SEGMENTER = "local,smooth=1,split=distance,min_size=20"
SHOWN = (0, 1)
"""Samples that are shown."""
SCALE = Normalize(0.6, 1.0, clip=True)
"""Existence at the ends of the colour bar."""
TRUTH = (86, 180, 233)


def load_or_train(folder: Path, noisy: NDArray[np.uint16]) -> divseg.DivNoising:
    """Return the model in the folder, trained first if there is none."""
    if (folder / "config.json").is_file():
        return divseg.DivNoising.load(folder, device="cpu")
    model = divseg.DivNoising.fit([noisy], noise="learned", train_steps=DEMO["train_steps"], seed=0, device="cpu")
    model.save(folder)
    return model


def outlined(
    grey: NDArray[np.uint8], labels: NDArray[np.integer], colour: Callable[[int], NDArray[np.number]]
) -> NDArray[np.uint8]:
    """Return the enlarged image with the outlines of the objects, (Y, X, 3)."""
    present = np.unique(labels[labels > 0])
    colours = np.array([colour(int(label)) for label in present], np.uint8)
    return draw(grey, labels, (present, colours), factor=ENLARGE, width=9, halo=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("demo_divseg/picture_model"))
    parser.add_argument("--out", type=Path, default=Path("docs/picture.png"))
    a = parser.parse_args()
    noisy, truth, _ = demo_image()
    model = load_or_train(a.model, noisy)
    samples = model.draw(noisy, range(SAMPLES))
    mmse = samples.mean(axis=0)
    segment = divseg.segmenter(SEGMENTER).fit(mmse)
    consensus = divseg.fuse(segment(samples))
    crop = np.s_[TOP : TOP + SIDE, LEFT : LEFT + SIDE]
    limits = grey_limits(mmse[crop], low=0.5, high=99)
    grey = to_grey(mmse[crop], limits)
    existence = consensus.objects.set_index("label")["existence"]

    def by_existence(label: int) -> NDArray[np.float64]:
        return 255 * np.array(CONFIDENCE(SCALE(existence[label])))[:3]

    panels = [
        ("noisy image", to_grey(noisy[crop], grey_limits(noisy[crop]))),
        *((f"posterior sample {k + 1}", to_grey(samples[k][crop], limits)) for k in SHOWN),
        (f"mean of {SAMPLES} samples (MMSE)", grey),
        (
            f"consensus of their {SAMPLES} masks",
            outlined(grey, consensus.labels[crop], by_existence),
        ),
        ("ground truth", outlined(grey, truth[crop], lambda _: np.array(TRUTH))),
    ]
    figure, axes = new_chart(2, 3, 6.0, 4.15)
    for ax, (title, image) in zip(axes, panels, strict=True):
        ax.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        ax.set_title(title, fontsize=8, loc="left", color=INK)
        ax.set_axis_off()
    bar = figure.colorbar(ScalarMappable(SCALE, CONFIDENCE), ax=axes[2::3], fraction=0.03, aspect=45, pad=0.02)
    bar.set_label("existence (fraction of the samples with the object)", fontsize=7, color=INK)
    bar.ax.tick_params(labelsize=7, colors=INK)
    bar.outline.set_visible(False)
    write_bytes(a.out, to_png(figure))
    print(f"{a.out}: {a.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
