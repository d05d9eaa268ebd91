"""What a run warns of at each image: noise, detector, fit of the noise model, objects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from divseg.errors import CORRELATED, DOUBTFUL, INVALID, MISFIT, NOTHING, OUTLIERS, SATURATED
from divseg.io import Image
from divseg.io.defects import within
from divseg.workflow.stage import UnitContext

MAX_CEILING, MAX_FLOOR = 0.005, 0.1
"""Fractions of the pixels at a limit of the detector above which the user is warned; dark parts seldom matter."""

SURE = 0.8
"""Existence of an object that is taken as certain."""

MIN_SURE = 0.1
"""Fraction of the objects that are certain, below which none can be told from noise."""


def warn_of_pixels(context: UnitContext, noisy: NDArray[np.generic]) -> dict[str, Any]:
    """Warn of pixels without data, correlated noise, outliers and saturation; return columns of images.csv."""
    from divseg.denoise.noise import noise_spectrum
    from divseg.denoise.noise.limits import LimitFinder

    image: Image = context.load()
    if image.valid is not None:
        context.warn(INVALID.says(f"{image.invalid:.1%} of the pixels (padding or NaN)"))
    spectrum = noise_spectrum(noisy)
    if spectrum.is_correlated:
        context.warn(CORRELATED.says(spectrum.details))
    if image.outliers:
        context.warn(OUTLIERS.says(f"{image.outliers} of {noisy.size} pixels, such as hot pixels, cosmic rays or dust"))
    pixels = within(np.asarray(noisy, np.float64), image.valid)
    finder = LimitFinder()
    finder.add(noisy)
    floor, ceiling = finder.find()
    at_floor = 0.0 if floor is None else float((pixels <= floor).mean())
    at_ceiling = 0.0 if ceiling is None else float((pixels >= ceiling).mean())
    parts = []
    if at_ceiling > MAX_CEILING:
        parts.append(f"{100 * at_ceiling:.1f} % of the pixels have the largest value {ceiling:g}")
    if at_floor > MAX_FLOOR:
        parts.append(f"{100 * at_floor:.1f} % of the pixels have the smallest value {floor:g} (dark parts are cut off)")
    if parts:
        context.warn(SATURATED.says("; ".join(parts)))
    return {
        "noise_rows": spectrum.rows,
        "noise_columns": spectrum.columns,
        "noise_smooth": spectrum.smooth,
        "at_floor": at_floor,
        "at_ceiling": at_ceiling,
    }


def warn_of_misfit(context: UnitContext, heights: NDArray[np.float64]) -> dict[str, Any]:
    """Warn of ranks that are not evenly distributed; return a column of images.csv."""
    from divseg.denoise.rank_histogram import MISFIT as LARGEST
    from divseg.denoise.rank_histogram import misfit, misfit_words

    worst = float(misfit(heights).max())
    if worst > LARGEST:
        context.warn(MISFIT.says(misfit_words(heights)))
    return {"noise_misfit": worst}


def warn_of_objects(context: UnitContext, objects: pd.DataFrame) -> None:
    """Warn of an image without objects, or without certain ones."""
    if not len(objects):
        context.warn(NOTHING.lead)
        return
    sure = float((objects["existence"] >= SURE).mean())
    if sure < MIN_SURE:
        context.warn(
            DOUBTFUL.says(
                f"{100 * sure:.0f} % of {len(objects)} objects are in {100 * SURE:.0f} % of the samples or more"
            )
        )
