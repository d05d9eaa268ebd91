import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divseg.errors import ConfigError
from divseg.specs import Choice, Flag, Number, Option, canonical, read_options, split_spec, unknown

OPTIONS = {
    "smooth": Option(Number(0, 100), 0.0, "sd"),
    "size": Option(Number(0, whole=True), 0, "pixels"),
    "window": Option(Number(3, 99, odd=True), 51, "pixels"),
    "level": Option(Number(words=("auto",)), "auto", "intensity"),
    "mode": Option(Choice(("none", "distance")), "none", "how"),
    "fill": Option(Flag(), True, "holes"),
}


def read(text):
    method, pairs = split_spec(text)
    return read_options(method, pairs, OPTIONS)


def test_values_get_their_types():
    values = read("otsu, smooth = 1.5 ,size=30,level=-2e3,mode=Distance,fill=no,WINDOW=7")
    assert values == {"smooth": 1.5, "size": 30, "window": 7, "level": -2000.0, "mode": "distance", "fill": False}
    assert isinstance(values["size"], int)
    assert isinstance(values["level"], float)


def test_absent_options_have_defaults():
    assert read("otsu") == {name: option.default for name, option in OPTIONS.items()}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no method"),
        (" , smooth=1", "has no method"),
        ("smooth=1", "has no method"),
        ("otsu,smooth", "'smooth' is not an option; write name=value"),
        ("otsu,smooth=", "write name=value"),
        ("otsu,,size=1", "write name=value"),
        ("otsu,smooth=1,smooth=1", "smooth is given twice"),
        ("otsu,smoth=1", r"no option 'smoth'; did you mean 'smooth'\? \(options: smooth, size, window"),
        ("otsu,zzz=1", r"no option 'zzz' \(options"),
        ("otsu,smooth=wide", "smooth=wide: smooth must be a number from 0 to 100"),
        ("otsu,smooth=-1", "smooth must be a number from 0 to 100"),
        ("otsu,smooth=101", "smooth must be a number from 0 to 100"),
        ("otsu,smooth=nan", "smooth must be a number"),
        ("otsu,level=inf", "level must be auto or a number"),
        ("otsu,size=1.5", "size must be an integer not below 0"),
        ("otsu,size=-1", "size must be an integer not below 0"),
        ("otsu,window=8", "window must be an odd integer from 3 to 99"),
        ("otsu,window=inf", "window must be an odd integer"),
        ("otsu,mode=distanse", r"must be one of none, distance; did you mean 'distance'\?"),
        ("otsu,mode=7", "must be one of none, distance$"),
        ("otsu,fill=maybe", "fill must be true or false"),
    ],
)
def test_bad_strings(text, words):
    with pytest.raises(ConfigError, match=words) as caught:
        read(text)
    assert "\n" not in str(caught.value)


def test_options_of_other_methods_are_not_corrected():
    with pytest.raises(ConfigError) as caught:
        read_options("otsu", [("windows", "3")], {"window": OPTIONS["window"]}, elsewhere=["windows"])
    assert "did you mean" not in str(caught.value)


def test_unknown_method_names_the_nearest():
    assert (
        str(unknown("segmenter", "otus", ["otsu", "li"]))
        == "unknown segmenter 'otus'; did you mean 'otsu'? (known: otsu, li)"
    )
    assert "did you mean" not in str(unknown("segmenter", "zzzz", ["otsu", "li"]))


def test_canonical_leaves_defaults_out_and_orders():
    assert canonical("otsu", read("otsu,fill=off,smooth=1.0,mode=none,size=0"), OPTIONS) == "otsu,smooth=1,fill=false"


values = st.fixed_dictionaries(
    {
        "smooth": st.floats(0, 100),
        "size": st.integers(0, 10**9),
        "window": st.integers(1, 49).map(lambda n: 2 * n + 1),
        "level": st.one_of(st.just("auto"), st.floats(allow_nan=False, allow_infinity=False)),
        "mode": st.sampled_from(["none", "distance"]),
        "fill": st.booleans(),
    }
)


@given(values)
def test_canonical_reads_back_exactly(chosen):
    text = canonical("otsu", chosen, OPTIONS)
    assert read(text) == chosen
    assert canonical("otsu", read(text), OPTIONS) == text


def test_negative_zero_and_large_numbers_survive():
    kind = Number()
    for value in (0.1, 1e15, 1e300, 123456789.125, -0.0, math.pi):
        assert kind.read(kind.show(value)) == value
