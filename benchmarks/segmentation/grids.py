"""Segmenters with their settings to tune: the same candidates for every input.

A candidate is a base that is run, and a cut that is applied to its objects afterwards: the smallest size of a
thresholding, the object probability of StarDist. Objects below a cut never act on those above it, so that one run of
the base gives the result of every cut: a minimal size drops objects last, and StarDist's suppression goes by falling
probability.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from divseg import segmenter

METHODS = ("otsu", "li", "triangle")
SPLITS = ("none", "distance")
SCALES = (0.5, 0.35, 0.25)
"""Factors by which large objects come to the size that StarDist knows."""
PROBABILITIES = (0.3, 0.4, 0.6)


@dataclass(frozen=True)
class Raw:
    """Objects before the cut, with what it goes by; ``value[i]`` belongs to label i, ``value[0]`` to the background."""

    labels: NDArray[np.integer]
    value: NDArray[np.floating]


@dataclass(frozen=True)
class Grid:
    """Candidates of one segmenter.

    Attributes
    ----------
    name : str
        ``threshold``, or the segmenter's string.
    candidates : dict of str to (str, float)
        Base and cut of each full segmenter string.
    """

    name: str
    candidates: dict[str, tuple[str, float]]

    @property
    def specs(self) -> list[str]:
        """All segmenter strings."""
        return list(self.candidates)

    @property
    def is_stardist(self) -> bool:
        """Whether this is a network of StarDist's."""
        return self.name.startswith("stardist:")

    @property
    def digest(self) -> str:
        """Short hash of a network's weights; empty for a thresholding."""
        if not self.is_stardist:
            return ""
        folder = self.made(next(iter(self.candidates.values()))[0]).folder
        files = sorted(file for file in folder.iterdir() if file.suffix in (".json", ".h5"))
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:8]

    def parts(self, spec: str) -> tuple[str, float]:
        """Return base and cut of a candidate."""
        return self.candidates[spec]

    def made(self, base: str, reference: NDArray[np.floating] | None = None) -> Any:
        """Make the segmenter of a base, with image-level parameters from a reference if there is one."""
        if reference is None:
            return _made(base)
        return _made(base + (",normalize=image" if self.is_stardist else ",threshold=image")).fit(reference)

    def segment(self, segment: Any, image: NDArray[np.floating]) -> Raw:
        """Run what :meth:`made` gave on an image."""
        if self.is_stardist:
            labels = segment(image)
            value = np.zeros(labels.max(initial=0) + 1)
            value[1:] = labels.prob[: len(value) - 1]
            return Raw(_small(np.asarray(labels)), value)
        labels = segment(image)
        return Raw(_small(labels), np.bincount(labels.ravel()).astype(float))

    def cut(self, raw: Raw, value: float) -> NDArray[np.integer]:
        """Drop the objects below the cut: of fewer pixels than it, or of no more probability."""
        low = raw.value <= np.float32(value) if self.is_stardist else raw.value < value
        low[0] = False
        return np.where(low[raw.labels], raw.labels.dtype.type(0), raw.labels) if low.any() else raw.labels


def make_grid(name: str, *, large: bool = False, device: str = "auto") -> Grid:
    """Make the candidates of a segmenter.

    Parameters
    ----------
    name : str
        ``threshold``: a grid of thresholdings; ``stardist:MODEL``: its object probabilities; any other segmenter
        string stands for itself, untuned.
    large : bool
        Objects are large: also stronger smoothing and larger smallest sizes; StarDist sees them smaller.
    device : str
        Of StarDist's network.
    """
    if name == "threshold":
        smooths, sizes = ((0, 1, 2, 4), (20, 100, 300)) if large else ((0, 1, 2), (20, 100))
        candidates = {}
        for method, smooth, split, size in product(METHODS, smooths, SPLITS, sizes):
            base = f"{method},smooth={smooth},split={split}"
            candidates[f"{base},min_size={size}"] = (f"{base},min_size={sizes[0]}", float(size))
        return Grid(name, candidates)
    if name.startswith("stardist:") and "," not in name:
        own = float(cast(Any, segmenter(name)).thresholds.prob)  # a StarDist segmenter, which has them
        place = "" if device == "auto" else f",device={device}"
        candidates = {}
        for scale in SCALES if large else (1.0,):
            model = name if scale == 1.0 else f"{name},scale={scale:g}"
            base = f"{model},prob={min(*PROBABILITIES, own):g}{place}"
            candidates |= {model: (base, own)} | {f"{model},prob={p:g}": (base, p) for p in PROBABILITIES}
        return Grid(name, candidates)
    segmenter(name)  # a slip in the string ends here
    return Grid(name, {name: (name, 0.0)})


@cache
def _made(spec: str) -> Any:
    return segmenter(spec)


def _small(labels: NDArray[np.integer]) -> NDArray[np.integer]:
    return labels.astype(np.uint16) if labels.max(initial=0) < 2**16 else labels
