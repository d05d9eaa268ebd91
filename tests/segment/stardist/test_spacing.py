"""Volumes whose planes have another distance than those that a StarDist model was trained on."""

import numpy as np
import pytest

from divseg.errors import ConfigError
from divseg.segment import segmenter


@pytest.mark.parametrize("distance", [0.5, 2.0])
def test_planes_of_another_distance_are_resized_for_the_network(models, distance):
    """The same objects in twice, or half as many planes are found at their places; as they are, they are not."""
    want = models.expected("resnet3d")
    image, labels = want["image"], want["labels"]
    planes = np.s_[::2] if distance == 2 else np.repeat(np.arange(len(image)), 2)
    other, truth = image[planes], labels[planes]
    segment = segmenter(models.spec("resnet3d", "normalize=none", "anisotropy=1"))
    np.testing.assert_array_equal(segment.spaced(1.0)(image), labels)
    found = segment.spaced(distance)(other)
    assert found.shape == other.shape
    assert mean_iou(truth, found) > mean_iou(truth, segment(other)) + 0.1
    assert mean_iou(truth, found) > 0.5
    np.testing.assert_array_equal(segment.spaced(distance).spaced(None)(other), segment(other))


def mean_iou(truth, found):
    """Return the mean over true objects of the IoU with the found object that fits best."""
    best = []
    for label in np.unique(truth)[1:]:
        mine = truth == label
        others = np.unique(found[mine])
        best.append(max((mine & (found == k)).sum() / (mine | (found == k)).sum() if k else 0.0 for k in others))
    return np.mean(best)


def test_anisotropy_is_for_volumes(models):
    with pytest.raises(ConfigError, match="anisotropy is for 3-D models"):
        segmenter("stardist:nuclei,anisotropy=2")
    plain = segmenter(models.spec("unet3d"))
    assert plain.spaced(4.0) is plain
