"""The StarDist segmenter: network on the device, suppression and painting beside it."""

from __future__ import annotations

import itertools
import math
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from divseg.errors import ConfigError, DivsegWarning
from divseg.labels import LabelImage
from divseg.segment.ahead import ErrorLast, map_ahead
from divseg.segment.stardist.config import ModelConfig, Thresholds, read_config, read_thresholds
from divseg.segment.stardist.objects import Job, find_objects
from divseg.segment.stardist.options import StarDistOptions, stardist_options
from divseg.segment.stardist.weights import find_weights
from divseg.segment.stream import ImageForm, Source, image_name, read_images, read_reference

if TYPE_CHECKING:
    from torch import Tensor

    from divseg.io import Image
    from divseg.segment.stardist.network import StarDistNet
    from divseg.segment.stardist.normalise import Limits
    from divseg.segment.stardist.pool import Pool
    from divseg.segment.stream import Pixels

SCALES = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
"""Factors that ``scale=auto`` tries, about a square root of 2 apart."""

_TILE = {2: 2048, 3: 192}
_GPU_PIXELS = 2**23  # largest batch; activations take about 0.5 kB a pixel
_SHARED_PIXELS = 2**22  # of larger images a CPU works on one at a time
_MIN_IMAGES = 8  # shorter streams are not worth starting processes


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
        self._limits: Limits | None = None
        self._scale = options.scale if isinstance(options.scale, float) else None
        self._net: StarDistNet | None = None
        self._pool: Pool | None = None

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
        # another process reads the weights itself and has its own workers
        return {**self.__dict__, "_net": None, "_pool": None}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes; they start again when needed. They also end with the segmenter."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    @property
    def halo(self) -> int:
        """Pixels of context that the network looks at.

        The percentiles of ``normalize=sample`` need the whole image; blocks of one image agree only with
        ``normalize=image`` (after :meth:`fit`) or ``none``.
        """
        return math.ceil(max(self.config.halo) / (self._scale or SCALES[0]))

    def fit(self, reference: Pixels | Image) -> Self:
        """Take the percentiles (``normalize=image``) and the scale (``scale=auto``) from a reference image.

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
        if self.options.normalize != "image" and self.options.scale != "auto":
            return self
        pixels = read_reference(reference, self._form)
        fitted = self
        if self.options.normalize == "image":
            _, batch = next(self._batches(iter([(0, pixels[None])])))
            limits = self._find_limits(batch[0], "the reference")
            fitted = fitted._changed(_limits=limits)
        if self.options.scale == "auto":
            scale = best_scale(lambda scale: fitted._changed(_scale=scale)(pixels).prob)
            fitted = fitted._changed(_scale=scale)
        return fitted

    def _changed(self, **values: Any) -> Self:
        """Return a copy that shares the network, but has worker processes of its own."""
        self._network()
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__ | {"_pool": None} | values)
        return other

    def __call__(self, images: Any) -> Any:
        """Segment one image, or many lazily; see :class:`divseg.segment.Segmenter`.

        Images of a model with several channels have these as their last axis. Unless ``processes=0``, the next
        elements of a stream are taken while those before are still being worked on: at most three for each core.
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
            return self._find_here(self._predict(next(self._batches(source.stacks)))[0])
        return self._stream(source)

    def _stream(self, source: Source) -> Iterator[LabelImage]:
        futures: deque[Future[LabelImage]] = deque()
        jobs = ErrorLast(self._jobs(source))  # a bad image does not cost the results of those before it
        try:
            for number, job in enumerate(jobs):
                pool = self._workers() if number >= _MIN_IMAGES or self.options.processes != "auto" else None
                if pool is None:
                    yield from self._finished(futures, wait=True)
                    yield self._find_here(job)
                    continue
                futures.append(pool.submit(job))
                # results go out as soon as they are ready; the queue is just long enough to keep all workers busy
                yield from self._finished(futures, room=3 * pool.count)
            yield from self._finished(futures, wait=True)
            jobs.raise_error()
        finally:
            for future in futures:
                future.cancel()

    def _finished(self, futures: deque[Future[LabelImage]], wait: bool = False, room: int = 0) -> Iterator[LabelImage]:
        while futures and (wait or futures[0].done() or len(futures) > room):
            yield futures.popleft().result()

    def _find_here(self, job: Job) -> LabelImage:
        import torch

        if self.config.ndim == 3:  # polyhedra gain by several threads
            return find_objects(job)
        # StarDist starts its OpenMP threads anew for each candidate, which costs more than they save in 2D; they
        # are torch's, whose library is loaded first
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return find_objects(job)
        finally:
            torch.set_num_threads(threads)

    def _workers(self) -> Pool | None:
        """Return the pool if it is ready; nobody waits for it to start."""
        count = self.options.processes
        if self._pool is None and count != 0:
            from divseg.segment.stardist.pool import Pool

            self._pool = Pool(count if isinstance(count, int) else self._cores())
        return self._pool if self._pool is not None and self._pool.ready else None

    def _cores(self) -> int:
        affinity = getattr(os, "sched_getaffinity", None)
        cores = len(affinity(0)) if affinity else os.cpu_count() or 1
        # on the CPU the network itself takes most of the time
        on_cpu = self._network().prob.weight.device.type == "cpu"
        return max(1, cores // 2 if on_cpu else min(cores - 1, 16))

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
        size = self.options.batch if isinstance(self.options.batch, int) else None
        # one image fits a CPU's caches better than several
        max_pixels = 1 if device.type == "cpu" else _GPU_PIXELS
        return in_batches(stacks, self._form, size, device, max_pixels)

    def _jobs(self, source: Source) -> Iterator[Job]:
        """Yield what is left to do for each of many images once the network has seen it."""
        import torch

        batches = self._batches(source.stacks)
        first = next(batches, None)
        if first is None:
            return
        batches = itertools.chain([first], batches)
        threads = self._threads(first[1], source.streamed)
        if threads == 1:
            for batch in batches:
                yield from self._predict(batch)
            return
        # Two threads on two images beat two threads on one: no thread waits at the end of each layer for the other,
        # which matters most if worker processes take turns on the same cores. torch lets go of the interpreter lock
        # in its operators, and threads share the weights. Each thread has its own number of torch threads, but a new
        # one begins with what was set last: it is restored in the end.
        before = torch.get_num_threads()
        try:
            for jobs in map_ahead(self._predict, batches, threads, lambda: torch.set_num_threads(1)):
                yield from jobs
        finally:
            torch.set_num_threads(before)

    def _threads(self, batch: Tensor, streamed: bool) -> int:
        """Return how many batches the network may work on at once; 1 if it may not look ahead in a stream."""
        import torch

        small = batch[:, 0].numel() <= _SHARED_PIXELS
        ahead = not (streamed and self.options.processes == 0)
        return torch.get_num_threads() if small and batch.device.type == "cpu" and ahead else 1

    def _predict(self, numbered: tuple[int, Tensor]) -> list[Job]:
        """Normalise a batch and run the network; the number is that of its first image."""
        import torch

        from divseg.segment.stardist.normalise import normalise
        from divseg.segment.stardist.predict import limit_candidates, predict_candidates, resized

        net = self._network()
        tile = self.options.tile if isinstance(self.options.tile, int) else _TILE[self.config.ndim]
        limit = self.options.max_candidates if isinstance(self.options.max_candidates, int) else None
        first, batch = numbered
        what = [image_name(first + i) for i in range(len(batch))]
        if self.options.normalize == "none":
            x = batch.to(torch.float32)
        else:
            limits = [self._limits or self._find_limits(image, w) for image, w in zip(batch, what, strict=True)]
            x = torch.stack([normalise(image, lim) for image, lim in zip(batch, limits, strict=True)])
        scale = self._scale or 1.0  # it is set: __call__ checks
        full = (x.shape[-2], x.shape[-1]) if scale != 1.0 else None
        if full is not None:
            x = resized(x, scale)
        shape = tuple(x.shape[2:])
        jobs = []
        for candidates, w in zip(predict_candidates(net, x, self.thresholds.prob, tile), what, strict=True):
            c = limit_candidates(candidates, limit, shape, self.config.grid, w)
            jobs.append(Job(c.prob, c.dist, c.points, shape, self.thresholds.nms, self.config.rays, full))
        return jobs

    def _find_limits(self, image: Tensor, what: str) -> Limits:
        from divseg.segment.stardist.normalise import find_limits

        o = self.options
        limits = find_limits(image, (o.pmin, o.pmax), o.channels == "joint")
        if limits.flat and bool((image != image.flatten()[0]).any()):
            warnings.warn(
                f"{what}: its percentiles {o.pmin:g} and {o.pmax:g} are equal, so almost all pixels have one value and "
                "the others lie far outside the network's range; choose pmin and pmax further apart",
                DivsegWarning,
                stacklevel=2,
            )
        return limits


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
