"""The model of a run: trained on its images, or taken from a folder."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divseg.config import RunConfig
from divseg.errors import ONLY_NOISE, UNFINISHED, ConfigError, InputError, ModelError, some
from divseg.io import Image, ImageList
from divseg.io.joint import JointImages
from divseg.results import RunStore
from divseg.workflow.progress import Reporter
from divseg.workflow.stage import RunContext, RunStage
from divseg.workflow.units import ImageUnit

if TYPE_CHECKING:
    from divseg.denoise import DivNoising


def model_stage(units: list[ImageUnit], config: RunConfig, folder: Path | None) -> RunStage:
    """Return the stage that makes the model of a run: trains one, or takes the one of a folder.

    Raises
    ------
    ConfigError
        If there is no such folder.
    ModelError
        If it is damaged.
    """
    from divseg.denoise.model_folder import check_model, fingerprint_model, load_parts, save_model

    if folder is not None:
        if not folder.is_dir():
            raise ConfigError(f"there is no model folder {folder}")
        check_model(folder)

        def take(context: RunContext) -> dict[str, Any]:
            parts = load_parts(folder)
            if folder.resolve() != context.store.model.resolve():
                save_model(parts, context.store.model)
            context.reporter.say(f"model: {folder} ({parts.noise.describe()})")
            _tell_shortfalls(parts.training, context.reporter)
            return {"model": fingerprint_model(context.store.model)}

        return RunStage("model", take, {"model": fingerprint_model(folder)}, recall=_is_there)

    files = [[unit.name, list(unit.ref.shape), list(unit.ref.stat()[:2])] for unit in units]
    settings = {"data": config.data.pixels, "files": files}
    return training_stage(config, settings, prepare=lambda context: drop_unusable(context, config))


def training_stage(
    config: RunConfig,
    settings: Mapping[str, Any] | None = None,
    *,
    needs: tuple[str, ...] = (),
    prepare: Callable[[RunContext], None] = lambda context: None,
    finish: Callable[[Path], object] = lambda folder: None,
) -> RunStage:
    """Return the stage that trains on the images of all units.

    Parameters
    ----------
    config : RunConfig
        Settings of the training.
    settings : mapping, optional
        What else the model depends on.
    needs : tuple of str
        Stages that come before it.
    prepare : callable
        Called first; may take out units.
    finish : callable
        Called last, with the model folder.
    """
    from divseg.denoise.model_folder import fingerprint_model
    from divseg.denoise.noise_file_names import noise_key

    def train_on_images(context: RunContext) -> dict[str, Any]:
        prepare(context)
        images, folder = _large_enough(context), context.store.model
        train(images, config, context.reporter, checkpoints=folder).save(folder)
        finish(folder)
        return {"model": fingerprint_model(folder)}

    t = config.training
    own = [noise_key(config.noise.noise), t.network, t.train_steps, t.train_minutes, config.sampling.seed]
    return RunStage("model", train_on_images, {"training": own, **(settings or {})}, needs, recall=_is_there)


def _large_enough(context: RunContext) -> ImageList:
    """Return the images to train on: without those smaller than a crop, which would make all crops as small.

    They stay if they hold more than a tenth of all pixels, and are denoised and segmented in any case.
    """
    from divseg.denoise.training.settings import TrainSettings

    side = TrainSettings().patch
    units = list(context.units)
    large = [unit for unit in units if len(unit.ref.shape) > 2 or min(unit.ref.shape) >= side]
    sizes = [sum(math.prod(unit.ref.shape) for unit in some_of) for some_of in (large, units)]
    if len(large) < len(units) and sizes[0] >= 0.9 * sizes[1]:
        names = [unit.name for unit in units if unit not in large]
        context.reporter.say(f"note: smaller than a crop of {side} pixels, and not trained on: {some(names)}")
        units = large
    return JointImages([unit.ref for unit in units], [list(unit.together.values()) for unit in units])


def _is_there(context: RunContext, outcome: Mapping[str, Any]) -> bool:
    """Tell whether the model of an earlier run is still the one that it was, and whole."""
    from divseg.denoise.model_folder import check_model, fingerprint_model

    folder = context.store.model
    try:
        check_model(folder)
    except ModelError:
        return False
    if fingerprint_model(folder) != outcome.get("model"):
        return False
    context.reporter.say(f"model: {folder}, made before")
    return True


def drop_unusable(context: RunContext, config: RunConfig) -> None:
    """Note the images that cannot be trained on as failures.

    Raises
    ------
    InputError
        If none can be.
    """
    reason, side = "", smallest_side(config)
    for unit in list(context.units):
        try:
            check_image(unit.load(), side)
            unit.joint()
        except Exception as error:  # one file never stops a folder, whatever is wrong with it
            context.fail(unit, "read", error)
            reason = reason or str(error)
    if not context.units:
        raise InputError(f"none of the images can be used: {reason}")


def smallest_side(config: RunConfig, model: str | os.PathLike[str] | None = None) -> int:
    """Return the fewest pixels on a side of an image, for the network of a model or for that of the settings."""
    from divseg.denoise.model_folder import load_parts
    from divseg.denoise.networks.registry import default_network, parse_network

    if model is not None:
        return load_parts(Path(model)).network.config.smallest_side
    name = network_of(config)
    return (default_network(3) if name is None else parse_network(name)).smallest_side


def network_of(config: RunConfig) -> str | None:
    """Return the network of the settings; None, the default for volumes, where it is not set and images are 3-D."""
    name = config.training.network
    return None if config.data.volume and name == RunConfig().training.network else name


def check_image(image: Image, side: int) -> None:
    """Raise InputError if an image cannot be denoised, such as one with a side of fewer than `side` pixels."""
    from divseg.denoise.validation import pixels

    pixels(image, side)


def train(images: ImageList, config: RunConfig, reporter: Reporter, *, checkpoints: Path) -> DivNoising:
    """Train on images with the settings of a run; goes on from a checkpoint of the same training if there is one."""
    from divseg.denoise import DivNoising

    reporter.say(f"training on {len(images)} images")
    model = DivNoising.fit(
        images,
        noise=config.noise.noise,
        network=network_of(config),
        train_steps=config.training.train_steps,
        train_minutes=config.training.train_minutes,
        seed=config.sampling.seed,
        device=config.sampling.device,
        progress=reporter.training,
        checkpoints=checkpoints,
        resume="auto",
    )
    t = model.training
    _tell_shortfalls(t, reporter)
    reporter.say(
        f"trained {t['steps']} steps in {t['seconds']:.0f} s on {t['device']} ({t['stopped']}); "
        f"KL {t['kl_per_pixel']:.4f} nats per pixel; {model.noise.describe()}"
    )
    return model


def _tell_shortfalls(record: Mapping[str, Any], reporter: Reporter) -> None:
    """Tell what speaks against a training having converged, or that there was nothing to learn."""
    if record.get("only_noise"):
        reporter.say(f"note: {ONLY_NOISE.lead}. {ONLY_NOISE.trust} {ONLY_NOISE.look}")
    if words := record.get("shortfalls"):
        reporter.say(f"note: {UNFINISHED.says('; '.join(words))}. {UNFINISHED.trust} {UNFINISHED.look}")


def training_seconds(config: RunConfig, store: RunStore) -> float:
    """Return how long training will take: its budget, or its steps at the rate of the model in a run folder."""
    from divseg.denoise.model_folder import read_training
    from divseg.denoise.training.schedule import DEFAULT_MINUTES

    steps, minutes = config.training.train_steps, config.training.train_minutes
    if steps is None:
        return 60.0 * (DEFAULT_MINUTES if minutes is None else minutes)
    record = read_training(store.model)
    seconds = float(record["seconds"]) / max(int(record["steps"]), 1) * steps
    return seconds if minutes is None else min(seconds, 60.0 * minutes)
