"""Rounding moves numbers by less than their error, and lets files shrink."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from divseg.io.rounding import BITS, STEPS, step_of, to_bits, to_step

FLOATS = st.floats(np.float32(1e-20), np.float32(1e20), width=32)


@given(arrays(np.float32, 9, elements=FLOATS))
def test_a_step_is_a_power_of_two_below_an_eighth_of_the_deviation(std):
    step, most = step_of(std), float(np.median(std)) / STEPS
    assert most / 2 < step <= most
    assert np.frexp(step)[0] == 0.5


@pytest.mark.parametrize("std", [np.zeros(4), np.full(4, np.nan), []])
def test_without_a_deviation_nothing_is_rounded(std):
    image = np.array([1.2345], np.float32)
    assert step_of(std) == 0
    assert to_step(image, step_of(std)) is image


@given(arrays(np.float32, 9, elements=st.floats(-1e6, 1e6, width=32)), st.integers(-6, 6))
def test_rounding_is_by_half_a_step_and_done_once(image, power):
    step = 2.0**power
    once = to_step(image, step)
    assert once.dtype == np.float32
    assert np.all(np.abs(once - image.astype(float)) <= step / 2 + 1e-7 * np.abs(image))
    np.testing.assert_array_equal(to_step(once, step), once)


@given(arrays(np.float32, 9, elements=FLOATS))
def test_bits_bound_the_relative_error(std):
    once = to_bits(std)
    assert np.all(np.abs(once - std.astype(float)) <= std.astype(float) / 2**BITS)
    np.testing.assert_array_equal(to_bits(once), once)


def test_zero_and_what_is_no_number_stay():
    np.testing.assert_array_equal(to_bits(np.array([0, np.nan, np.inf], np.float32)), [0, np.nan, np.inf])


def test_rounded_images_shrink():
    rng = np.random.default_rng(0)
    mean, std = rng.normal(1000, 50, (200, 200)).astype(np.float32), rng.gamma(20, 0.25, (200, 200)).astype(np.float32)
    for image, rounded in ((mean, to_step(mean, step_of(std))), (std, to_bits(std))):
        assert len(zlib.compress(rounded.tobytes())) < 0.55 * len(zlib.compress(image.tobytes()))
