"""The embedded example: a real fluorescence image with ground truth, made noisy by a documented camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from divseg.config import RunConfig
from divseg.io import write_labels
from divseg.workflow.engine import Result
from divseg.workflow.progress import Reporter

PHOTONS_PER_GREY = 0.10
BACKGROUND_PHOTONS = 0.5
GAIN = 4.0
READ_SD = 4.0
OFFSET = 100.0
SEED = 2021


def demo_image() -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.float64]]:
    """Return the demo's noisy image, its ground truth and the expected (clean) signal.

    The image is the 512x512 picture of fluorescent nuclei that the ``stardist`` package carries, with its
    hand-made instance masks. A seeded camera model adds noise: each grey level gives 0.10 photons on top
    of a background of 0.5, a photon gives 4 counts, reading adds normal noise of 4 counts, the camera adds
    an offset of 100: ``y = 100 + 4 * Poisson(0.10 * grey + 0.5) + Normal(0, 4)``, rounded.

    Returns
    -------
    noisy : array, shape (512, 512), uint16
    truth : array, shape (512, 512), uint16
        0 is background.
    clean : array, shape (512, 512), float64
        Expectation of `noisy`.
    """
    from stardist.data import test_image_nuclei_2d

    grey, truth = test_image_nuclei_2d(return_mask=True)
    rng = np.random.default_rng(SEED)
    photons = PHOTONS_PER_GREY * grey.astype(np.float64) + BACKGROUND_PHOTONS
    counts = OFFSET + GAIN * rng.poisson(photons) + rng.normal(0.0, READ_SD, grey.shape)
    noisy = np.clip(np.rint(counts), 0, 65535).astype(np.uint16)
    return noisy, truth.astype(np.uint16), OFFSET + GAIN * photons


def write_demo(folder: str | Path) -> tuple[Path, Path]:
    """Write the demo's image and truth below `folder`; return the two folders (images, masks)."""
    noisy, truth, _ = demo_image()
    images, masks = Path(folder) / "images", Path(folder) / "masks"
    images.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    for path, pixels in ((images / "nuclei.tif", noisy), (masks / "nuclei.tif", truth)):
        if not path.exists():  # a rewritten file would be a new one to divseg run
            write_labels(path, pixels)  # whole numbers up to 65535: an ordinary uint16 TIFF
    return images, masks


DEMO = {"train_steps": 2600, "samples": 32, "simulate": 4}
"""Settings of the demo: a short training, and nothing that was chosen for its image."""


def run_demo(out: str | Path, *, train_minutes: float | None = None, reporter: Reporter | None = None) -> Result:
    """Write the embedded noisy image and its truth below `out`, and run on them.

    Parameters
    ----------
    out : path
        Folder for ``images/``, ``masks/`` and the run folder ``run/``.
    train_minutes : float, optional
        Training budget instead of the demo's own number of steps.
    reporter : Reporter, optional
        Told what is done.

    Returns
    -------
    Result
    """
    from divseg.workflow.run import run

    images, masks = write_demo(out)
    if reporter is not None:
        reporter.say(f"demo: a real 512x512 image of nuclei with simulated camera noise, in {images}")
    settings = DEMO if train_minutes is None else {**DEMO, "train_steps": None, "train_minutes": train_minutes}
    return run(images, Path(out) / "run", truth=masks, reporter=reporter, config=RunConfig.make(**settings))
