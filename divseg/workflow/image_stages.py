"""The stages of one image in ``divseg run``: denoise, segment, fuse, measure, baselines, score."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from divseg.config import RunConfig
from divseg.consensus import Consensus, LabelStack, assess
from divseg.errors import InputError
from divseg.io import Image
from divseg.io.defects import blank, within
from divseg.io.pixel_size import plane_distance
from divseg.io.rounding import step_of, to_bits, to_step
from divseg.metrics import Calibration, agreement_weights
from divseg.metrics.calibration import object_score
from divseg.metrics.posterior import Moments, object_moments
from divseg.results.intensities import load_moments, save_moments
from divseg.results.kept import MAPS, Kept
from divseg.results.rows import consensus_columns, defect_columns
from divseg.results.writer import file_sha256
from divseg.segment.ensemble import Ensemble, ensemble
from divseg.workflow.crops import CropWatch
from divseg.workflow.fuse_views import fuse_views
from divseg.workflow.image_warnings import warn_of_misfit, warn_of_objects, warn_of_pixels
from divseg.workflow.measure import export, measure
from divseg.workflow.moments import mmse, recall_denoised
from divseg.workflow.samples import Samples
from divseg.workflow.score_stages import score_baselines, score_consensus
from divseg.workflow.stage import Stage, UnitContext

if TYPE_CHECKING:
    import torch

    from divseg.denoise import DivNoising
    from divseg.denoise.noise import NoiseModel

MEANS = 4
"""Samples in a mean that is fused beside single samples, if all views are fused."""

SAMPLES_FRACTION = 0.5
"""Fraction of the votes that the samples have, if all views are fused; the others share the rest by their agreement."""


@dataclass
class RunTools:
    """What all images of a run share; opened in each process when it is first needed.

    Attributes
    ----------
    model_folder : Path
        Folder of the model.
    config : RunConfig
        Settings of the run.
    segmenter : str
        Segmenter of the run, or several of them; what the samples chose if they did.
    calibration_file : path, optional
        The calibration, if there is one.
    """

    model_folder: Path
    config: RunConfig
    segmenter: str
    calibration_file: str | Path | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what can be opened anew."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def model(self) -> DivNoising:
        """The model."""
        from divseg.denoise import DivNoising

        return DivNoising.load(self.model_folder, device=self.config.sampling.device)

    @cached_property
    def segment(self) -> Ensemble:
        """The segmenters."""
        return ensemble(self.segmenter)

    def segment_of(self, image: Image) -> Ensemble:
        """Return the segmenters, told what of an image is data and how far its planes are apart."""
        return self.segment.within(image.valid).spaced(plane_distance(image.pixel_size))

    @property
    def noise(self) -> NoiseModel:
        """The noise of the channel that is segmented."""
        from divseg.denoise.training.likelihood import noise_of

        return noise_of(self.model.noise, 0)

    @property
    def kept(self) -> Kept:
        """What is kept of each image."""
        return Kept.of(self.config.output.keep)

    @cached_property
    def calibration(self) -> Calibration | None:
        """The calibration, if there is one."""
        return None if self.calibration_file is None else Calibration.load(self.calibration_file)


def image_stages(config: RunConfig, name: str, truth: bool, *, simulated: bool = False) -> list[Stage]:
    """Return the stages of each image.

    Parameters
    ----------
    config : RunConfig
        Settings of the run.
    name : str
        Canonical string of the segmenter, or of several.
    truth : bool
        Whether images are scored.
    simulated : bool
        Whether the stage *simulate* comes before them and may have made a calibration.
    """
    s, f, e, kept = config.sampling, config.fusion, config.evaluation, Kept.of(config.output.keep)
    calibration = None if f.calibration is None else asdict(Calibration.load(f.calibration))
    choice = {"objective": f.objective, "existence": f.existence, "snr": f.snr, "fuse_with": f.fuse_with}
    stages = [
        Stage(
            "denoise",
            denoise,
            {
                "samples": s.samples,
                "seed": s.seed,
                "precision": s.precision,
                "data": config.data.pixels,
            },
            needs=("model",),
            reads=("image", "together"),
            recall=recall_denoised,
            keeps=kept.of_stage("denoised", "std", "crops", "samples"),
        ),
        Stage(
            "segment",
            segment_samples,
            {"segmenter": name, "fuse_with": f.fuse_with},
            needs=("denoise",),
            recall=recall_stack,
            keeps=kept.of_stage("stacks"),
        ),
        Stage(
            "fuse",
            fuse_samples,
            {"method": f.method, "calibration": calibration, "max_false": f.max_false, **choice},
            needs=("denoise", "segment", *(["simulate"] if simulated else [])),
            reads=("image",),
            keeps=kept.of_stage(*MAPS),
        ),
        Stage(
            "measure",
            measure,
            {"channels": config.data.measure},
            needs=("denoise", "segment", "fuse"),
            reads=("image", "measured"),
        ),
    ]
    outlines = () if config.data.volume else ("rois", "geojson")  # of planes
    if exported := kept.of_stage(*outlines, "zarr"):
        images = ("denoise",) if "zarr" in exported else ()
        stages.append(Stage("export", export, needs=(*images, "fuse"), keeps=exported))
    if truth:
        stages += [
            Stage("baselines", score_baselines, {"sigmas": e.baseline_sigmas}, needs=("segment",), reads=("truth",)),
            Stage(
                "score",
                score_consensus,
                {"compare": e.compare, **choice},
                needs=("denoise", "segment", "fuse"),
                reads=("truth",),
            ),
        ]
    return stages


# --- denoise


def drawn_samples(context: UnitContext) -> Samples:
    """Return the samples of an image, of all channels that are denoised together."""
    joint = context.memory.get("joint")  # of a simulated image
    image = context.load() if not context.unit.together else context.unit.joint() if joint is None else joint
    return Samples(context.tools.model, image, context.tools.config.sampling)


def denoise(context: UnitContext) -> None:
    """Draw samples; write their mean, their standard deviation and the first of them.

    Mean and standard deviation are rounded (:mod:`divseg.io.rounding`), whether they are kept or not, so that later
    stages see the same numbers in memory and in the files.
    """
    from divseg.denoise.rank_histogram import RankHistogram
    from divseg.denoise.validation import pixels

    config: RunConfig = context.tools.config
    kept = context.tools.kept
    context.step("denoise")
    image = context.load()
    noisy = pixels(image, context.tools.model.network.config.smallest_side)
    pixel_columns = warn_of_pixels(context, noisy)
    ranks = RankHistogram(context.tools.noise, noisy, config.sampling.seed)
    samples = context.memory["samples"] = drawn_samples(context)
    crops = CropWatch(noisy) if "crops" in kept else None

    def watch(batch: torch.Tensor) -> None:
        ranks.add(batch)
        if crops is not None:
            crops.add(batch)

    moments, first = samples.moments(watch, kept.samples)
    mean, spread = moments.mean.cpu().numpy(), moments.std.cpu().numpy()
    if context.unit.together:
        others = [to_step(m, step_of(within(s, image.valid))) for m, s in zip(mean[1:], spread[1:], strict=True)]
        mean, spread = mean[0], spread[0]
        context.memory["blank other means"] = blank(np.stack(others), image.valid)
    mean, spread = to_step(mean, step_of(within(spread, image.valid))), to_bits(spread)
    # what is no data is blank in every result
    mean, spread = blank(mean, image.valid), blank(spread, image.valid)
    context.memory |= {"blank mmse": mean, "blank std": spread}
    context.write.info["device"] = str(context.tools.model.device)
    write, size = context.write, image.pixel_size
    if "denoised" in kept:
        write.denoised(mean, size, compress=True)
        if context.unit.together:
            write.channels(context.memory["blank other means"], size)
    if "std" in kept:
        write.map("std", spread, size, compress=True)
    if crops is not None:
        write.crop(crops.crop)
    if kept.samples:
        write.samples(blank(first, image.valid), size, several=bool(context.unit.together))
    write.row |= {
        **context.unit.row(),
        **defect_columns(image),
        "std_mean": float(within(spread, image.valid).mean()),
        **pixel_columns,
        **warn_of_misfit(context, ranks.heights()),
    }


# --- segment


def segment_samples(context: UnitContext) -> None:
    """Segment every sample, and the other views; write all label images, and the weights they are fused with.

    Each segmenter of a run segments them all: of each image there are as many label images as segmenters.
    """
    from divseg.denoise.smoothing import smoothed

    config: RunConfig = context.tools.config
    segment: Ensemble = context.tools.segment_of(context.load())
    context.step("segment")
    samples = context.memory.get("samples") or drawn_samples(context)
    mean = mmse(context)
    fitted = segment.fit(mean)
    every = config.fusion.fuse_with == "all"
    views, intensities = segment_and_measure(fitted, samples)
    if every and samples.settings.samples >= 2 * MEANS:
        views["means"] = list(chain.from_iterable(fitted(samples.means(MEANS))))
    views["mmse"] = list(next(fitted([mean])))
    if every:
        context.step("segment other views")
        noisy = context.load().data.astype(np.float32)
        distance = plane_distance(context.load().pixel_size)
        for i, (_, smooth) in enumerate(smoothed(noisy, context.tools.noise, distance or 1.0)):
            views[f"smoothed {i}"] = list(next(fitted.fit(smooth)([smooth])))
        weights = agreement_weights([list(group) for group in views.values()], first=SAMPLES_FRACTION)
        context.write.info["weights"] = [
            weight / len(group) for weight, group in zip(weights, views.values(), strict=True) for _ in group
        ]
    stack = LabelStack.of(labels for group in views.values() for labels in group)
    context.write.info["views"] = {name: len(group) for name, group in views.items()}
    if "stacks" in context.tools.kept:
        context.write.stack(stack.save)
        context.write.intensities(lambda path: save_moments(path, intensities))
    context.memory |= {"stack": stack, "intensities": intensities, "segment info": context.write.info}


def segment_and_measure(fitted: Ensemble, samples: Samples) -> tuple[dict[str, list[Any]], list[list[Moments]]]:
    """Return the label images of each sample in turn, and the intensity of their objects in that sample.

    Objects are measured in each channel of the sample: those that are denoised together.
    """
    from divseg.device.to_host import to_host

    waiting: deque[NDArray[np.float32]] = deque()  # no longer than the segmenter looks ahead

    def passed() -> Iterator[torch.Tensor]:
        for batch in samples.joint():
            waiting.extend(to_host(batch))
            yield samples.own(batch)

    found, intensities = [], []
    for several in fitted(passed()):
        sample = waiting.popleft()
        for labels in several:
            found.append(labels)
            drawn = np.asarray(labels)
            channels = sample.reshape(-1, *drawn.shape)
            intensities.append([object_moments(drawn, channel) for channel in channels])
    return {"samples": found}, intensities


def recall_stack(context: UnitContext) -> bool:
    """Read the label images of an earlier run; False if their file is not there or is not what was written."""
    if "stacks" not in context.marker.stages["segment"].kept:
        return False
    context.memory["segment info"] = context.marker.stages["segment"].info
    otherwise = "the samples are segmented again"
    try:
        context.memory["intensities"] = load_moments(context.store.intensities(context.unit.name))
    except InputError as error:
        context.warn(f"{error}; {otherwise}")
        return False
    return read_kept_stack(context, "segment", otherwise)


def read_kept_stack(context: UnitContext, stage: str, otherwise: str) -> bool:
    """Read the stack that a stage has written; False, with a warning, if its file is not what was written."""
    path = context.store.stack(context.unit.name)
    try:
        if file_sha256(path) != context.marker.stages[stage].info.get("stack_sha256"):
            raise InputError("it is not the file that was written")
        context.memory["stack"] = LabelStack.load(path)
    except (InputError, OSError) as error:
        context.warn(f"{path.name} is damaged or of other settings ({error}); {otherwise}")
        return False
    return True


# --- fuse


def fuse_samples(context: UnitContext) -> None:
    """Fuse the label images; write labels, objects and maps."""
    config: RunConfig = context.tools.config
    context.step("fuse")
    calibration: Calibration | None = context.tools.calibration
    consensus = fuse_views(context, config.fusion.method)
    if calibration is not None and config.fusion.max_false is not None:
        consensus = likely(context, consensus, calibration.cutoff(config.fusion.max_false))
    context.memory["consensus"] = consensus
    write, size = context.write, context.unit.ref.pixel_size
    for kind in MAPS:
        if kind in context.tools.kept:
            write.fractions(kind, getattr(consensus, kind), size)
    write_consensus(context, consensus, calibration)
    warn_of_objects(context, consensus.objects)


def write_consensus(context: UnitContext, consensus: Consensus, calibration: Calibration | None) -> None:
    """Write labels, objects and alternatives, and the row of the consensus."""
    objects = consensus.objects if calibration is None else calibration.apply(consensus.objects)
    context.write.objects(objects, consensus.alternatives)
    context.write.labels(consensus.labels, context.unit.pixel_size)
    weights = None if len(set(consensus.weights.tolist())) == 1 else consensus.weights
    context.write.row |= consensus_columns(consensus, calibration, weights)


def likely(context: UnitContext, consensus: Consensus, cutoff: float) -> Consensus:
    """Return the consensus of the objects whose score (:func:`object_score`) is above a cut-off."""
    kept = object_score(consensus.objects) > cutoff
    labels = np.where(np.concatenate([[False], kept])[consensus.labels], consensus.labels, 0)
    n = context.memory["segment info"]["views"]["samples"]
    made = assess(replace(consensus, labels=labels), context.memory["stack"].select(range(n)))
    for column in [name for name in consensus.objects if name not in made.objects]:  # what the images say of them
        values = consensus.objects[column].to_numpy()[kept]
        made.objects.insert(list(consensus.objects).index(column), column, values)
    return made
