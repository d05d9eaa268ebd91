"""What can be told of the settings before any work: wrong names and values, files that are not there."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from divseg.config import RunConfig, split_markers
from divseg.errors import ConfigError, DivsegWarning, InputError
from divseg.segment import Segmenter, segmenter
from divseg.workflow.choose_segmenter import asked_candidates

if TYPE_CHECKING:
    from divseg.metrics import Calibration


def check_settings(config: RunConfig) -> Segmenter | None:
    """Raise ConfigError for settings that would stop a run later on; return the segmenter, None for ``auto``.

    Names are checked where they are known: each room owns its own.
    """
    from divseg.consensus.fuse import check_choice, check_markers
    from divseg.denoise.networks.registry import parse_network
    from divseg.denoise.noise.choose import parse_noise
    from divseg.device import choose_device

    parse_noise(config.noise)
    choose_device(config.device)
    parse_network(config.network)
    load_calibration(config)
    for method in (config.method, *config.compare):
        plain, from_mmse = split_markers(method)
        try:
            check_choice(plain, config.target, config.existence)
            if from_mmse:
                check_markers(plain)
        except InputError as error:
            raise ConfigError(str(error)) from None
    return segmenter(config.segmenter) if asked_candidates(config.segmenter) is None else None


def load_calibration(config: RunConfig) -> Calibration | None:
    """Read the calibration that the settings name, and say so where it was made for another fusion method."""
    if config.calibration is None:
        return None
    from divseg.metrics import Calibration

    found = Calibration.load(config.calibration)
    if found.method != config.method:
        warnings.warn(
            f"{config.calibration} was made for method {found.method!r} but this run fuses by {config.method!r}: "
            "its confidences will be wrong; calibrate again",
            DivsegWarning,
            stacklevel=2,
        )
    return found
