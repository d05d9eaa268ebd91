import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from divseg.report.scalebar import PixelSize, add_scale_bar, pixel_size, round_length


@given(st.floats(1e-9, 1e9))
def test_round_length_is_the_largest_that_fits(longest):
    length = round_length(longest)
    assert length <= longest * (1 + 1e-6)
    assert length > longest / 2.5 * (1 - 1e-6)
    mantissa = length / 10 ** math.floor(math.log10(length * (1 + 1e-9)))
    assert min(abs(mantissa - m) for m in (1, 2, 5)) < 1e-6


@pytest.mark.parametrize("unit", ["um", "µm", "micron", "Micrometer", "\u03bcm"])
def test_every_way_to_write_micrometre(unit):
    assert pixel_size(0.1, 0.2, unit) == PixelSize(0.1, 0.2, "µm")


@pytest.mark.parametrize(("y", "x", "unit"), [(1, 1, "pixel"), (1, 1, ""), (0, 1, "um"), (math.nan, 1, "um")])
def test_unknown_size(y, x, unit):
    assert pixel_size(y, x, unit) is None


def test_bar_has_its_length_in_pixels_of_the_image():
    axes = Figure().subplots()
    add_scale_bar(axes, 200, 100, PixelSize(9.0, 0.5, "$nm$"), 10)
    (bar,) = axes.patches
    assert bar.get_width() == pytest.approx(20 / 0.5)
    assert bar.get_x() + bar.get_width() < 199.5
    assert axes.texts[0].get_text() == "20 $nm$"
    assert not axes.texts[0].get_parse_math()
