"""What every segmenter can do."""

from __future__ import annotations

from typing import Any, Protocol, Self, runtime_checkable


@runtime_checkable
class Segmenter(Protocol):
    """From images to label images, image by image.

    Label images are int32 arrays of the image's shape: 0 is background, objects have the labels 1..n.
    """

    @property
    def name(self) -> str:
        """Canonical string that :func:`divseg.segment.segmenter` makes this segmenter of."""

    @property
    def halo(self) -> int:
        """Pixels of context around a place that its filters look at.

        An object is decided upon as a whole: a block needs this halo on top of the largest object. A threshold
        taken from the image's histogram depends on all pixels; blocks of one image agree only with
        ``threshold=image`` (after :meth:`fit`) or a fixed one.
        """

    def fit(self, reference: Any) -> Self:
        """Return a segmenter whose image-level parameters are taken from a reference, such as the MMSE.

        Returns the segmenter itself where it has no such parameters.
        """

    def __call__(self, images: Any) -> Any:
        """Segment one image, or many lazily.

        Parameters
        ----------
        images : array, tensor or iterable
            ONE image (Y, X), or a stack (N, Y, X) of them, or an iterable whose elements are images or batches
            (B, Y, X). Segmenters made with ``ndim=3`` take volumes (Z, Y, X) in place of planes. NumPy arrays,
            torch tensors on any device and :class:`divseg.Image` are welcome.

        Returns
        -------
        int32 array, or iterator of int32 arrays
            A label image for one image, otherwise an iterator that yields one for each image in order. It takes
            the next element of `images` only when all images of the one before are segmented.
        """
