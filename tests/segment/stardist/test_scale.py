"""Resizing for the network: objects of another size than the model knows, labels in the size of the image."""

import numpy as np
import pytest
import torch
from stardist.data import test_image_nuclei_2d as bundled_image

from divseg import evaluate, segmenter
from divseg.errors import ConfigError
from divseg.segment.stardist.predict import resized
from divseg.segment.stardist.scale import SCALES, surest_scale

PLAIN = "stardist:nuclei,device=cpu,processes=0"


@pytest.fixture(scope="module")
def picture():
    grey, truth = bundled_image(return_mask=True)
    return grey[:256, :320].astype(np.float32), truth[:256, :320]


def large(picture, factor):
    image, truth = picture
    return tuple(x.repeat(factor, 0).repeat(factor, 1) for x in (image, truth))


@pytest.mark.parametrize("factor", [5, 6])
def test_large_objects_are_found_as_if_they_were_small(picture, factor):
    small = evaluate(segmenter(PLAIN)(picture[0]), picture[1])
    image, truth = large(picture, factor)
    labels = segmenter(f"{PLAIN},scale={1 / factor}")(image)
    assert labels.shape == image.shape
    found = evaluate(labels, truth)
    assert found.ap50 > small.ap50 - 0.02
    assert found.map > small.map - 0.05
    assert evaluate(segmenter(PLAIN)(image), truth).map < small.map - 0.2  # what the option is for


def test_small_objects_too(picture):
    image, truth = picture[0][::2, ::2], picture[1][::2, ::2]
    found = segmenter(f"{PLAIN},scale=2")(image)
    assert found.shape == image.shape
    assert evaluate(found, truth).ap50 > 0.6


def best_of(image):
    return surest_scale(lambda scale: segmenter(f"{PLAIN},scale={scale}").details(image).prob)


@pytest.mark.parametrize("factor", [1, 4])
def test_auto_finds_the_size_of_the_objects(picture, factor):
    part = tuple(x[:128, :160] for x in picture)
    image, truth = large(part, factor)
    found = segmenter(f"{PLAIN},scale=auto").fit(image)(image)
    assert evaluate(found, truth).map > evaluate(segmenter(PLAIN)(part[0]), part[1]).map - 0.05
    trials = [segmenter(f"{PLAIN},scale={scale}").details(image) for scale in SCALES]
    best = max(trials, key=lambda trial: trial.prob.mean() if trial.prob.size else 0)
    np.testing.assert_array_equal(found, best.labels)


def test_auto_keeps_the_scale_of_the_reference(picture):
    image = large((picture[0][:96, :96], picture[1]), 4)[0]
    fitted = segmenter(f"{PLAIN},scale=auto,normalize=image").fit(image)
    other = image[::4, ::4]  # small objects, which alone would want another scale
    same = segmenter(f"{PLAIN},scale={best_of(image)},normalize=image").fit(image)
    np.testing.assert_array_equal(fitted(other), same(other))
    assert best_of(other) > best_of(image)
    assert fitted.halo == same.halo


def test_auto_without_a_reference_says_what_to_do(picture):
    with pytest.raises(ConfigError, match=r"takes its scale from a reference image: call fit\(mmse\) first"):
        segmenter(f"{PLAIN},scale=auto")(picture[0])


def test_auto_where_nothing_is_found(picture):
    empty = np.full((96, 96), 7, np.float32)
    labels = segmenter(f"{PLAIN},scale=auto").fit(empty)(empty)
    assert labels.shape == empty.shape
    assert not labels.any()


def test_the_surest_scale():
    def found(scale):
        return {0.5: np.array([0.7, 0.8]), 1.4: np.array([0.9, 0.5, 0.6])}.get(scale, np.array([]))

    assert surest_scale(found) == 0.5
    assert surest_scale(lambda scale: np.array([])) == 1.0


def test_points_and_distances_are_those_of_the_image(picture):
    image, _ = large(picture, 2)
    found = segmenter(f"{PLAIN},scale=0.5").details(image)
    at = found.labels[tuple(found.points.T)]
    assert np.mean(at == found.label) > 0.98
    area = np.bincount(found.labels.ravel(), minlength=len(found.label) + 1)[found.label]
    # area of a polygon from its rays: half the sum of neighbours' products times the sine of the angle between them
    polygon = 0.5 * np.sin(2 * np.pi / 32) * (found.dist * np.roll(found.dist, 1, axis=1)).sum(1)
    assert np.median(area / polygon) == pytest.approx(1.0, abs=0.1)


def test_processes_and_sides_that_do_not_divide(picture):
    image = picture[0][:201, :155]
    stack = np.stack([image] * 9)
    here = list(segmenter(f"{PLAIN},scale=0.7")(stack))
    with segmenter("stardist:nuclei,device=cpu,processes=1,scale=0.7") as beside:
        assert all(np.array_equal(a, b) for a, b in zip(here, beside(stack), strict=True))
    assert here[0].shape == image.shape


def test_resizing_keeps_constants_and_means():
    x = torch.rand(2, 1, 64, 48, generator=torch.Generator().manual_seed(0))
    assert resized(x, 0.25).shape == (2, 1, 16, 12)
    assert resized(x, 0.25).mean().item() == pytest.approx(x.mean().item(), abs=0.01)
    torch.testing.assert_close(resized(torch.full((1, 1, 9, 9), 3.0), 1.7), torch.full((1, 1, 15, 15), 3.0))
    assert resized(x, 0.001).shape[2:] == (1, 1)


@pytest.mark.parametrize("value", ["0", "-1", "21", "half"])
def test_impossible_scales(value):
    with pytest.raises(ConfigError, match="scale"):
        segmenter(f"stardist:nuclei,scale={value}")


def test_volumes_are_refused(models):
    with pytest.raises(ConfigError, match="scale is for 2-D models"):
        segmenter(models.spec("unet3d", "scale=0.5"))
