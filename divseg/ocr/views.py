"""What is read of the samples of a page: means of some of them.

A single sample shows letters as sharp as they may be, with noise of the posterior that confuses an engine; the mean of
all can be read, but only once. Means of random subsets lie between (bagging): they can be read, and their
errors differ. Enlargements beside the best one make errors of the engine differ further.

References
----------
Breiman, "Bagging predictors", Machine Learning 24 (1996).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from divseg.ocr.engines import Engine
from divseg.ocr.page import Page
from divseg.ocr.reading import Reading

READINGS = 24
"""Most readings of a page, unless asked for otherwise."""
PART = 4
"""Each reading is of the mean of one in so many samples."""


def subsets(
    samples: int, group: int | None = None, readings: int | None = None, seed: int = 0
) -> list[NDArray[np.intp]]:
    """Return which samples are averaged for each reading.

    Parameters
    ----------
    samples : int
        Number of samples.
    group : int, optional
        Samples averaged for each reading, at most all; a quarter of them by default. 1 reads single samples.
    readings : int, optional
        Number of readings; by default one a sample, and 24 at most unless single samples are read.
    seed : int
        Of the choice.

    Returns
    -------
    list of int array
        Without repetition in each. Single samples are taken in turn.
    """
    group = min(group or max(samples // PART, 1), samples)
    if group == 1:
        return [np.array([k % samples]) for k in range(readings or samples)]
    if group == samples:
        return [np.arange(samples)] * (readings or 1)
    rng = np.random.default_rng([seed, samples, group])
    return [np.sort(rng.choice(samples, group, replace=False)) for _ in range(readings or min(samples, READINGS))]


def read_views(
    samples: NDArray[np.float32], page: Page, engine: Engine, chosen: Sequence[NDArray[np.intp]], around: bool = True
) -> list[Reading]:
    """Return the readings of means of samples.

    Parameters
    ----------
    samples : (K, Y, X) array
        Posterior samples.
    page : Page
        How the page is shown.
    engine : Engine
        The engine.
    chosen : sequence of int array
        As from :func:`subsets`.
    around : bool
        Take the enlargement of `page`, the one above and the one below in turn, instead of that of `page` alone.
    """
    scales = [page.scale, page.scale + 1, page.scale - 1] if around and page.scale > 1 else [page.scale]
    pages = [replace(page, scale=scale) for scale in scales]
    return [pages[k % len(pages)].read(samples[part].mean(axis=0), engine) for k, part in enumerate(chosen)]
