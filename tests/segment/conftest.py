"""Tiny StarDist models, trained and run by TensorFlow: stardist 0.9.2, csbdeep 0.8.2, Keras 3.15, TensorFlow 2.21.

``stardist/models/<name>/expected.npz`` holds an image (100 times its intensities), the probabilities, the distances
at some pixels, and the labels, points and probabilities of ``predict_instances``. Models ``grid2`` and ``unet3d`` have
their weights in the layout of Keras 3, the others in that of Keras 2.
"""

from pathlib import Path

import numpy as np
import pytest


class StarDistModels:
    folder = Path(__file__).parent / "stardist" / "models"
    names = ("unet2d", "grid2", "channels2", "unet3d", "resnet3d")

    def expected(self, name):
        with np.load(self.folder / name / "expected.npz") as file:
            held = dict(file)
        held["image"] = held["image"].astype(np.float32) / np.float32(100)
        return held

    def spec(self, name, *options):
        return ",".join([f"stardist:{self.folder / name}", "device=cpu", *options])

    def dense(self, net, x):
        """Return probabilities and distances on the whole grid, as StarDist's ``predict``."""
        import torch

        from divseg.segment.stardist.predict import pad_to

        with torch.inference_mode():
            inside = tuple(slice(-(-n // g)) for n, g in zip(x.shape[2:], net.config.grid, strict=True))
            return tuple(y[(slice(None), *inside)] for y in net(pad_to(x, net.config.divisor)))


@pytest.fixture(scope="session")
def models():
    return StarDistModels()


@pytest.fixture(params=StarDistModels.names)
def model(request):
    """Name of each model in turn."""
    return request.param
