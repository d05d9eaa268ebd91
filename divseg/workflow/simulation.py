"""Simulated images with known truth: a posterior sample is taken as truth, new noise is drawn on it."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from divseg.config import RunConfig
from divseg.errors import InputError
from divseg.io import Image
from divseg.io.joint import first_channel
from divseg.metrics import object_hits
from divseg.metrics.calibrator import compare_result
from divseg.results.rows import pixel_columns
from divseg.segment import Segmenter, segmenter
from divseg.workflow.comparison import write_outcomes
from divseg.workflow.fuse_views import fuse_views
from divseg.workflow.image_stages import RunTools, image_stages
from divseg.workflow.stage import Stage, UnitContext
from divseg.workflow.units import ImageUnit

if TYPE_CHECKING:
    from divseg.denoise import DivNoising

TRIES = 20
"""Places at which a part of an image that holds data is looked for."""

REUSED = ("denoised", "std", "stacks")
"""Kept of a simulated image: another fusion needs neither its samples nor their segmentation again."""

SEED = 1_000_003
"""Added to the seed of the run: what is simulated shares no random number with it."""


@dataclass
class SimulationTools(RunTools):
    """What all simulated images share: that of the run, the IoU above which an object is right, and the raters."""

    iou: float = 0.5
    raters: tuple[str, ...] = ()


@dataclass(frozen=True)
class SimulatedUnit(ImageUnit):
    """An image of a run.

    Its setting ``draw`` numbers the sample of it that is taken as truth, ``side`` is the longest side in pixels of the
    part that is simulated.
    """

    @property
    def name(self) -> str:
        """Name of the image, and the number of the sample."""
        return f"{self.ref.name}_{self.settings['draw']}"

    def row(self) -> dict[str, Any]:
        """Return file, plane, and shape of the part that is simulated."""
        shape = (*self.ref.shape[:-2], *(min(int(self.settings["side"]), n) for n in self.ref.shape[-2:]))
        return super().row() | pixel_columns(shape, self.ref.pixel_size)


def simulated_units(units: Sequence[ImageUnit], count: int, side: int) -> list[SimulatedUnit]:
    """Return `count` units, of parts of at most `side` pixels on a side, spread evenly over those of the run.

    With fewer images, several samples of each are taken.
    """
    of_each, rest = divmod(count, len(units))
    more = {int((k + 0.5) * len(units) / rest) for k in range(rest)} if rest else set()
    numbers = [range(of_each + (i in more)) for i in range(len(units))]
    return [
        SimulatedUnit(unit.ref, None, {"draw": k, "side": side}, unit.together)
        for unit, draws in zip(units, numbers, strict=True)
        for k in draws
    ]


def simulation_stages(config: RunConfig, name: str, iou: float, raters: Sequence[str]) -> list[Stage]:
    """Return the stages of each simulated image: it is made, goes through the path of a run, and is compared.

    Parameters
    ----------
    config : RunConfig
        Settings of the run, as :func:`simulation_config` returns them.
    name : str
        Canonical string of the segmenter.
    iou : float
        An object is right above this IoU with a true one.
    raters : sequence of str
        Canonical strings of the segmenters that draw the truth beside that of the run.
    """
    first = Stage(
        "simulate",
        simulate,
        {
            "seed": config.sampling.seed,
            "precision": config.sampling.precision,
            "segmenter": name,
            "raters": list(raters),
        },
        needs=("model",),
        reads=("image", "together"),
        unit_settings=("draw", "side"),
        recall=simulate_again,
    )
    stages = [first]
    for stage in image_stages(config, name, truth=False)[:3]:  # what is measured of objects is of no use here
        if stage.name == "fuse":
            settings = {**stage.settings, "iou": iou}
            stage = replace(stage, name="compare", process=compare, settings=settings, keeps=())
        stages.append(replace(stage, needs=(*stage.needs, "simulate")))
    return stages


def simulation_config(config: RunConfig) -> RunConfig:
    """Return the settings of a run as they are for its simulated images: a seed of their own, no calibration."""
    return config.replace(seed=config.sampling.seed + SEED, keep=REUSED, calibration=None, max_false=None)


def simulate(context: UnitContext) -> None:
    """Make a simulated image."""
    context.step("simulate")
    simulate_again(context)


def simulate_again(context: UnitContext) -> bool:
    """Bring the simulated image and its truth into memory: the same every time."""
    tools: SimulationTools = context.tools
    sampling, draw = tools.config.sampling, int(context.unit.settings["draw"])
    number = zlib.crc32(context.unit.ref.name.encode(errors="backslashreplace"))
    rng = np.random.default_rng([sampling.seed, number, draw])
    image = part_of(context.unit.joint(), int(context.unit.settings["side"]), rng)
    clean = tools.model.draw(image, [draw], seed=sampling.seed, tile=sampling.tile, precision=sampling.precision)[0]
    noisy = draw_noise(tools.model, clean, image.data, int(rng.integers(2**63)))
    context.memory["joint"] = joint = replace(image, data=noisy, outliers=0)
    context.memory["loaded"] = first_channel(joint)
    clean = clean[0] if context.unit.together else clean
    context.memory["truths"] = true_objects(tools.segment.parts, clean, tools.raters, image.valid)
    return True


def true_objects(
    own: Sequence[Segmenter],
    clean: NDArray[np.float32],
    raters: Sequence[str],
    valid: NDArray[np.bool_] | None = None,
) -> dict[str, NDArray[np.integer]]:
    """Return what is true of a clean image, by the segmenters of the run and by the raters.

    Parameters
    ----------
    own : sequence of Segmenter
        Segmenters of the run.
    clean : float32 array, shape (Y, X)
        The image.
    raters : sequence of str
        Segmenters that draw the truth as well.
    valid : bool array, shape (Y, X), optional
        False where a pixel is no data.

    Returns
    -------
    dict of str to integer array
        Label image by the name of the segmenter, those of the run first.

    Notes
    -----
    A segmenter would find the objects of its own clean image again, however wrong they are: too wide, or two in one.
    What another one draws differs from it as a person would differ, in kind and roughly in size; the lab
    book has the figures.
    """

    def labels(by: Segmenter) -> NDArray[np.integer]:
        return np.asarray(by.within(valid).fit(clean)(clean))

    truths = {segment.name: labels(segment) for segment in own}
    for name in raters:
        rater = segmenter(name)
        if rater.name not in truths:
            truths[rater.name] = labels(rater)
    return truths


def part_of(image: Image, side: int, rng: np.random.Generator) -> Image:
    """Return a part of an image, at a random place, of at most `side` pixels on a side.

    Raises
    ------
    InputError
        If none is found that holds data.
    """
    for _ in range(TRIES):
        starts = [int(rng.integers(max(0, n - side) + 1)) for n in image.data.shape[-2:]]
        rows, columns = (slice(start, start + side) for start in starts)
        valid = None if image.valid is None else image.valid[..., rows, columns]
        if valid is None or valid.any():
            break
    else:
        raise InputError(f"{image.name}: none of {TRIES} parts of {side} pixels holds data; leave the image out")
    valid = None if valid is None or valid.all() else valid
    return replace(image, data=np.ascontiguousarray(image.data[..., rows, columns]), valid=valid)


def draw_noise(
    model: DivNoising, clean: NDArray[np.float32], like: NDArray[np.generic], seed: int
) -> NDArray[np.generic]:
    """Draw a noisy image of a clean one by the noise model of a model.

    Parameters
    ----------
    model : DivNoising
        Its noise model knows the limits of the detector.
    clean : float32 array, shape (Y, X), or (C, Y, X) of a model of several channels
        In intensity units.
    like : array, same shape
        The image of the camera: its number type, and whether it writes whole numbers.
    seed : int
        Seed of the noise.

    Raises
    ------
    InputError
        If the noise model cannot be drawn from.
    """
    import torch

    noise = copy.deepcopy(model.noise).cpu()  # the same numbers on every device
    generator = torch.Generator().manual_seed(seed)
    try:
        with torch.no_grad():
            noisy = noise.sample(torch.from_numpy(clean)[None], generator)[0].numpy()
    except NotImplementedError:
        raise InputError(
            f"the noise model ({noise.kind or type(noise).__name__}) cannot be drawn from, so nothing can be "
            "simulated; calibrate with ground truth"
        ) from None
    if like.dtype.kind in "iu":
        limits = np.iinfo(np.dtype(like.dtype.str))
        return np.clip(np.rint(noisy.astype(np.float64)), limits.min, limits.max).astype(like.dtype)
    whole = bool(np.all(like == np.rint(like.astype(np.float64))))
    return (np.rint(noisy) if whole else noisy).astype(like.dtype)


def compare(context: UnitContext) -> None:
    """Fuse the label images of a simulated image, and compare its objects with the true ones."""
    context.step("compare")
    consensus = fuse_views(context, context.tools.config.fusion.method)
    truths = context.memory["truths"]
    made = {name: compare_result(consensus, truth, iou=context.tools.iou) for name, truth in truths.items()}
    own = truths[context.tools.segment.first.name]
    agreed = {name: int(object_hits(own, truth)["hit"].sum()) for name, truth in truths.items()}
    write_outcomes(context, consensus.objects["label"], made, agreed)
