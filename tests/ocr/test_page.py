import numpy as np
import pytest
from typewriter import CELL, typed

from divseg.ocr import Box, Page, as_page

TEXT = ["Gray fields high 25", "and low pages"]


def test_a_page_is_read_at_its_place_whatever_its_scale(engine):
    image = typed(TEXT)
    page = Page(40.0, 200.0)
    found = page.read(image, engine)
    assert found.text == "\n".join(TEXT) + "\n"
    assert found.lines[0].words[0].box == Box(CELL[1], CELL[0], 5 * CELL[1], 2 * CELL[0])

    class Half:  # sees the page twice as large
        name = "half"

        def __call__(self, shown):
            assert shown.shape == (2 * image.shape[0], 2 * image.shape[1])
            return engine(shown[::2, ::2]).scaled(2)

    assert Page(40.0, 200.0, scale=2).read(image, Half()).lines[0].words[0].box == found.lines[0].words[0].box


def test_the_scale_is_chosen_that_can_be_read(engine):
    assert as_page(typed(TEXT), engine).scale == 1
    assert as_page(typed(TEXT), engine, (1, 2)).upside_down is False


def test_a_page_that_is_upside_down_is_turned(engine):
    image = typed(TEXT)[::-1, ::-1]
    page = as_page(image, engine, (1,))
    assert page.upside_down
    found = page.read(image, engine)
    assert found.text == "\n".join(TEXT) + "\n"
    height, width = image.shape
    first = found.lines[0].words[0].box
    assert (first.right, first.bottom) == (width - CELL[1], height - CELL[0])
    assert not as_page(image, engine, (1,), turn=False).upside_down


def test_grey_values_are_those_between_the_limits():
    shown = Page(0.0, 100.0).show(np.array([[-5.0, 0.0, 60.0, 100.0, 120.0]]))
    assert shown.tolist() == [[0, 0, 153, 255, 255]]


def test_an_even_image_is_an_empty_page(engine):
    page = as_page(np.full((40, 60), 7.0), engine)
    assert page.read(np.full((40, 60), 7.0), engine).lines == ()
    assert page.upside_down is False


def test_boxes_turn_and_scale():
    box = Box(1, 2, 4, 6)
    assert box.upside_down(20, 10) == Box(6, 14, 9, 18)
    assert box.scaled(2) == Box(2, 4, 8, 12)
    assert (box.width, box.height) == pytest.approx((3, 4))
