"""What every segmenter can do, and the way from a user's word or function to a segmenter."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, Self, overload, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from divseg.errors import ConfigError
from divseg.specs import split_spec, unknown

if TYPE_CHECKING:
    from divseg.io import Image
    from divseg.labels import LabelImage
    from divseg.segment.stream import Pixels


@runtime_checkable
class Segmenter(Protocol):
    """From images to label images, image by image."""

    @property
    def name(self) -> str:
        """Canonical string, of which :func:`divseg.segmenter` makes this segmenter again."""

    @property
    def halo(self) -> int:
        """Pixels of context that the filters of the segmenter need around each pixel.

        Each object is kept or dropped as a whole: a block needs this halo on top of the largest object. A threshold
        taken from the image's histogram depends on all pixels; blocks of one image agree only with
        ``threshold=image`` (after :meth:`fit`) or a fixed one.
        """

    @property
    def ndim(self) -> int:
        """Spatial dimensions of its images: 2 for planes, 3 for volumes."""

    def fit(self, reference: Pixels | Image) -> Self:
        """Return a segmenter whose image-level parameters are taken from a reference image, such as the MMSE.

        Without such parameters, it is the segmenter itself.
        """

    def within(self, valid: NDArray[np.bool_] | None) -> Self:
        """Return a segmenter for images of which only a part is data.

        What it takes from an image as a whole (thresholds, percentiles) it takes from this part, and it finds objects
        only there: what lies outside is cut off in the end. Until then it should look like the rest
        (:func:`divseg.io.invalid.filled`), since filters and networks see it.

        Parameters
        ----------
        valid : bool array, shape of an image without channels, or None
            None: all pixels are data, and the segmenter itself is returned.
        """

    def spaced(self, distance: float | None) -> Self:
        """Return a segmenter for volumes whose planes have this distance, in units of the pixel size in Y and X.

        Smoothing and distances then are as long along Z as along Y and X. One of planes, and one whose options name
        the distance (``anisotropy=4``), is the segmenter itself.

        Parameters
        ----------
        distance : float or None
            None: it is not known, and taken as 1.
        """

    @overload
    def __call__(self, images: Image) -> LabelImage: ...
    @overload
    def __call__(self, images: Pixels) -> Any: ...  # one or many: only the number of axes tells
    @overload
    def __call__(self, images: Iterable[Pixels | Image]) -> Iterator[LabelImage]: ...
    def __call__(self, images: Any) -> Any:
        """Segment one image, or many lazily.

        Parameters
        ----------
        images : array, tensor, Image or iterable of them
            ONE image (Y, X), or a stack (N, Y, X), or an iterable whose elements are images or stacks. Segmenters made
            with ``ndim=3`` take volumes (Z, Y, X) in place of planes. Tensors may be on any device.

        Returns
        -------
        LabelImage, or iterator of LabelImage
            An int32 label image for one image, otherwise an iterator with one for each image in order. It takes
            the next element of `images` only when all images of the one before are segmented, unless the segmenter
            says otherwise. StarDist's label images have the probability of each object as ``prob``.
        """


_THRESHOLDING = "divseg.segment.thresholding:ThresholdSegmenter"

FACTORIES: Mapping[str, str] = MappingProxyType(
    {
        "otsu": _THRESHOLDING,
        "li": _THRESHOLDING,
        "triangle": _THRESHOLDING,
        "yen": _THRESHOLDING,
        "isodata": _THRESHOLDING,
        "local": _THRESHOLDING,
        "sauvola": _THRESHOLDING,
        "hysteresis": _THRESHOLDING,
        "fixed": _THRESHOLDING,
        "stardist": "divseg.segment.stardist.segmenter:StarDistSegmenter",
        "python": "divseg.segment.user:UserSegmenter",
    }
)
"""Module and class of each method, imported on first use. The class makes itself with ``from_spec(method, pairs)``;
it reads what follows a colon in the method (``stardist:nuclei``, ``python:module:function``) itself."""

_WITH_COLON = ("stardist", "python")


def segmenter(spec: str | Callable[[NDArray[Any]], Any]) -> Segmenter:
    """Make a segmenter of a short string or of a function of your own.

    Parameters
    ----------
    spec : str or callable
        A method and its options, such as ``"otsu,smooth=1,split=distance,min_size=30"``: one of ``otsu``, ``li``,
        ``triangle``, ``yen``, ``isodata``, ``local``, ``sauvola``, ``hysteresis``, ``fixed`` (options:
        :mod:`divseg.segment.options`); ``stardist:NAME_OR_FOLDER`` for a StarDist model (options:
        :mod:`divseg.segment.stardist.options`); or ``python:module:function`` for a function of your own.
        Or such a function itself, see :class:`divseg.segment.user.UserSegmenter`. A segmenter is returned as it is.

    Returns
    -------
    Segmenter
        A callable from images to label images.

    Raises
    ------
    ConfigError
        Unknown method or option (the message lists the names and the nearest one), or an impossible value.
    ModelError
        A StarDist model that is not there, incomplete or damaged.

    Examples
    --------
    >>> import numpy as np
    >>> from divseg import segmenter
    >>> image = np.zeros((32, 32))
    >>> image[4:12, 4:12] = image[20:26, 18:28] = 1.0
    >>> labels = segmenter("otsu,min_size=20")(image)
    >>> labels.dtype, int(labels.max())
    (dtype('int32'), 2)

    Many images are segmented lazily, one by one:

    >>> [int(labels.max()) for labels in segmenter("otsu,max_size=62")([image, 1 - image])]
    [1, 0]

    A function of your own takes one float32 image and returns its label image, or a mask:

    >>> def bright(image):
    ...     return image > 0.5
    >>> int(segmenter(bright)(image).max())
    2
    """
    if isinstance(spec, Segmenter):
        return spec
    if not isinstance(spec, str):
        if callable(spec):
            from divseg.segment.user import UserSegmenter

            return UserSegmenter(spec)
        raise ConfigError(
            f"a segmenter is named by a string such as 'otsu,smooth=1', or is a function, not a {type(spec).__name__}"
        )
    method, pairs = split_spec(spec)
    family, colon, rest = method.partition(":")
    family = family.strip().lower()
    if family not in FACTORIES or (colon and family not in _WITH_COLON):
        raise unknown("segmenter", method, FACTORIES)
    module, _, name = FACTORIES[family].partition(":")
    made: Segmenter = getattr(importlib.import_module(module), name).from_spec(f"{family}{colon}{rest}", pairs)
    return made
