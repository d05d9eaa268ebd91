"""The label images of one picture, each made once, and what is scored of an input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.images import Images, Key
from benchmarks.segmentation.grids import Grid, Raw
from benchmarks.segmentation.inputs import Input
from benchmarks.smoothing import FIXED
from divseg import evaluate, fuse
from divseg.consensus import Consensus
from divseg.metrics import agreement_weights

Labels = NDArray[np.integer]


class Source(Images):
    """The images of one picture, which has masks, and their label images."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._raw: dict[tuple[Key, str, bool], Raw] = {}
        self._made: dict[tuple[str, bool], Any] = {}

    def labels(self, key: Key, grid: Grid, spec: str, *, joint: bool = False) -> NDArray[np.integer]:
        """Segment an image of the picture.

        Parameters
        ----------
        key : tuple
            Which image.
        grid : Grid
            That `spec` belongs to.
        spec : str
            Segmenter.
        joint : bool
            Take image-level parameters from the MMSE instead of from the image itself.
        """
        base, cut = grid.parts(spec)
        place = (key, base, joint)
        if place not in self._raw:
            if (base, joint) not in self._made:
                self._made[base, joint] = grid.made(base, self.image(("mmse",)) if joint else None)
            self._raw[place] = grid.segment(self._made[base, joint], self.image(key))
        return grid.cut(self._raw[place], cut)

    def keep_only(self, kinds: set[str]) -> None:
        """Free the label images of other kinds of images."""
        self._raw = {place: raw for place, raw in self._raw.items() if place[0][0] in kinds}

    def forget(self) -> None:
        """Free the images and label images; all can be made again."""
        super().forget()
        self._raw.clear()
        self._made.clear()


@dataclass(frozen=True)
class Choice:
    """What the tuning chose for an input."""

    setting: Any
    spec: str
    score: float = float("nan")


def label_images(
    source: Source, row: Input, choice: Choice, grid: Grid, samples: int, most: int | None = None
) -> list[Labels]:
    """Return the label images of an input, before any fusion, of at most `most` samples or groups."""
    keys = row.keys(choice.setting, samples, most)
    return [source.labels(key, grid, choice.spec, joint=row.joint) for key in keys]


def member_choice(name: str, row: Input, chosen: Mapping[str, Choice]) -> Choice:
    """Return setting and segmenter of a member of a combination."""
    if not row.fusion.get("fixed"):
        return chosen[name]
    return Choice(FIXED.get(name), chosen[row.members[0]].spec)


def consensus(row: Input, masks: Sequence[Labels]) -> Consensus:
    """Fuse the label images of an input."""
    return fuse(masks, **row.fusion)


def scores(masks: Sequence[Labels], truth: Labels) -> dict[str, float]:
    """Mean scores of label images of one picture."""
    rows = [{k: v for k, v in evaluate(m, truth).as_row().items() if not isinstance(v, str)} for m in masks]
    names = list(rows[0])
    with np.errstate(all="ignore"):
        values = np.array([[float(row[name]) for name in names] for row in rows])
        means = values.mean(axis=0) if len(rows) > 1 else values[0]
    return dict(zip(names, means.tolist(), strict=True))


def combine(
    groups: Sequence[Sequence[Labels]], fusion: Mapping[str, Any], images: Images | None = None
) -> tuple[Consensus, list[float]]:
    """Fuse groups of label images, each with a weight learned from agreement alone.

    A group's weight is the mean mAP of its label images with those of the other groups, so that what no other source
    of segmentations confirms counts little; within a group all weigh the same. No truth is looked at. It is the
    idea of agreement between views that differ in their errors (Blum and Mitchell 1998), with the simplest weights.

    Parameters
    ----------
    groups : sequence of sequences of label images
        One group for each kind of image: the samples, the MMSE, a smoothed image.
    fusion : mapping
        Options of :func:`divseg.fuse`; with ``first``, the share of the votes of the first group. If ``fixed``, objects
        are kept as ``divseg run`` keeps them: by the first group, the posterior samples.
    images : Images, optional
        The images of the picture, needed if ``fixed``.

    Returns
    -------
    Consensus
    list of float
        Weight of each group, with sum 1.
    """
    options = {name: value for name, value in fusion.items() if name != "fixed"}
    weights = agreement_weights(groups, first=options.pop("first", None))
    each = [w / len(group) for w, group in zip(weights, groups, strict=True) for _ in group]
    if fusion.get("fixed") and images is not None:
        seen = (images.picture.noisy, images.image(("mmse",)), images.samples.std(axis=0, ddof=1))
        options |= {"samples": len(groups[0]), "images": seen}
    return fuse([m for group in groups for m in group], weights=each, **options), weights
