"""The thresholding segmenter: prepare, threshold, fill holes, split, drop objects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numba.core import config
from numpy.typing import NDArray

from divseg.errors import ConfigError, InputError
from divseg.segment.options import ThresholdOptions, threshold_options
from divseg.segment.outlying import without_outlying
from divseg.segment.prepare import TRUNCATE, context, prepare
from divseg.segment.split import drop_objects, fill_holes, split
from divseg.segment.stream import ImageForm, check_pixels, check_valid, label_images, read_reference
from divseg.segment.thresholds import Level, find_level, foreground

if TYPE_CHECKING:
    from divseg.io import Image
    from divseg.segment.stream import Pixels


@dataclass(frozen=True, eq=False)
class ThresholdSegmenter:
    """Bright objects on a darker background, found by a threshold.

    Made by :func:`divseg.segmenter`. Smoothing and subtraction of the background come first; the threshold applies to
    their result, in the image's units.

    Attributes
    ----------
    method : str
        A name of :data:`divseg.segment.options.METHODS`.
    options : ThresholdOptions
        Values of the method's options.
    name : str
        Canonical string.
    level : Level, optional
        With ``threshold=image``: the result of :meth:`fit`.
    valid : bool array, optional
        What is data (:meth:`within`); None for all pixels.
    """

    method: str
    options: ThresholdOptions
    name: str
    level: Level | None = None
    valid: NDArray[np.bool_] | None = None

    @classmethod
    def from_spec(cls, method: str, pairs: Iterable[tuple[str, str]]) -> Self:
        """Make a segmenter of a method and the texts of its options.

        Raises
        ------
        ConfigError
            Unknown option or impossible value.
        """
        return cls(*threshold_options(method, pairs))

    @property
    def halo(self) -> int:
        """Pixels of context that smoothing, background and local thresholds need.

        The histogram of a per-sample threshold needs the whole image; see :class:`divseg.segment.Segmenter`.
        """
        return context(self.method, self.options)

    def fit(self, reference: Pixels | Image) -> Self:
        """With ``threshold=image``, take the threshold from a reference image.

        Parameters
        ----------
        reference : array or tensor, shape (Y, X), or (Z, Y, X) with ``ndim=3``
            For example the MMSE of the samples that are to be segmented. It is smoothed like these.

        Returns
        -------
        ThresholdSegmenter
            A segmenter with this threshold; methods ``local`` and ``sauvola`` then take images of the reference's shape
            only. The segmenter itself if ``threshold`` is not ``image``.

        Raises
        ------
        InputError
            If the reference is not one image.
        """
        if self.options.threshold != "image":
            return self
        image = check_pixels(read_reference(reference, self._form), "the reference")
        return replace(self, level=self._level(image, *self._prepared(image)))

    def within(self, valid: NDArray[np.bool_] | None) -> Self:
        """Return a segmenter for images of which only a part is data; see :class:`divseg.segment.Segmenter`."""
        return self if valid is None and self.valid is None else replace(self, valid=valid)

    @property
    def ndim(self) -> int:
        """Spatial dimensions of its images."""
        return self.options.ndim

    def spaced(self, distance: float | None) -> Self:
        """Return a segmenter for volumes with this distance of planes; see :class:`divseg.segment.Segmenter`."""
        if self.ndim == 2 or distance is None or self.options.anisotropy != "auto":
            return self
        return replace(self, options=replace(self.options, anisotropy=float(distance)))

    def __call__(self, images: Any) -> Any:
        """Segment one image, or many lazily; see :class:`divseg.segment.Segmenter`.

        Images of a stack are shared among as many threads as ``NUMBA_NUM_THREADS`` allows (by default all cores).

        Raises
        ------
        ConfigError
            With ``threshold=image`` before :meth:`fit`.
        InputError
            Nothing that holds images of the right dimensions, or pixels that are not finite numbers.
        """
        if self.options.threshold == "image" and self.level is None:
            raise ConfigError(
                f"segmenter {self.name!r} takes its threshold from a reference image: "
                "call fit(mmse) first and use what it returns"
            )
        # numba sets its configuration when it is loaded, unseen by mypy
        return label_images(images, self._segment, self._form, config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]

    @property
    def _form(self) -> ImageForm:
        return ImageForm(self.options.ndim, f"this segmenter (ndim={self.options.ndim})")

    def _prepared(self, image: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.bool_] | None]:
        """Return the smoothed image without its background, and the pixels that a level is taken from."""
        if self.valid is not None:
            check_valid(self.valid, image, self.name)
        counted = self.valid
        if not self.options.fixed:
            image, counted = without_outlying(image, counted, TRUNCATE * self.options.smooth)
        return prepare(image, self.options), counted

    def _level(
        self, image: NDArray[np.floating], prepared: NDArray[np.floating], counted: NDArray[np.bool_] | None
    ) -> Level:
        values = image if self.valid is None else image[self.valid]
        # rounding errors of the filters would give a constant image a histogram
        if not self.options.fixed and values.min() == values.max():
            return Level(np.inf)
        return find_level(prepared, self.method, self.options, counted)

    def _segment(self, image: NDArray[np.floating]) -> NDArray[np.int32]:
        o = self.options
        prepared, counted = self._prepared(image)
        level = self.level or self._level(image, prepared, counted)
        if isinstance(level.low, np.ndarray) and level.low.shape != image.shape:
            raise InputError(
                f"image has shape {image.shape} but the threshold of {self.name!r} was taken from a reference of shape "
                f"{level.low.shape}; fit it to a reference of the image's shape"
            )
        mask = foreground(prepared, level, o.connectivity)
        if self.valid is not None:  # what it was filled with may join objects that are apart
            mask = mask & self.valid
        if o.fill_holes:
            mask = fill_holes(mask, o.max_hole)
        labels = split(mask, prepared, o)
        if self.valid is not None:  # holes that were filled
            labels = np.where(self.valid, labels, 0)
        return drop_objects(labels, min_size=o.min_size, max_size=o.max_size, clear_border=o.clear_border)
