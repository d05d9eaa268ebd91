"""Where each input goes wrong against the ground truth, side by side: objects that are false, and objects missed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.errors import FileProblem
from divseg.metrics import count_overlap, match
from divseg.report.image_data import ImageData
from divseg.report.panels import Region
from divseg.results.open_run import Run
from divseg.results.overlay import draw, enlarge, grey_limits, outlines, to_grey
from divseg.results.rivals import TRUTH, load_rivals
from divseg.results.rows import GAUSSIAN

IOU = 0.5
"""IoU with an object of the truth from which on an object is right."""

RIGHT, FALSE, MISSED = np.array([(86, 180, 233), (255, 140, 0), (255, 70, 200)], np.uint8)
"""Colours of outlines."""

DASH, DASH_WIDTH = 8, 3
"""Length and width in pixels of the dashes of missed objects."""

BRIGHTEST = 98.5
"""Percentile that is shown white, so that dim objects beside bright ones are seen."""

SIDE = 360
"""Width of a picture on the page in pixels."""


@dataclass(frozen=True)
class Mistakes:
    """What is wrong with a label image.

    Attributes
    ----------
    wrong : int array
        Labels of the objects that are false.
    missed : int array
        Labels of objects of the truth that are missed.
    """

    wrong: NDArray[np.integer]
    missed: NDArray[np.integer]

    @classmethod
    def of(cls, labels: NDArray[np.integer], truth: NDArray[np.integer]) -> Mistakes:
        """Match the objects of a label image with those of the truth, one to one at an IoU of :data:`IOU`."""
        overlap = count_overlap(labels, truth)
        pairs = match(overlap, IOU)
        return cls(
            np.delete(overlap.pred_labels, overlap.pred_index[pairs]),
            np.delete(overlap.truth_labels, overlap.truth_index[pairs]),
        )

    @property
    def words(self) -> str:
        """How many are wrong."""
        return f"{len(self.missed)} missed, {len(self.wrong)} false"


def mistakes_figure(run: Run, name: str, data: ImageData, region: Region) -> tuple[Figure, str] | None:
    """Draw noisy image, smoothed image, MMSE and consensus of an image with their mistakes.

    Parameters
    ----------
    run : Run
        The run.
    name : str
        The image.
    data : ImageData
        What the run holds of it.
    region : Region
        The part that is shown; mistakes are counted on the whole image.

    Returns
    -------
    figure, caption : Figure, str
        None for an image without truth, or of which a piece is missing.

    Raises
    ------
    FileProblem
        If the file of its truth and of the label images beside the consensus is damaged, or of another size.
    """
    path = run.layout.rivals(name)
    if data.labels is None or data.noisy is None or data.mmse is None or not path.is_file():
        return None
    rivals = load_rivals(path)
    truth = rivals.pop(TRUTH)
    if truth.shape != data.labels.shape:
        raise FileProblem(path, f"it has shape {truth.shape}, the consensus {data.labels.shape}", "run again")
    pictures = []
    for kind, labels in [*rivals.items(), ("consensus", data.labels)]:
        mistakes = Mistakes.of(labels, truth)
        pictures.append(
            (
                f"{_title(kind)}\n{mistakes.words}",
                _picture(_behind(kind, data.noisy, data.mmse), labels, truth, mistakes, region),
            )
        )
    beside = ", and others beside it for the consensus" if len(run.segmenters) > 1 else ""
    caption = (
        f"{name}, the same segmenter on each{beside}. Outlines: blue objects are right (an IoU of {IOU:g} or more with "
        "one of the truth), orange ones are false; dashed in pink are objects of the truth that are missed. Counts are "
        "of the whole image; the smoothing is the best for this image by the truth."
    )
    return _row(pictures), caption


def _title(kind: str) -> str:
    if kind.startswith(GAUSSIAN):
        return f"Gaussian, \u03c3 = {kind.removeprefix(GAUSSIAN)}"
    return {"noisy": "Noisy image", "mmse": "MMSE", "consensus": "Consensus"}.get(kind, kind)


def _behind(kind: str, noisy: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the image that a kind of label image was made from."""
    if kind.startswith(GAUSSIAN):
        return np.asarray(ndi.gaussian_filter(noisy.astype(np.float32), float(kind.removeprefix(GAUSSIAN))))
    return noisy if kind == "noisy" else mean


def _picture(
    image: np.ndarray,
    labels: NDArray[np.integer],
    truth: NDArray[np.integer],
    mistakes: Mistakes,
    region: Region,
) -> np.ndarray:
    part, mine, true = region.of(image), region.of(labels), region.of(truth)
    factor = max(1, math.ceil(2 * SIDE / max(part.shape)))
    present = np.unique(mine[mine != 0])
    colours = np.where(np.isin(present, mistakes.wrong)[:, None], FALSE, RIGHT)
    rgb = draw(to_grey(part, grey_limits(part, high=BRIGHTEST)), mine, (present, colours), factor=factor, width=2)
    edge = outlines(enlarge(np.where(np.isin(true, mistakes.missed), true, 0), factor), DASH_WIDTH)
    dashes = (np.arange(edge.shape[0])[:, None] // DASH + np.arange(edge.shape[1]) // DASH) % 2 == 0
    rgb[edge & dashes] = MISSED
    return rgb


def _row(pictures: list[tuple[str, np.ndarray]]) -> Figure:
    gap, title = 10, 46
    height, width, _ = pictures[0][1].shape
    tall = SIDE * height / width
    across, down = len(pictures) * (SIDE + gap) + gap, tall + title + gap
    figure = Figure(figsize=(across / 100, down / 100), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for index, (words, rgb) in enumerate(pictures):
        left = gap + index * (SIDE + gap)
        axes.imshow(rgb, interpolation="nearest", extent=(left, left + SIDE, title + tall, title))
        axes.text(left + SIDE / 2, title - 5, words, fontsize=9.5, ha="center", va="bottom", parse_math=False)
    axes.set_xlim(0, across)
    axes.set_ylim(down, 0)
    axes.set_aspect("auto")
    return figure
