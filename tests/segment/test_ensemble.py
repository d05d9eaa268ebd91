"""Several segmenters of one run."""

import numpy as np
import pytest

from divseg.errors import ConfigError
from divseg.segment import segmenter
from divseg.segment.ensemble import Ensemble, ensemble
from divseg.specs import parts_of


def images(n=3):
    rng = np.random.default_rng(0)
    scenes = rng.normal(0, 1, (n, 48, 48))
    for k, scene in enumerate(scenes):
        scene[8:20, 8 : 20 + 2 * k] += 30
    return scenes.astype(np.float32)


def test_a_string_names_one_or_several():
    one = ensemble("otsu, smooth=1")
    assert one.name == segmenter("otsu,smooth=1").name
    both = ensemble("otsu,smooth=1  +  li")
    assert both.name == f"{one.name} + {segmenter('li').name}"
    assert ensemble(both.name).name == both.name
    assert both.first.name == one.name
    assert parts_of("python:mod+ule:f + otsu") == ["python:mod+ule:f", "otsu"]
    with pytest.raises(ConfigError, match="named twice"):
        ensemble("otsu + li + otsu")
    with pytest.raises(ConfigError, match="otzu"):
        ensemble("li + otzu")


def test_each_image_has_the_label_image_of_each_segmenter():
    both, stack = ensemble("otsu,smooth=1 + local,smooth=2"), images()
    found = list(both(iter(stack)))
    assert [len(several) for several in found] == [2, 2, 2]
    for image, several in zip(stack, found, strict=True):
        for part, labels in zip(both.parts, several, strict=True):
            np.testing.assert_array_equal(labels, part(image))


def test_images_are_taken_when_they_are_needed():
    taken = []

    def watched():
        for k, image in enumerate(images()):
            taken.append(k)
            yield image

    found = ensemble("otsu + li")(watched())
    assert taken == []
    next(found)
    assert taken == [0]


def test_what_is_said_of_images_is_said_to_each():
    mean = images(1)[0]
    valid = np.ones(mean.shape, bool)
    valid[:, :14] = False
    both = ensemble("otsu,threshold=image + stardist:nuclei").within(valid).fit(mean)
    assert isinstance(both, Ensemble)
    assert both.first.level is not None
    for labels in next(both([mean])):
        assert not labels[~valid].any()
    deep = ensemble("otsu,ndim=3 + li,ndim=3").spaced(4.0)
    assert [part.options.anisotropy for part in deep.parts] == [4.0, 4.0]
