"""Several segmenters of one run: each segments every image, and the label images of all are fused together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import tee
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from divseg.errors import ConfigError
from divseg.segment.protocol import Segmenter, segmenter
from divseg.specs import BETWEEN, parts_of

if TYPE_CHECKING:
    from divseg.io import Image
    from divseg.labels import LabelImage
    from divseg.segment.stream import Pixels


@dataclass(frozen=True)
class Ensemble:
    """One segmenter or several; segmenters that err in different ways outvote each other's errors.

    Attributes
    ----------
    parts : tuple of Segmenter
        The first one is the best, where they are ranked.
    """

    parts: tuple[Segmenter, ...]

    @property
    def name(self) -> str:
        """Canonical string, of which :func:`ensemble` makes these segmenters again."""
        return BETWEEN.join(part.name for part in self.parts)

    @property
    def first(self) -> Segmenter:
        """The segmenter that stands for all where one label image is wanted of an image."""
        return self.parts[0]

    def fit(self, reference: Pixels | Image) -> Self:
        """Take image-level parameters from a reference image; see :class:`divseg.segment.Segmenter`."""
        return self._each(lambda part: part.fit(reference))

    def within(self, valid: NDArray[np.bool_] | None) -> Self:
        """Return segmenters for images of which only a part is data; see :class:`divseg.segment.Segmenter`."""
        return self._each(lambda part: part.within(valid))

    def spaced(self, distance: float | None) -> Self:
        """Return segmenters for volumes with this distance of planes; see :class:`divseg.segment.Segmenter`."""
        return self._each(lambda part: part.spaced(distance))

    def __call__(self, images: Iterable[Any]) -> Iterator[tuple[LabelImage, ...]]:
        """Segment many images lazily.

        Parameters
        ----------
        images : iterable of images, or of stacks of them
            As for :class:`divseg.segment.Segmenter`.

        Returns
        -------
        iterator of tuple of LabelImage
            For each image in order, the label image of each segmenter.
        """
        streams = tee(images, len(self.parts))
        return zip(*(part(stream) for part, stream in zip(self.parts, streams, strict=True)), strict=True)

    def _each(self, change: Callable[[Segmenter], Segmenter]) -> Self:
        return type(self)(tuple(map(change, self.parts)))


def ensemble(spec: str) -> Ensemble:
    """Make the segmenters that a string names.

    Parameters
    ----------
    spec : str
        As for :func:`divseg.segmenter`, several of them with ``" + "`` between them.

    Raises
    ------
    ConfigError, ModelError
        As :func:`divseg.segmenter`; a segmenter that is named twice.

    Examples
    --------
    >>> import numpy as np
    >>> both = ensemble("otsu,smooth=1 + li")
    >>> [part.name.partition(",")[0] for part in both.parts]
    ['otsu', 'li']
    >>> len(next(both(np.zeros((3, 16, 16)))))
    2
    """
    made = Ensemble(tuple(segmenter(part) for part in parts_of(spec)))
    names = [part.name for part in made.parts]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"segmenter {twice[0]!r} is named twice in {spec!r}; name each once")
    return made
