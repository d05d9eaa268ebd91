"""The StarDist segmenter: network on the device, suppression and painting beside it."""

from __future__ import annotations

import itertools
import math
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from divseg.errors import ConfigError, DivsegWarning
from divseg.segment.ahead import ErrorLast
from divseg.segment.stardist.config import ModelConfig, Thresholds, read_config, read_thresholds
from divseg.segment.stardist.objects import Job, StarDistObjects, find_objects
from divseg.segment.stardist.options import StarDistOptions, stardist_options
from divseg.segment.stardist.scale import SCALES, surest_scale
from divseg.segment.stardist.weights import find_weights

if TYPE_CHECKING:
    from torch import Tensor

    from divseg.segment.stardist.network import StarDistNet
    from divseg.segment.stardist.normalise import Limits
    from divseg.segment.stardist.pool import Pool

_TILE = {2: 2048, 3: 192}
_GPU_PIXELS = 2**23  # of a batch; activations take about 0.5 kB a pixel
_SHARED_PIXELS = 2**22  # of an image, above which a CPU works on one at a time
_PATIENCE = 8  # images from which on it is worth starting processes


class StarDistSegmenter:
    """Star-convex objects, found by a StarDist network; made by :func:`divseg.segment.segmenter`.

    The labels are those of StarDist's ``predict_instances`` with ``csbdeep.utils.normalize(image, 1, 99.8)``. They
    are numbered by falling object probability. In 2D an object that others cover wholly keeps its number, so
    that a label can be missing.

    Attributes
    ----------
    folder : Path
        Of the model.
    config : ModelConfig
    thresholds : Thresholds
        Those of the options, otherwise of the model.
    options : StarDistOptions
    name : str
        Canonical string.
    """

    def __init__(self, folder: Path, options: StarDistOptions, name: str) -> None:
        self.folder, self.options, self.name = folder, options, name
        self.config: ModelConfig = read_config(folder)
        self._weights = find_weights(folder)
        self.thresholds = _chosen(folder, options)
        if self.config.n_classes is not None:
            warnings.warn(
                f"{folder} tells {self.config.n_classes} classes of objects; divseg finds the objects and leaves "
                "their classes out",
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

    def fit(self, reference: Any) -> Self:
        """Take percentiles (``normalize=image``) and scale (``scale=auto``) from a reference image, if asked to.

        Parameters
        ----------
        reference : array or tensor
            One image, for example the MMSE of the samples that are to be segmented.

        Returns
        -------
        StarDistSegmenter
            With these values; otherwise the segmenter itself.

        Raises
        ------
        InputError
            If the reference is no image of the model's dimensions and channels.
        """
        fitted = self
        if self.options.normalize == "image":
            limits = self._find_limits(next(self._batches(reference))[0], "the reference")
            fitted = fitted._changed(_limits=limits)
        if self.options.scale == "auto":
            scale = surest_scale(lambda scale: fitted._changed(_scale=scale).details(reference).prob)
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

        Images of a model with several channels have these as their last axis. Unless
        ``processes=0``, the next elements of a stream are taken while the ones before are still being worked on:
        at most three for each core.

        Raises
        ------
        InputError
            Nothing that holds images of the model's dimensions and channels, or pixels that are no finite numbers.
        ConfigError
            With ``normalize=image`` or ``scale=auto`` before :meth:`fit`, or a device that this machine has not.
        ModelError
            Weights that do not fit the configuration.
        """
        found = self.details(images)
        return found.labels if isinstance(found, StarDistObjects) else (one.labels for one in found)

    def details(self, images: Any) -> Any:
        """Find the objects of one image, or of many lazily, with their probabilities and shapes.

        Parameters
        ----------
        images : array, tensor or iterable
            As for a call.

        Returns
        -------
        StarDistObjects, or iterator of StarDistObjects
            One for each image.

        Raises
        ------
        InputError, ConfigError, ModelError
            As a call.
        """
        from divseg.segment.stardist.batches import Form, read_images

        for what, lacking in (
            ("percentiles", self.options.normalize == "image" and self._limits is None),
            ("scale", self._scale is None),
        ):
            if lacking:
                raise ConfigError(
                    f"segmenter {self.name!r} takes its {what} from a reference image: "
                    "call fit(mmse) first and use what it returns"
                )
        one, held = read_images(images, Form(self.config.ndim, self.config.n_channels))
        if one:
            return self._find_here(self._predict((0, next(self._batches(held))))[0])
        return self._stream(held)

    def _stream(self, held: Any) -> Iterator[StarDistObjects]:
        futures: deque[Future[StarDistObjects]] = deque()
        jobs = ErrorLast(self._jobs(held))  # a bad image does not cost the results of those before it
        try:
            for number, job in enumerate(jobs):
                pool = self._workers() if number >= _PATIENCE or self.options.processes != "auto" else None
                if pool is None:
                    yield from self._finished(futures, wait=True)
                    yield self._find_here(job)
                    continue
                futures.append(pool.submit(job))
                # what is done goes out at once; the queue is long enough to keep all busy, and no longer
                yield from self._finished(futures, room=3 * pool.count)
            yield from self._finished(futures, wait=True)
            jobs.raise_error()
        finally:
            for future in futures:
                future.cancel()

    def _finished(
        self, futures: deque[Future[StarDistObjects]], wait: bool = False, room: int = 0
    ) -> Iterator[StarDistObjects]:
        while futures and (wait or futures[0].done() or len(futures) > room):
            yield futures.popleft().result()

    def _find_here(self, job: Job) -> StarDistObjects:
        import torch

        if self.config.ndim == 3:  # polyhedra are worth several threads
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
        """Return the pool when it is ready; until then there is no reason to wait for it."""
        count = self.options.processes
        if self._pool is None and count != 0:
            from divseg.segment.stardist.pool import Pool

            self._pool = Pool(count if isinstance(count, int) else self._cores())
        return self._pool if self._pool is not None and self._pool.ready else None

    def _cores(self) -> int:
        known = getattr(os, "sched_getaffinity", None)
        cores = len(known(0)) if known else os.cpu_count() or 1
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

    def _batches(self, held: Any) -> Iterator[Tensor]:
        from divseg.segment.stardist.batches import Form, in_batches

        device = self._network().prob.weight.device
        size = self.options.batch if isinstance(self.options.batch, int) else None
        # one image fits a CPU's caches better than several
        pixels = 1 if device.type == "cpu" else _GPU_PIXELS
        return in_batches(held, Form(self.config.ndim, self.config.n_channels), size, device, pixels)

    def _jobs(self, held: Any) -> Iterator[Job]:
        """Yield what is left to do for each of many images once the network has seen it."""
        batches = self._numbered(self._batches(held))
        first = next(batches, None)
        if first is None:
            return
        batches = itertools.chain([first], batches)
        threads = self._threads(first[1], stream=not hasattr(held, "shape"))
        if threads == 1:
            for batch in batches:
                yield from self._predict(batch)
            return
        from divseg.segment.stardist.ahead import map_ahead

        for jobs in map_ahead(self._predict, batches, threads):
            yield from jobs

    def _threads(self, batch: Tensor, stream: bool) -> int:
        """Return how many batches the network may work on at once; of a stream only where looking ahead is allowed."""
        import torch

        small = batch[:, 0].numel() <= _SHARED_PIXELS
        apart = small and batch.device.type == "cpu" and not (stream and self.options.processes == 0)
        return torch.get_num_threads() if apart else 1

    @staticmethod
    def _numbered(batches: Iterable[Tensor]) -> Iterator[tuple[int, Tensor]]:
        done = 0
        for batch in batches:
            yield done, batch
            done += len(batch)

    def _predict(self, numbered: tuple[int, Tensor]) -> list[Job]:
        """Normalise a batch and run the network; the number is that of its first image."""
        import torch

        from divseg.segment.stardist.cap import keep_best
        from divseg.segment.stardist.normalise import normalise
        from divseg.segment.stardist.predict import predict_candidates, resized

        net = self._network()
        tile = self.options.tile if isinstance(self.options.tile, int) else _TILE[self.config.ndim]
        most = self.options.max_candidates if isinstance(self.options.max_candidates, int) else None
        first, batch = numbered
        what = [f"image {first + i} (counted from 0)" for i in range(len(batch))]
        if self.options.normalize == "none":
            x = batch.to(torch.float32)
        else:
            limits = [self._limits or self._find_limits(image, w) for image, w in zip(batch, what, strict=True)]
            x = torch.stack([normalise(image, lim) for image, lim in zip(batch, limits, strict=True)])
        scale = self._scale or 1.0  # no caller comes here without one
        full = (x.shape[-2], x.shape[-1]) if scale != 1.0 else None
        if full is not None:
            x = resized(x, scale)
        shape = tuple(x.shape[2:])
        jobs = []
        for found, w in zip(predict_candidates(net, x, self.thresholds.prob, tile), what, strict=True):
            kept = keep_best(found, most, shape, self.config.grid, w)
            jobs.append(Job(kept.prob, kept.dist, kept.points, shape, self.thresholds.nms, self.config.rays, full))
        return jobs

    def _find_limits(self, image: Tensor, what: str) -> Limits:
        from divseg.segment.stardist.normalise import find_limits

        o = self.options
        limits = find_limits(image, (o.pmin, o.pmax), o.channels == "joint")
        if limits.flat and bool((image != image.flatten()[0]).any()):
            warnings.warn(
                f"{what}: its percentiles {o.pmin:g} and {o.pmax:g} are equal, so almost all pixels have one value and "
                "the others lie far outside what the network knows; choose pmin and pmax wider apart",
                DivsegWarning,
                stacklevel=2,
            )
        return limits


def _chosen(folder: Path, options: StarDistOptions) -> Thresholds:
    prob, nms = options.prob, options.nms
    if isinstance(prob, float) and isinstance(nms, float):
        return Thresholds(prob, nms)  # nothing to ask the file, nor to warn about
    own = read_thresholds(folder)
    return Thresholds(prob if isinstance(prob, float) else own.prob, nms if isinstance(nms, float) else own.nms)
