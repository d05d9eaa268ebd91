"""A run folder of several images, fused of drawn label images: what the plug-in shows and reviews."""

import numpy as np
import pytest
import tifffile

from divseg.workflow.fuse import fuse_folder


def grid(seed, n=5, side=18):
    """Return the label image of n x n touching-free discs, and three versions of it by different raters."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((n * side, n * side))
    truth = np.zeros(y.shape, np.uint16)
    raters = np.zeros((3, *y.shape), np.uint16)
    for k in range(n * n):
        cy, cx = (np.array(divmod(k, n)) + 0.5) * side + rng.uniform(-1, 1, 2)
        for i, image in enumerate((truth, *raters)):
            if i and rng.random() < 0.15:  # a rater who misses it
                continue
            radius = 5.5 + (rng.uniform(-1, 1) if i else 0)
            image[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = k + 1
    return truth, raters


@pytest.fixture(scope="session")
def fused(tmp_path_factory):
    """Folder of a run of ``divseg fuse`` on six images; the folder ``truth`` beside it has their ground truth."""
    root = tmp_path_factory.mktemp("fused")
    (root / "truth").mkdir()
    for image in range(6):
        truth, raters = grid(image)
        tifffile.imwrite(root / "truth" / f"field{image}.tif", truth)
        for k, labels in enumerate(raters):
            (root / "masks" / f"rater{k}").mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(root / "masks" / f"rater{k}" / f"field{image}.tif", labels)
    fuse_folder(root / "masks", root / "run")
    return root / "run"
