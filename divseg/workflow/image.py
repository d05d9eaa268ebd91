"""One image: posterior samples, a label image of each, one consensus. The only place that knows all three."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage as ndi

from divseg.config import RunConfig, split_markers
from divseg.consensus import Consensus, assess, fuse
from divseg.denoise.divnoising import DivNoising
from divseg.denoise.noise import neighbour_correlation
from divseg.denoise.sampling.estimates import RunningMoments
from divseg.denoise.sampling.tiles import Posterior
from divseg.denoise.smoothing import smoothed
from divseg.denoise.validation import plane
from divseg.io import Image
from divseg.metrics import agreement_weights, evaluate
from divseg.segment import Segmenter

SAMPLE_MEMORY = 2**28
"""Bytes of samples held between the two passes; more than that are drawn a second time."""

MEANS = 4
"""Samples in a mean that votes beside single samples, where all views vote."""

SAMPLES_SHARE = 0.5
"""Share of the votes that the samples have where all views vote; the others share the rest by their agreement."""

CORRELATED = 0.06
"""Correlation of the noise of neighbours above which the user is warned that the noise model is wrong."""

Step = Callable[[str], None]


@dataclass(frozen=True)
class ImageResult:
    """Everything that was found out about one image; arrays have shape (Y, X) unless said otherwise."""

    mmse: NDArray[np.float32]
    sd: NDArray[np.float32]
    samples: NDArray[np.float32]
    """The first few samples, (S, Y, X)."""
    consensus: Consensus
    scores: list[dict[str, Any]] = field(default_factory=list)
    """A row for each input of the segmenter that was scored, with truth only."""
    warnings: list[str] = field(default_factory=list)
    noise_correlation: tuple[float, float] = (0.0, 0.0)
    """Correlation of the noise of horizontal and vertical neighbours."""


def process_image(
    image: Image,
    model: DivNoising,
    segment: Segmenter,
    config: RunConfig,
    *,
    truth: NDArray[np.integer] | None = None,
    step: Step | None = None,
) -> ImageResult:
    """Take one noisy image to its consensus.

    Parameters
    ----------
    image : Image
        Axes YX.
    model : DivNoising
        Trained on images like this one.
    segment : Segmenter
        Applied to every sample; thresholds of kind ``image`` are taken from the MMSE.
    config : RunConfig
        Number of samples, seed, fusion.
    truth : array of integers, shape (Y, X), optional
        Ground-truth label image; scores of consensus and baselines are then computed.
    step : callable, optional
        Told what begins.

    Returns
    -------
    ImageResult
    """
    tell = step or (lambda _: None)
    noisy = plane(image).astype(np.float32)
    tell("denoise")
    draws = _Draws(model, model.posterior(image, tile=config.tile), config, noisy.size)
    moments, first = draws.first_pass()
    mmse, sd = moments.mean.cpu().numpy(), moments.std.cpu().numpy()
    correlation = neighbour_correlation(noisy)
    warnings = []
    if max(map(abs, correlation)) > max(CORRELATED, 15.0 / noisy.size**0.5):  # three standard errors or more
        warnings.append(
            f"the noise of neighbouring pixels is correlated (x {correlation[0]:.2f}, y {correlation[1]:.2f}); the "
            "noise model assumes it is not, so parts of the noise may be kept as structure"
        )
    tell("segment")
    fitted = segment.fit(mmse)
    methods = list(dict.fromkeys([config.method, *(config.compare if truth is not None else ())]))
    options: dict[str, Any] = {"target": config.target, "existence": config.existence}
    if len(methods) == 1 and truth is None and config.voters == "samples":
        result = _fused(_found(fitted, draws.voters()), methods[0], lambda: fitted(mmse), options)
        return ImageResult(mmse, sd, first, result, [], warnings, correlation)
    masks = [_compact(labels) for labels in _found(fitted, draws.voters())]
    voters = masks
    if config.voters == "all":
        tell("segment other views")
        groups = [masks, *_other_views(draws, noisy, mmse, segment, fitted)]
        seen = [[getattr(m, "labels", m) for m in group] for group in groups]
        weights = agreement_weights(seen, first=SAMPLES_SHARE)
        voters = [m for group in groups for m in group]
        options["weights"] = [w / len(group) for w, group in zip(weights, groups, strict=True) for _ in group]
    tell("fuse")
    fused = {method: _fused(voters, method, lambda: fitted(mmse), options) for method in methods}
    if voters is not masks:  # existence and intervals are what the samples alone say, whoever drew the outlines
        fused = {method: _by_samples(found, masks) for method, found in fused.items()}
    rows: list[dict[str, Any]] = []
    if truth is not None:
        tell("score")
        rows = list(_baseline_rows(noisy, mmse, segment, fitted, truth, config))
        single = [evaluate(getattr(m, "labels", m), truth).as_row() for m in masks]
        rows += [{"input": "single sample", "draw": k, **row} for k, row in enumerate(single)]
        rows += [{"input": f"consensus {method}", **evaluate(c.labels, truth).as_row()} for method, c in fused.items()]
    return ImageResult(mmse, sd, first, fused[config.method], rows, warnings, correlation)


def _other_views(
    draws: _Draws, noisy: NDArray[np.float32], mmse: NDArray[np.float32], segment: Segmenter, fitted: Segmenter
) -> Iterator[list[Any]]:
    """Yield groups of label images beside those of the samples: of means of four, of the MMSE, of smoothed images."""
    if draws.config.samples >= 2 * MEANS and draws.config.group == 1:
        yield [_compact(found) for found in _found(fitted, draws.means(MEANS))]
    yield [_compact(found) for found in _found(fitted, iter([mmse[None]]))]
    for _, smooth in smoothed(noisy, draws.model.noise):
        yield [_compact(found) for found in _found(segment.fit(smooth), iter([smooth[None]]))]


def _fused(masks: Any, method: str, segment_mmse: Callable[[], Any], options: dict[str, Any]) -> Consensus:
    """Fuse by a method, with the objects of the MMSE as its markers where it asks for them."""
    plain, from_mmse = split_markers(method)
    return fuse(masks, method=plain, **options, **({"markers": segment_mmse()} if from_mmse else {}))


def _by_samples(found: Consensus, masks: list[Any]) -> Consensus:
    """Return a consensus of all voters with what the samples say of its objects."""
    return replace(assess(found.labels, masks), method=found.method, alternatives=found.alternatives)


def _found(fitted: Segmenter, images: Iterator[NDArray[np.float32]]) -> Iterator[Any]:
    """Yield label images, with the probability of each object where the segmenter gives one."""
    details = getattr(fitted, "details", None)
    return iter(fitted(images) if details is None else details(images))


def _compact(found: Any) -> Any:
    labels = getattr(found, "labels", found)
    small = labels.astype(np.uint16) if labels.max(initial=0) < 2**16 else labels
    return small if labels is found else replace(found, labels=small)


def _baseline_rows(
    noisy: NDArray[np.float32],
    mmse: NDArray[np.float32],
    segment: Segmenter,
    fitted: Segmenter,
    truth: NDArray[np.integer],
    config: RunConfig,
) -> Iterator[dict[str, Any]]:
    """Score the same segmenter on the noisy image, on smoothed ones and on the MMSE."""
    yield {"input": "noisy", **evaluate(segment.fit(noisy)(noisy), truth).as_row()}
    for sd in config.baseline_sds:
        smooth = ndi.gaussian_filter(noisy, sd)
        yield {"input": f"gaussian sd={sd:g}", **evaluate(segment.fit(smooth)(smooth), truth).as_row()}
    yield {"input": "mmse", **evaluate(fitted(mmse), truth).as_row()}


class _Draws:
    """The samples of one image, passed over twice: for the MMSE, and for the segmenter."""

    def __init__(self, model: DivNoising, posterior: Posterior, config: RunConfig, pixels: int) -> None:
        self.model, self.posterior, self.config = model, posterior, config
        self.hold = 4 * pixels * config.samples <= SAMPLE_MEMORY
        self.held: list[torch.Tensor] = []

    def _batches(self) -> Iterator[torch.Tensor]:
        c = self.config
        return self.model.sample(self.posterior, n=c.samples, seed=c.seed, tile=c.tile)

    def first_pass(self) -> tuple[RunningMoments, NDArray[np.float32]]:
        """Mean and spread of all samples, and the first few samples themselves."""
        running = RunningMoments()
        first: list[NDArray[np.float32]] = []
        for batch in self._batches():
            running.add(batch)
            room = self.config.keep_samples - len(first)
            first.extend(s.cpu().numpy() for s in batch[: max(0, room)])
            if self.hold:
                self.held.append(batch)
        self.mean = running.mean.reshape(1, *self.posterior.shape).float()
        height, width = self.posterior.shape
        return running, np.stack(first) if first else np.empty((0, height, width), np.float32)

    def voters(self) -> Iterator[NDArray[np.float32]]:
        """Yield what is segmented, as (B, Y, X) batches: samples, means of groups of them, or nearer to the MMSE."""
        mean, spread = self.mean, self.config.spread
        for batch in self._grouped(self.config.group):
            near = batch if spread == 1.0 else mean + spread * (batch - mean)
            yield near.cpu().numpy()

    def means(self, size: int) -> Iterator[NDArray[np.float32]]:
        """Yield means of groups of `size` samples, as (1, Y, X) batches."""
        return (mean.cpu().numpy() for mean in self._grouped(size))

    def _grouped(self, size: int) -> Iterator[torch.Tensor]:
        batches = iter(self.held) if self.hold else self._batches()
        if size == 1:
            yield from batches
            return
        singles = (sample for batch in batches for sample in batch)
        while chunk := list(islice(singles, size)):
            yield torch.stack(chunk).mean(0, keepdim=True)
