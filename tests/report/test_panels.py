import numpy as np
import pandas as pd
import pytest

from divseg.report.panels import CROP, image_panel, region_to_show, whole_image
from divseg.report.scalebar import PixelSize
from divseg.report.style import to_png
from divseg.results.reader import ImageData

OBJECTS = pd.DataFrame({"label": [1], "existence": [0.5]})


def data(shape, **parts):
    labels = np.zeros(shape, np.int32)
    labels[2:9, 2:9] = 1
    pieces = {
        "labels": labels,
        "noisy": np.arange(labels.size, dtype=float).reshape(shape),
        "mmse": np.ones(shape),
        "sd": np.zeros(shape),
        "samples": (np.ones(shape), np.ones(shape)),
    } | parts
    return ImageData("a", **pieces, missing=())


def test_small_images_are_shown_whole():
    region = region_to_show((384, 100), None)
    assert (region.y, region.x, region.height, region.width) == (0, 0, 384, 100)


def test_large_images_are_cut_where_the_objects_are():
    labels = np.zeros((1000, 900), np.int32)
    for k in range(20):
        labels[700 + 12 * k : 705 + 12 * k, 610:620] = k + 1
    labels[5:300, 5:300] = 50  # one huge object counts once
    region = region_to_show(labels.shape, labels)
    assert (region.height, region.width) == (CROP, CROP)
    assert region.y <= 702
    assert region.y + CROP > 700 + 12 * 19
    assert region.x <= 610 < region.x + CROP
    assert region.of(labels).shape == (CROP, CROP)


def test_large_objects_get_a_larger_region():
    labels = np.zeros((2000, 760), np.int32)
    labels[100:300, 100:300] = 1
    region = region_to_show(labels.shape, labels)
    assert (region.height, region.width) == (2 * CROP, 760)


def test_without_objects_the_middle_is_shown():
    region = region_to_show((1000, 300), np.zeros((1000, 300), int))
    assert (region.y, region.x, region.height, region.width) == (320, 0, CROP, 300)


@pytest.mark.parametrize("shape", [(256, 256), (40, 380), (380, 40), (12, 12)])
def test_full_panel_has_six_pictures_and_the_width_of_the_page(shape):
    item = data(shape)
    figure, limits = image_panel(item, OBJECTS, region_to_show(shape, item.labels), PixelSize(1, 1, "µm"))
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert len(titles) == 6
    assert figure.get_size_inches()[0] == pytest.approx(15)
    assert limits[0] < limits[1]
    assert min(axes.title.get_fontsize() for axes in figure.axes) >= 9


def test_every_picture_of_a_panel_has_whole_pixels():
    figure, _ = image_panel(data((300, 300)), OBJECTS, region_to_show((300, 300), None), None)
    axes = next(axes for axes in figure.axes if axes.get_title())
    box = axes.get_position()
    inches, dpi = figure.get_size_inches(), figure.dpi
    assert box.width * inches[0] * dpi == pytest.approx(600)
    assert box.height * inches[1] * dpi == pytest.approx(600)


@pytest.mark.parametrize(
    ("parts", "count"),
    [
        ({"noisy": None}, 5),
        ({"samples": ()}, 4),
        ({"labels": None, "sd": None}, 4),
        ({"noisy": None, "mmse": None, "samples": ()}, 2),
        ({"mmse": np.full((20, 20), np.nan), "sd": np.full((20, 20), np.nan)}, 6),
    ],
)
def test_absent_pieces_are_left_out(parts, count):
    figure, _ = image_panel(data((20, 20), **parts), OBJECTS, region_to_show((20, 20), None), None)
    assert len([axes for axes in figure.axes if axes.get_title()]) == count
    assert to_png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(("shape", "pixels"), [((500, 400), 820), ((100, 3000), 1020)])
def test_whole_image_keeps_or_thins_pixels(shape, pixels):
    item = data(shape, mmse=None, noisy=None, samples=())
    figure = whole_image(item, OBJECTS, region_to_show(shape, item.labels), PixelSize(1, 1, "µm"))
    assert figure.get_size_inches()[0] * 100 == pytest.approx(pixels)
    assert to_png(figure) == to_png(figure)
