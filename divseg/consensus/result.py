"""What a fusion returns."""

from __future__ import annotations

import base64
import html
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from skimage.segmentation import find_boundaries

from divseg.errors import InputError
from divseg.io import PixelSize, write_csv, write_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class Consensus:
    """One label image fused from K samples, with what the samples say about each of its objects.

    All fractions of samples are posterior frequencies: they describe how the samples agree. They are not calibrated
    probabilities of being right, since errors that all samples have in common do not show in them. If the samples
    have weights, every fraction is one of the total weight, every mean is weighted, and standard deviations and
    quantiles are those of a weighted sample (Kish's effective number of samples replaces their number).

    Attributes
    ----------
    labels : int32 array, shape (Y, X) or (Z, Y, X)
        Objects 1..n in the order in which a raster scan meets them; 0 is background.
    objects : DataFrame
        A row per label. A sample *holds* an object if one of its own objects, then called the *member*, has
        an IoU above 0.5 with it. Lengths are in pixels, areas in pixels (voxels in 3-D).

        ``label``
            Value in ``labels``.
        ``existence``
            Detection frequency: fraction of the samples that hold the object.
        ``mean_iou``
            Mean IoU of the object with its members; NaN without members.
        ``n_members``
            Number of samples that hold the object, whatever their weights.
        ``area``
            Area in ``labels``.
        ``area_mean area_std area_q05 area_q50 area_q95``
            Mean, standard deviation (n - 1; NaN for one member) and quantiles of the areas of the members.
        ``diameter``
            Diameter of the circle (3-D: ball) of the same area.
        ``diameter_mean diameter_std diameter_q05 diameter_q50 diameter_q95``
            The same over the members.
        ``prob_mean`` (only if the segmenter gives probabilities)
            Mean of the probabilities that the segmenter gave the members, such as StarDist's object probability.
        ``snr contrast`` (only if the fusion knows the images)
            How far the object differs from the background around it: in the noisy image, in standard errors, and in
            the samples, in standard deviations of a pixel of that background
            (:func:`divseg.consensus.contrast.measure_contrast`).
        ``p_split``
            Fraction of the samples in which at least two objects, each with more than half of its area inside,
            cover at least a tenth of the object each.
        ``p_merge``
            Fraction of the samples in which one object covers more than half of this object and more than half
            of at least one other.
        ``centroid_z`` (3-D only) ``centroid_y centroid_x``
            Centre of mass in ``labels``; pixel centres have integer coordinates.
        ``bbox_z_min bbox_z_max`` (3-D only) ``bbox_y_min bbox_y_max bbox_x_min bbox_x_max``
            Bounding box in ``labels``, maximum exclusive: ``labels[y_min:y_max, x_min:x_max]``.
    foreground : float32 array, shape of ``labels``
        Fraction of the samples in which the pixel belongs to an object.
    boundary : float32 array, shape of ``labels``
        Fraction of the samples in which the pixel belongs to an object and has a face neighbour outside it; the
        edge of the image does not count as a boundary.
    n_samples : int
        Number of samples, including empty ones but not those of weight 0.
    counts : int64 array, shape (K,)
        Number of objects of each label image, in the order of the input.
    expected : dict of str to float
        Mean score of ``labels`` with each sample in turn as truth: ``seg det ap50 ap75 map f1 pq``. It describes
        how the samples agree, not how right they are. NaN if the score is not defined for any sample.
    alternatives : DataFrame
        Hypotheses that were considered and rejected: ``kind`` (merged: contains more than half of at least two
        objects; part: lies mostly in one larger object; other shape: conflicts with an object; unlikely:
        too rare, with no object in its place; faint: hardly different from its background), ``rivals`` (labels it
        overlaps, separated by blanks), ``existence mean_iou n_members area`` and centroid and bounding box as in
        ``objects``. For methods without hypotheses, only the objects that were not kept.
    method : str
        Name of the fusion method with its options.
    weights : float64 array, shape (K,)
        Weight of each label image, with sum 1, in the order of the input.

    Examples
    --------
    >>> import numpy as np
    >>> from divseg import fuse
    >>> samples = [np.array([[1, 1, 1, 0, 2, 2]]), np.array([[1, 1, 0, 0, 2, 2]]), np.array([[1, 1, 1, 0, 0, 0]])]
    >>> consensus = fuse(samples)
    >>> consensus
    Consensus(2 objects from 3 samples by clustering, shape=(1, 6), expected map=0.7, seg=0.944)
    >>> consensus.objects[["label", "existence", "area_q05", "area_q95"]].round(2)
       label  existence  area_q05  area_q95
    0      1       1.00       2.1       3.0
    1      2       0.67       2.0       2.0
    >>> consensus.counts.tolist()
    [2, 2, 1]
    """

    labels: NDArray[np.int32]
    objects: pd.DataFrame
    foreground: NDArray[np.float32]
    boundary: NDArray[np.float32]
    n_samples: int
    counts: NDArray[np.int64]
    expected: dict[str, float]
    alternatives: pd.DataFrame
    method: str
    weights: NDArray[np.float64]

    def plot(self, image: ArrayLike | None = None, ax: Axes | None = None) -> Axes:
        """Plot the outlines of the objects, coloured by existence.

        Parameters
        ----------
        image : array, shape of ``labels``, optional
            What to draw them on, in grey; the map of the foreground by default.
        ax : matplotlib Axes, optional
            Where to draw; a new figure of pyplot by default.

        Returns
        -------
        Axes
            Of a volume, it shows the plane with most foreground pixels.

        Raises
        ------
        InputError
            If the image has another shape than ``labels``.
        """
        if ax is None:
            from matplotlib import pyplot

            _, ax = pyplot.subplots(layout="constrained")
        _draw(self, image, ax)
        return ax

    def save(self, folder: str | os.PathLike[str], pixel_size: PixelSize | None = None) -> None:
        """Write ``labels.tif``, ``objects.csv`` and ``alternatives.csv`` to a folder, which is made if missing.

        Parameters
        ----------
        folder : path
            Files of these names in it are replaced.
        pixel_size : PixelSize, optional
            Written to the TIFF, so that Fiji shows it.

        Raises
        ------
        OutputError
            A file cannot be written.
        """
        write_labels(Path(folder, "labels.tif"), self.labels, pixel_size)
        write_csv(Path(folder, "objects.csv"), self.objects)
        write_csv(Path(folder, "alternatives.csv"), self.alternatives)

    def __repr__(self) -> str:
        scores = ", ".join(f"{name}={self.expected[name]:.3g}" for name in ("map", "seg"))
        return (
            f"Consensus({len(self.objects)} objects from {self.n_samples} samples by {self.method}, "
            f"shape={self.labels.shape}, expected {scores})"
        )

    def _repr_html_(self) -> str:
        return _to_html(self)


ROWS = 5
"""Objects in the table of a notebook."""

COLUMNS = ("label", "existence", "mean_iou", "area", "area_q05", "area_q95")


def _draw(consensus: Consensus, image: ArrayLike | None, ax: Axes) -> None:
    """Draw the outlines of the objects, coloured by existence, on an image; see :meth:`Consensus.plot`."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    labels = consensus.labels
    background = consensus.foreground if image is None else np.asarray(image)
    if background.shape != labels.shape:
        raise InputError(f"image has shape {background.shape} but the labels have shape {labels.shape}")
    if labels.ndim == 3:
        z = int(np.argmax(np.count_nonzero(labels, axis=(1, 2))))
        labels, background = labels[z], background[z]
        ax.set_title(f"z = {z}")
    low, high = np.percentile(background, [0.5, 99.7]) if image is not None else (0.0, 1.0)
    ax.imshow(background, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    existence = np.concatenate([[np.nan], consensus.objects["existence"]])[labels]
    outlines = np.ma.masked_where(~find_boundaries(labels, connectivity=1, mode="inner"), existence)
    # the dark end of plasma cannot be seen on a dark background
    colours = ListedColormap(colormaps["plasma"](np.linspace(0.32, 1.0, 256)))
    shown = ax.imshow(outlines, cmap=colours, vmin=0, vmax=1, interpolation="nearest")
    ax.figure.colorbar(shown, ax=ax, label="existence (fraction of samples)", shrink=0.8)
    ax.set_axis_off()


def _to_html(consensus: Consensus) -> str:
    """Return counts, expected scores, the first objects and a picture as HTML."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    _draw(consensus, None, figure.add_subplot())
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100)
    counts = consensus.counts
    facts = {
        "objects": len(consensus.objects),
        "objects per label image": f"{counts.mean():.1f} ({counts.min()} to {counts.max()})",
        "samples": consensus.n_samples,
        "method": html.escape(consensus.method),
        "shape": " x ".join(map(str, consensus.labels.shape)),
        **{f"expected {name}": f"{score:.3f}" for name, score in consensus.expected.items()},
    }
    rows = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in facts.items())
    table = consensus.objects[list(COLUMNS)].head(ROWS).to_html(index=False, float_format="{:.2f}".format)
    more = len(consensus.objects) - ROWS
    return (
        f'<div style="display: flex; gap: 1em"><table>{rows}</table><div>{table}'
        f"{f'and {more} more' if more > 0 else ''}</div>"
        f'<img alt="outlines" src="data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"></div>'
    )
