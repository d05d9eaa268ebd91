"""The StarDist segmenter: network on the device, suppression and painting beside it."""

from __future__ import annotations

import itertools
import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from divseg.device import out_of_memory
from divseg.errors import ConfigError, DivsegWarning, InputError
from divseg.labels import LabelImage
from divseg.segment.ahead import map_ahead
from divseg.segment.stardist.config import ModelConfig, Thresholds, read_config, read_thresholds
from divseg.segment.stardist.objects import Job, find_objects
from divseg.segment.stardist.options import StarDistOptions, stardist_options
from divseg.segment.stardist.weights import find_weights
from divseg.segment.stream import ImageForm, Source, check_valid, image_name, read_images, read_reference

if TYPE_CHECKING:
    from torch import Tensor

    from divseg.io import Image
    from divseg.segment.stardist.network import StarDistNet
    from divseg.segment.stardist.normalise import Limits
    from divseg.segment.stream import Pixels

SCALES = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
"""Factors that ``scale=auto`` tries, about a square root of 2 apart."""

_TILE = {2: 2048, 3: 192}
_GPU_PIXELS = 2**23  # largest batch; activations take about 0.5 kB a pixel
_SHARED_PIXELS = 2**22  # of larger images a CPU works on one at a time
_LEAST_TILE = 128  # halved no further if memory runs out
_TRIAL_SIDE = 1024  # pixels of the reference, from its middle, that the scale is looked for on


class StarDistSegmenter:
    """Star-convex objects, found by a StarDist network; made by :func:`divseg.segmenter`.

    The labels are those of StarDist's ``predict_instances`` with ``csbdeep.utils.normalize(image, 1, 99.8)``. They
    are numbered by falling object probability, which is in ``prob``. In 2D an object that others hide wholly keeps its
    number, so that a label can be missing.

    Attributes
    ----------
    folder : Path
        Folder of the model.
    config : ModelConfig
        Its architecture.
    thresholds : Thresholds
        Thresholds of the options, otherwise of the model.
    options : StarDistOptions
        Values of the options.
    name : str
        Canonical string.
    """

    def __init__(self, folder: Path, options: StarDistOptions, name: str) -> None:
        self.folder, self.options, self.name = folder, options, name
        self.config: ModelConfig = read_config(folder)
        self._weights = find_weights(folder)
        self.thresholds = _thresholds(folder, options)
        if self.config.n_classes is not None:
            warnings.warn(
                f"{folder} is a model with {self.config.n_classes} classes of objects; divseg finds the objects, but "
                "not their classes",
                DivsegWarning,
                stacklevel=2,
            )
        if options.scale != 1.0 and self.config.ndim != 2:
            raise ConfigError(f"segmenter {name!r}: scale is for 2-D models; resize the volumes beforehand")
        if options.anisotropy != "none" and self.config.ndim != 3:
            raise ConfigError(f"segmenter {name!r}: anisotropy is for 3-D models; leave it out")
        self._limits: Limits | None = None
        self._valid: NDArray[np.bool_] | None = None
        self._stretch = 1.0  # planes that the network sees for each plane of the volume
        self._scale = options.scale if isinstance(options.scale, float) else None
        self._net: StarDistNet | None = None
        self._tile = options.tile if isinstance(options.tile, int) else _TILE[self.config.ndim]
        self._together = options.batch if isinstance(options.batch, int) else None

    @classmethod
    def from_spec(cls, method: str, pairs: Iterable[tuple[str, str]]) -> Self:
        """Make a segmenter of ``"stardist:NAME_OR_FOLDER"`` and the texts of its options.

        Raises
        ------
        ConfigError
            Unknown option, impossible value, or no name.
        ModelError
            No such model, or a folder that is incomplete or damaged.
        """
        options, name = stardist_options(method, pairs)
        model = method.partition(":")[2].strip()
        if not model:
            raise ConfigError(
                f"segmenter {method!r}: write stardist:NAME_OR_FOLDER, for example stardist:nuclei or stardist:my_model"
            )
        from divseg.segment.stardist.models import model_folder

        return cls(model_folder(model), options, name)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_net": None}  # another process reads the weights itself

    @property
    def halo(self) -> int:
        """Pixels of context that the network looks at.

        The percentiles of ``normalize=sample`` need the whole image; blocks of one image agree only with
        ``normalize=image`` (after :meth:`fit`) or ``none``.
        """
        return math.ceil(max(self.config.halo) / (self._scale or SCALES[0]))

    def fit(self, reference: Pixels | Image) -> Self:
        """Take the percentiles (``normalize=image``) and the scale (``scale=auto``) from a reference image.

        The scale is looked for on the middle of the reference, 1024 pixels wide and high. A segmenter that has found it
        keeps it: fitted again, to another view of the same objects, it takes the percentiles alone.

        Parameters
        ----------
        reference : array or tensor
            One image, for example the MMSE of the samples that are to be segmented.

        Returns
        -------
        StarDistSegmenter
            A segmenter with these values; the segmenter itself if the options ask for neither.

        Raises
        ------
        InputError
            If the reference is not one image of the model's dimensions and channels.
        """
        if self.options.normalize != "image" and self._scale is not None:
            return self
        fitted = self
        _, batch = next(self._batches(iter([(0, read_reference(reference, self._form)[None])])))
        limits = None if self.options.normalize == "none" else self._find_limits(0, batch, "the reference")
        if self.options.normalize == "image":
            fitted = fitted._changed(_limits=limits)
        if self._scale is None:
            trial = fitted._changed(_limits=limits)
            middle = batch[0]
            for axis, side in enumerate(middle.shape[1:], start=1):
                middle = middle.narrow(axis, *_middle(side))
            if self._valid is not None:
                spans = [_middle(side) for side in self._valid.shape]
                trial = trial.within(self._valid[tuple(slice(start, start + length) for start, length in spans)])
            part = middle.movedim(0, -1) if self.config.n_channels > 1 else middle[0]
            fitted = fitted._changed(_scale=best_scale(lambda scale: trial._changed(_scale=scale)(part).prob))
        return fitted

    def within(self, valid: NDArray[np.bool_] | None) -> Self:
        """Return a segmenter for images of which only a part is data; see :class:`divseg.segment.Segmenter`."""
        return self if valid is None and self._valid is None else self._changed(_valid=valid)

    @property
    def ndim(self) -> int:
        """Spatial dimensions of the model's images."""
        return self.config.ndim

    def spaced(self, distance: float | None) -> Self:
        """Return a segmenter whose network sees volumes as if their planes had the distance of ``anisotropy=``.

        Without this option, or if the distance is not known, it is the segmenter itself: volumes are taken as they are.
        """
        own = self.options.anisotropy
        stretch = distance / own if distance is not None and isinstance(own, float) else 1.0
        return self if stretch == self._stretch else self._changed(_stretch=stretch)

    def _changed(self, **values: Any) -> Self:
        """Return a copy that shares the network."""
        self._network()
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__ | values)
        return other

    def __call__(self, images: Any) -> Any:
        """Segment one image, or many lazily; see :class:`divseg.segment.Segmenter`.

        Images of a model with several channels have these as their last axis. Unless ``threads=0``, the next elements
        of a stream are taken while those before are still being worked on: at most one for each thread, and one.
        Tensors stay on their device if it is the network's.

        Raises
        ------
        InputError
            Nothing that holds images of the model's dimensions and channels, or pixels that are not finite numbers.
        ConfigError
            With ``normalize=image`` or ``scale=auto`` before :meth:`fit`, or a device that this machine does not have.
        ModelError
            Weights that do not fit the configuration.
        """
        for what, lacking in (
            ("percentiles", self.options.normalize == "image" and self._limits is None),
            ("scale", self._scale is None),
        ):
            if lacking:
                raise ConfigError(
                    f"segmenter {self.name!r} takes its {what} from a reference image: "
                    "call fit(mmse) first and use what it returns"
                )
        source = read_images(images, self._form)
        if source.single:
            return self._segment(next(self._batches(source.stacks)))[0]
        return self._stream(source)

    def _stream(self, source: Source) -> Iterator[LabelImage]:
        import torch

        batches = self._batches(source.stacks)
        first = next(batches, None)
        if first is None:
            return
        batches = itertools.chain([first], batches)
        threads, whole = self._threads(first[1])
        # a new thread begins with the number of torch threads that was set last: it is restored in the end
        before = torch.get_num_threads()
        try:
            if threads == 0:
                for batch in batches:
                    yield from self._segment(batch)
            elif whole:
                # Two threads on two images beat two threads on one: no thread waits at the end of each layer for the
                # other. torch and the compiled code let go of the interpreter lock.
                for labels in map_ahead(self._segment, batches, threads, lambda: torch.set_num_threads(1)):
                    yield from labels
            else:
                jobs = (job for batch in batches for job in self._predict(batch))
                yield from map_ahead(find_objects, jobs, threads, lambda: torch.set_num_threads(1))
        finally:
            torch.set_num_threads(before)

    def _threads(self, batch: Tensor) -> tuple[int, bool]:
        """Return the number of threads beside the caller's, and whether the network runs in them."""
        import torch

        on_cpu, threads = batch.device.type == "cpu", torch.get_num_threads()
        whole = on_cpu and batch[:, 0].numel() * (self._scale or 1.0) ** 2 <= _SHARED_PIXELS
        if isinstance(self.options.threads, int):
            return self.options.threads, whole
        # StarDist's code for polyhedra starts threads itself, and keeps the interpreter lock
        if self.config.ndim == 3 or (on_cpu and threads == 1):
            return 0, False
        return (threads, True) if whole else (max(1, min(_cores() - 1, 16)), False)

    def _segment(self, numbered: tuple[int, Tensor]) -> list[LabelImage]:
        import torch

        jobs = self._predict(numbered)
        if self.config.ndim == 3:  # polyhedra gain by several threads
            return [find_objects(job) for job in jobs]
        # StarDist starts its OpenMP threads anew for each pair, which costs more than they save in 2D; they are
        # torch's, whose library is loaded first
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return [find_objects(job) for job in jobs]
        finally:
            torch.set_num_threads(threads)

    def _network(self) -> StarDistNet:
        if self._net is None:
            from divseg.device import choose_device
            from divseg.segment.stardist.network import build_network
            from divseg.segment.stardist.weights import read_weights

            net = build_network(self.config, read_weights(self._weights))
            self._net = net.to(choose_device(self.options.device))
        return self._net

    @property
    def _form(self) -> ImageForm:
        c = self.config
        channels = f"{c.n_channels} channels" if c.n_channels > 1 else "1 channel"
        return ImageForm(c.ndim, f"this {c.ndim}-D StarDist model of {channels}", c.n_channels)

    def _batches(self, stacks: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Tensor]]:
        from divseg.segment.stardist.batches import in_batches

        device = self._network().prob.weight.device
        # one image fits a CPU's caches better than several
        max_pixels = 1 if device.type == "cpu" else int(_GPU_PIXELS / (self._scale or 1.0) ** 2)
        return in_batches(stacks, self._form, self._together, device, max_pixels)

    def _predict(self, numbered: tuple[int, Tensor]) -> list[Job]:
        """Run the network on a batch, with fewer images or smaller tiles where memory runs out, and from then on."""
        import torch

        first, batch = numbered
        most = self._together or len(batch)
        if len(batch) > most:
            parts = [(first + k, batch[k : k + most]) for k in range(0, len(batch), most)]
            return [job for part in parts for job in self._predict(part)]
        try:
            return self._predict_once(first, batch)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            if len(batch) == 1 and self._tile <= _LEAST_TILE:
                raise InputError(
                    f"memory ran out while StarDist's network worked on {image_name(first)} in tiles of {self._tile} "
                    "pixels; close other programs, or use device=cpu"
                ) from error
        # the error is gone, and with it what its frames held
        if batch.device.type == "cuda":
            torch.cuda.empty_cache()
        if len(batch) > 1:
            self._together = len(batch) // 2
        else:
            side = round(max(batch.shape[2:]) * (self._scale or 1.0))
            self._tile = max(_LEAST_TILE, min(self._tile, side) // 2)
        return self._predict(numbered)

    def _predict_once(self, first: int, batch: Tensor) -> list[Job]:
        import torch

        from divseg.segment.stardist.batches import check_finite
        from divseg.segment.stardist.normalise import normalise
        from divseg.segment.stardist.predict import limit_candidates, predict_candidates, resized, resized_along_z

        limit = self.options.max_candidates if isinstance(self.options.max_candidates, int) else None
        if self.options.normalize == "none" or self._limits is not None:
            check_finite(first, batch, torch.isfinite(batch).flatten(1).all(1).cpu().numpy())
            x = batch.to(torch.float32) if self._limits is None else normalise(batch, self._limits)
        else:
            x = normalise(batch, self._find_limits(first, batch))
        scale = self._scale or 1.0  # it is set: __call__ checks
        full = tuple(x.shape[2:])
        if scale != 1.0:
            x = resized(x, scale)
        if self._stretch != 1.0:
            x = resized_along_z(x, max(1, round(full[0] * self._stretch)))
        shape = tuple(x.shape[2:])
        jobs = []
        for i, found in enumerate(predict_candidates(self._network(), x, self.thresholds.prob, self._tile)):
            c = limit_candidates(found, limit, shape, self.config.grid, image_name(first + i))
            jobs.append(Job(c.prob, c.dist, c.points, shape, self.thresholds.nms, self.config.rays, full, self._valid))
        return jobs

    def _find_limits(self, first: int, batch: Tensor, what: str | None = None) -> Limits:
        import torch

        from divseg.segment.stardist.batches import check_finite
        from divseg.segment.stardist.normalise import find_limits

        o = self.options
        if self._valid is None:
            data = batch
        else:
            check_valid(self._valid, batch[0, 0], self.name)
            data = batch[:, :, torch.from_numpy(self._valid).to(batch.device)]
        limits = find_limits(data, (o.pmin, o.pmax), o.channels == "joint")
        check_finite(first, batch, limits.finite)
        for flat in np.flatnonzero(limits.flat):
            warnings.warn(
                f"{what or image_name(first + int(flat))}: its percentiles {o.pmin:g} and {o.pmax:g} are equal, so "
                "almost all pixels have one value and the others lie far outside the network's range; choose pmin and "
                "pmax further apart",
                DivsegWarning,
                stacklevel=2,
            )
        return limits


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _thresholds(folder: Path, options: StarDistOptions) -> Thresholds:
    prob, nms = options.prob, options.nms
    if isinstance(prob, float) and isinstance(nms, float):
        return Thresholds(prob, nms)  # the file is not needed, nor a warning if it is missing
    own = read_thresholds(folder)
    return Thresholds(prob if isinstance(prob, float) else own.prob, nms if isinstance(nms, float) else own.nms)


def best_scale(probabilities: Callable[[float], NDArray[np.floating]]) -> float:
    """Return the factor at which a network gives its objects the highest mean probability.

    The object probability of StarDist is the distance of a pixel to the nearest background in units of the largest
    such distance in its object. A network finds objects of a size that it was not trained on in pieces, or several as
    one, and gives these a lower probability.

    Parameters
    ----------
    probabilities : callable
        Returns the probabilities of the objects at a factor, shape (N,).

    Returns
    -------
    float
        One of :data:`SCALES`; 1 if there are no objects at any of them.
    """
    by_scale = {scale: probabilities(scale) for scale in SCALES}
    means = {scale: float(p.mean()) for scale, p in by_scale.items() if p.size}
    return max(means, key=lambda scale: means[scale]) if means else 1.0


def _middle(side: int) -> tuple[int, int]:
    """Return first pixel and length of the part of a side on which the scale is looked for."""
    return max(0, side - _TRIAL_SIDE) // 2, min(side, _TRIAL_SIDE)
