import pytest

from divseg.errors import ConfigError
from divseg.segment.options import METHODS, threshold_options
from divseg.specs import split_spec


def options(text):
    method, pairs = split_spec(text)
    return threshold_options(method, pairs)


def test_defaults_do_nothing_that_was_not_asked_for():
    method, o, name = options("otsu")
    assert (method, name) == ("otsu", "otsu")
    assert (o.threshold, o.split, o.smooth, o.background, o.max_size, o.clear_border) == (
        "sample",
        "none",
        0,
        0,
        0,
        False,
    )
    assert o.ndim == 2
    assert o.spacing == (1, 1)


def test_a_number_makes_the_threshold_fixed():
    method, o, name = options("otsu,threshold=120,smooth=1")
    assert (method, o.threshold, name) == ("fixed", 120.0, "fixed,threshold=120,smooth=1")
    assert options(name)[2] == name


def test_special_options_belong_to_their_methods():
    assert "window" in METHODS["local"]
    assert "k" in METHODS["sauvola"]
    assert "band" in METHODS["hysteresis"]
    assert not {"window", "k", "band", "low", "offset"} & set(METHODS["otsu"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fixed", "needs its threshold"),
        ("fixed,threshold=image", "needs its threshold"),
        ("local,threshold=5", "local has no single threshold"),
        ("hysteresis,threshold=5", "low= and high="),
        ("hysteresis,low=5", "both low= and high="),
        ("hysteresis,low=5,high=4", "low must not be above high"),
        ("hysteresis,low=5,high=6,band=0.1", "band has no effect"),
        ("hysteresis,low=5,high=6,threshold=image", "threshold=image has no effect"),
        ("otsu,window=5", "'otsu' has no option 'window'"),
        ("otsu,h=1", "option h has no effect without split="),
        ("otsu,split=none,min_distance=1", "min_distance has no effect"),
        ("otsu,split=intensity,h_relative=0.1", "use h"),
        ("otsu,fill_holes=false,max_hole=3", "max_hole has no effect"),
        ("otsu,anisotropy=2", "without ndim=3"),
        ("otsu,connectivity=3", "connectivity=3 is above ndim=2"),
        ("otsu,min_size=9,max_size=8", "leave no objects"),
        ("otsu,split=watershed", "must be one of none, distance, intensity, combined"),
        ("otsu,ndim=4", "ndim must be an integer from 2 to 3"),
        ("otsu,threshold=mmse", "must be sample or image or a number"),
    ],
)
def test_impossible_combinations(text, words):
    with pytest.raises(ConfigError, match=words) as caught:
        options(text)
    assert "\n" not in str(caught.value)


def test_volumes_have_a_spacing():
    assert options("otsu,ndim=3,anisotropy=2.5")[1].spacing == (2.5, 1, 1)
