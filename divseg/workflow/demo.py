"""The embedded example: a real fluorescence image with ground truth, made noisy by a documented camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from divseg.io import write_labels

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
    write_labels(images / "nuclei.tif", noisy)  # whole numbers up to 65535: an ordinary uint16 TIFF
    write_labels(masks / "nuclei.tif", truth)
    return images, masks
