import numpy as np
import pytest
import tifffile

from divseg.workflow.demo import GAIN, OFFSET, READ_SD, demo_image, write_demo


def test_the_camera_is_as_documented():
    noisy, truth, clean = demo_image()
    assert noisy.shape == truth.shape == clean.shape == (512, 512)
    assert noisy.dtype == truth.dtype == np.uint16
    assert len(np.unique(truth)) == 126
    residual = noisy - clean
    assert abs(residual.mean()) < 0.05
    expected = GAIN * (clean - OFFSET) + READ_SD**2 + 1 / 12
    assert np.square(residual).sum() / expected.sum() == pytest.approx(1.0, rel=0.02)


def test_the_noise_is_always_the_same():
    assert np.array_equal(demo_image()[0], demo_image()[0])


def test_files(tmp_path):
    images, masks = write_demo(tmp_path)
    noisy, truth, _ = demo_image()
    image = tifffile.imread(images / "nuclei.tif")
    assert image.dtype == np.uint16
    assert np.array_equal(image, noisy)
    assert np.array_equal(tifffile.imread(masks / "nuclei.tif"), truth)
