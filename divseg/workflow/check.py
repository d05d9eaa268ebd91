"""What can be said of the settings before any work: wrong names and values, files that are not there."""

from __future__ import annotations

import warnings

from divseg.config import RunConfig
from divseg.consensus.fusion import check_choice, check_markers
from divseg.errors import ConfigError, DivsegWarning, InputError
from divseg.io.objects_out import require_roifile
from divseg.io.parquet import require_pyarrow
from divseg.metrics import Calibration
from divseg.results.kept import Kept
from divseg.segment import segmenter
from divseg.segment.ensemble import Ensemble, ensemble
from divseg.workflow.choose_segmenter import asked_candidates
from divseg.workflow.fuse_views import split_markers
from divseg.workflow.volumes import check_dimensions, in_3d


def check_settings(config: RunConfig) -> Ensemble | None:
    """Raise ConfigError for settings that would stop a run later on; return the segmenters, None for ``auto``.

    Names are checked where they are known: each room owns its own.
    """
    check_training(config)
    check_kept(Kept.of(config.output.keep))
    if config.data.volume and (outlines := {"rois", "geojson"} & set(config.output.keep)):
        raise ConfigError(f"keep={outlines.pop()}: outlines are of planes, not of volumes; keep zarr, or give --planes")
    known = load_calibration(config.fusion.calibration, config.fusion.method)
    if config.fusion.max_false is not None:
        if known is None:
            raise ConfigError(
                f"max_false={config.fusion.max_false:g} needs a calibration made with ground truth: give the folder of "
                "divseg calibrate with --calibration"
            )
        known.cutoff(config.fusion.max_false)
    for method in (config.fusion.method, *config.evaluation.compare):
        plain, from_mmse = split_markers(method)
        try:
            check_choice(plain, config.fusion.objective, config.fusion.existence)
            if from_mmse:
                check_markers(plain)
        except InputError as error:
            raise ConfigError(str(error)) from None
    name, volume = config.segmentation.segmenter, config.data.volume
    name = in_3d(name) if volume else name
    if (specs := asked_candidates(name)) is not None:
        for spec in specs if name != "auto" else []:
            check_dimensions(segmenter(spec), volume)
        return None
    named = ensemble(name)
    for part in named.parts:
        check_dimensions(part, volume)
    made_with = None if known is None else known.settings.get("segmenter")
    if made_with not in (None, named.name):
        warnings.warn(
            f"{config.fusion.calibration} was made for segmenter {made_with} but this run segments by {named.name}: "
            "its probabilities will be wrong; calibrate again",
            DivsegWarning,
            stacklevel=2,
        )
    return named


def check_kept(kept: Kept) -> None:
    """Raise ExtraRequired if something is to be kept that cannot be written here."""
    if "rois" in kept:
        require_roifile()
    if "parquet" in kept:
        require_pyarrow()


def check_training(config: RunConfig) -> None:
    """Raise ConfigError for settings that would stop a training.

    Defaults are not checked: that would import torch, which a run that only fuses again does without.
    """
    default = RunConfig()
    if config.noise.noise != default.noise.noise:
        from divseg.denoise.noise.choose import parse_noise

        parse_noise(config.noise.noise)
    if config.sampling.device != default.sampling.device:
        from divseg.device import choose_device

        choose_device(config.sampling.device)
    if config.training.network != default.training.network:
        from divseg.denoise.networks.registry import parse_network

        parse_network(config.training.network)


def load_calibration(path: str | None, method: str) -> Calibration | None:
    """Read a calibration, and warn if it was made for another fusion method."""
    if path is None:
        return None
    calibration = Calibration.load(path)
    if calibration.method != method:
        warnings.warn(
            f"{path} was made for method {calibration.method!r} but this run fuses by {method!r}: "
            "its probabilities will be wrong; calibrate again",
            DivsegWarning,
            stacklevel=2,
        )
    return calibration
