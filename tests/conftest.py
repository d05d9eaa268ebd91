"""Shared fixtures: small folders of noisy images with ground truth, made on the fly."""

import os
import shutil
import signal

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import settings

# one thread: small work gains nothing from two, and loses much beside other work; Numba's first parallel loop would
# give torch its own number of threads, since they share OpenMP
for _name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# the first call of a loop compiles it, which takes longer than any deadline for one example
settings.register_profile("divseg", deadline=None)
settings.load_profile("divseg")


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_as_in_any_process():
    """Workers of a test run have a handler of their own; tests of interruptions need Python's."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def discs(shape, count, seed):
    """Return a label image of separate discs."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint16)
    y, x = np.indices(shape)
    placed = 0
    while placed < count:
        r = rng.uniform(6, 9)
        cy, cx = rng.uniform(r + 1, shape[0] - r - 1), rng.uniform(r + 1, shape[1] - r - 1)
        disc = (y - cy) ** 2 + (x - cx) ** 2 <= r**2
        near = (y - cy) ** 2 + (x - cx) ** 2 <= (r + 3) ** 2
        if not labels[near].any():
            placed += 1
            labels[disc] = placed
    return labels


@pytest.fixture(scope="session")
def make_plate():
    """Return a function that writes a folder of noisy discs and one of their masks."""

    def make(folder, n=3, shape=(72, 80), sd=12.0, seed=0):
        images, masks = folder / "images", folder / "masks"
        images.mkdir(parents=True)
        masks.mkdir()
        for i in range(n):
            labels = discs(shape, 6, seed + i)
            rng = np.random.default_rng(seed + 100 + i)
            noisy = np.where(labels > 0, 160.0, 100.0) + rng.normal(0, sd, shape)
            tifffile.imwrite(images / f"cell{i}.tif", noisy.astype(np.uint16))
            tifffile.imwrite(masks / f"cell{i}.tif", labels)
        return images, masks

    return make


ODD_NAME = "<img src=x onerror=alert(1)> & \"q\" 'q' $x$ \u7d30\u80de \u00fc"
"""Name of an image of the real run that must not break HTML, plots or tables."""


REAL_KEEP = "denoised,std,foreground,boundary,crops,stacks,samples"
"""What the real run keeps: the default, and samples."""


@pytest.fixture(scope="session")
def real_run(make_plate, tmp_path_factory):
    """Folder of a short run with ground truth on four images; tests that change it take a copy (`run_copy`)."""
    from divseg.io import PixelSize, write_image
    from divseg.workflow.run import run

    root = tmp_path_factory.mktemp("real")
    images, masks = make_plate(root / "plate", n=2)
    for name, shape in (("large", (400, 96)), (ODD_NAME, (72, 80))):
        for source, target in zip(make_plate(root / name[:5], n=1, shape=shape, seed=7), (images, masks), strict=True):
            shutil.move(source / "cell0.tif", target / f"{name}.tif")
    write_image(images / "large.tif", tifffile.imread(images / "large.tif"), PixelSize(0.5, 0.5))
    settings = {"train_steps": 20, "samples": 4, "seed": 3, "device": "cpu", "method": "majority", "keep": REAL_KEEP}
    settings["simulate"] = 0
    run(images, root / "run", truth=masks, segmenter="otsu,smooth=2,min_size=20", **settings)
    return root / "run"


@pytest.fixture
def run_copy(real_run, tmp_path):
    """A copy of the real run with the image cell0 alone, to be changed."""
    folder = shutil.copytree(real_run, tmp_path / "run", ignore=shutil.ignore_patterns("plots", "report.html"))
    for name in ("images", "objects", "scores"):
        table = pd.read_csv(folder / f"{name}.csv", keep_default_na=False)
        table[table["image"] == "cell0"].to_csv(folder / f"{name}.csv", index=False)
    return folder
