import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from divseg.io import PixelSize
from divseg.report.image_data import ImageData, read_image_data
from divseg.report.panels import (
    CROP,
    add_scale_bar,
    image_panels,
    region_to_show,
    round_length,
    sample_panels,
    whole_image,
    write_overlay,
)
from divseg.report.style import to_png
from divseg.results.crops import Crop
from divseg.results.open_run import open_run

OBJECTS = pd.DataFrame({"label": [1], "existence": [0.5]})


def data(shape, **parts):
    labels = np.zeros(shape, np.int32)
    labels[2:9, 2:9] = 1
    pieces = {
        "labels": labels,
        "noisy": np.arange(labels.size, dtype=float).reshape(shape),
        "mmse": np.ones(shape),
        "std": np.zeros(shape),
        "crop": Crop(1, 2, 0, np.stack([np.ones((8, 9)), np.arange(72.0).reshape(8, 9)]).astype(np.float32)),
        "detail": np.arange(labels.size, dtype=float).reshape(shape)[1:9, 2:11],
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
def test_every_picture_fits_a_phone(shape):
    item = data(shape)
    panels, limits = image_panels(item, OBJECTS, region_to_show(shape, item.labels), PixelSize(1, 1))
    assert [panel.key for panel in panels] == ["noisy", "mmse", "std", "consensus"]
    assert limits[0] < limits[1]
    for panel in panels:
        assert panel.figure.get_size_inches()[0] == pytest.approx(4)
        assert min(axes.xaxis.label.get_fontsize() for axes in panel.figure.axes) >= 9


def test_scale_of_the_standard_deviation_goes_up_to_its_largest_values():
    item = data((40, 40), std=np.linspace(0, 30, 1600).reshape(40, 40))
    panels, _ = image_panels(item, OBJECTS, region_to_show(item.shape, item.labels), None)
    (bar,) = (axes for axes in panels[2].figure.axes if axes.get_xlabel() == "standard deviation (intensity)")
    assert bar.get_xlim() == pytest.approx((0, 30), rel=0.01)


def test_every_picture_has_whole_pixels():
    panels, _ = image_panels(data((300, 300)), OBJECTS, region_to_show((300, 300), None), None)
    for panel in panels:
        box = panel.figure.axes[0].get_position()
        inches, dpi = panel.figure.get_size_inches(), panel.figure.dpi
        assert box.width * inches[0] * dpi == pytest.approx(600)
        assert box.height * inches[1] * dpi == pytest.approx(600)


@pytest.mark.parametrize(
    ("parts", "keys"),
    [
        ({"noisy": None}, ["mmse", "std", "consensus"]),
        ({"labels": None, "std": None}, ["noisy", "mmse"]),
        ({"noisy": None, "mmse": None}, ["std", "consensus"]),
        (
            {"mmse": np.full((20, 20), np.nan), "std": np.full((20, 20), np.nan)},
            ["noisy", "mmse", "std", "consensus"],
        ),
    ],
)
def test_absent_pieces_are_left_out(parts, keys):
    panels, _ = image_panels(data((20, 20), **parts), OBJECTS, region_to_show((20, 20), None), None)
    assert [panel.key for panel in panels] == keys
    assert to_png(panels[0].figure).startswith(b"\x89PNG")


def test_samples_are_shown_beside_the_same_part_of_the_noisy_image():
    item = data((20, 30))
    panels = sample_panels(item, PixelSize(1, 1))
    assert [panel.key for panel in panels] == ["detail", "sample1", "sample2"]
    (picture,) = panels[0].figure.axes[0].images
    brightest = np.unravel_index(np.argmax(picture.get_array()[:, :, 0]), (8, 9))
    part = item.noisy[1:9, 2:11]
    limits = (0, 71)  # of the samples, less half a percent on either side
    np.testing.assert_array_equal(brightest, np.argwhere(part >= limits[1] - 0.3)[0])
    flat, ramp = (panel.figure.axes[0].images[0].get_array() for panel in panels[1:])
    assert np.ptp(flat) == 0
    assert np.ptp(ramp) == 255
    assert sample_panels(data((20, 30), crop=None), None) == []
    assert len(sample_panels(data((20, 30), detail=None), None)) == 2


@pytest.mark.parametrize(("shape", "pixels"), [((500, 400), 820), ((100, 3000), 1020)])
def test_whole_image_keeps_or_thins_pixels(shape, pixels):
    item = data(shape, mmse=None, noisy=None)
    figure = whole_image(item, OBJECTS, region_to_show(shape, item.labels), PixelSize(1, 1))
    assert figure.get_size_inches()[0] * 100 == pytest.approx(pixels)
    assert to_png(figure) == to_png(figure)


@given(st.floats(1e-9, 1e9))
def test_round_length_is_the_largest_that_fits(longest):
    length = round_length(longest)
    assert length <= longest * (1 + 1e-6)
    assert length > longest / 2.5 * (1 - 1e-6)
    mantissa = length / 10 ** math.floor(math.log10(length * (1 + 1e-9)))
    assert min(abs(mantissa - m) for m in (1, 2, 5)) < 1e-6


def test_bar_has_its_length_in_pixels_of_the_image():
    axes = Figure().subplots()
    add_scale_bar(axes, 200, 100, PixelSize(9.0, 0.5, unit="$nm$"), 10)
    (bar,) = axes.patches
    assert bar.get_width() == pytest.approx(20 / 0.5)
    assert bar.get_x() + bar.get_width() < 199.5
    assert axes.texts[0].get_text() == "20 $nm$"
    assert not axes.texts[0].get_parse_math()


@pytest.mark.parametrize(("shape", "expected"), [((100, 50), (800, 400)), ((900, 900), (900, 900))])
def test_overlay_file_is_enlarged_when_small(tmp_path, shape, expected):
    labels = np.zeros(shape, np.int32)
    labels[5:20, 5:20] = 1
    path = write_overlay(tmp_path / "plots" / "a.png", np.ones(shape), labels)
    with Image.open(path) as image:
        assert image.size == expected[::-1]


def test_huge_image_is_thinned(tmp_path):
    labels = np.zeros((10, 9000), np.uint16)
    with Image.open(write_overlay(tmp_path / "a.png", labels.astype(float), labels)) as image:
        assert image.size == (3000, 4)


def test_panels_of_a_real_run_show_its_images(real_run):
    run = open_run(real_run)
    item = read_image_data(run, "large")
    assert item.missing == ()
    region = region_to_show(item.shape, item.labels)
    objects, size = run.objects[run.objects["image"] == "large"], run.pixel_sizes["large"]
    panels, limits = image_panels(item, objects, region, size)
    assert [panel.title for panel in panels] == [
        "Noisy image",
        "MMSE: mean of the samples",
        "Standard deviation of the samples",
        "Consensus",
    ]
    assert item.noisy.min() < limits[0] < limits[1] <= item.noisy.max()
    assert [text.get_text() for text in panels[0].figure.axes[0].texts] == ["10 µm"]
    assert [panel.key for panel in sample_panels(item, size)] == ["detail", "sample1", "sample2", "sample3"]
