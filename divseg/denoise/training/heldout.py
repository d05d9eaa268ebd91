"""What is kept back from training, so that the loss can be measured on pixels the network has not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

MANY = 20
"""From so many images on, whole images are held out; of fewer, a corner of each that is large enough."""
SHARE = 0.05
"""Share of the images that is held out, at most 32 of them."""
LARGEST = 1 / 8
"""Share of an image that its held-out corner may take; about half of it is aimed at."""

Box = tuple[tuple[int, int], ...]


def held_out_images(count: int) -> list[int]:
    """Numbers of the images that are held out, evenly chosen; none where there are few."""
    if count < MANY:
        return []
    chosen = min(32, max(1, round(SHARE * count)))
    return [int((k + 0.5) * count / chosen) for k in range(chosen)]


def held_out_boxes(shapes: Sequence[tuple[int, ...]], crop: Sequence[int]) -> dict[int, Box]:
    """Return a box in a corner of every image that can spare one, the four corners in turn.

    A box holds at least one crop, takes at most an eighth of the image, and leaves room for crops that do
    not touch it.
    """
    boxes: dict[int, Box] = {}
    for i, sides in enumerate(shapes):
        share = math.prod(crop) / math.prod(sides)
        if share > LARGEST:
            continue
        scale = max(1, math.floor((LARGEST / 2 / share) ** 0.5))
        flat = [min(c * scale, n) for c, n in zip(crop[-2:], sides[-2:], strict=True)]
        if not any(n - b >= c for n, b, c in zip(sides[-2:], flat, crop[-2:], strict=True)):
            continue
        deep: Box = tuple((0, c) for c in crop[:-2])
        far = (i % 2 == 1, i // 2 % 2 == 1)
        corner = tuple((n - b, n) if end else (0, b) for n, b, end in zip(sides[-2:], flat, far, strict=True))
        boxes[i] = deep + corner
    return boxes
