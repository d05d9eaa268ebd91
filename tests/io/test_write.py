"""What Fiji is told in the files: colours, what numbers stand for, the pixel size."""

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from divseg.errors import InputError
from divseg.io import PixelSize, read, read_labels, write_labels
from divseg.io.label_colours import label_colours
from divseg.io.tiff import tiff_sources
from divseg.io.write import write_fractions


def tags(path):
    with tifffile.TiffFile(path) as tif:
        return tif.imagej_metadata, {tag.name: tag.value for tag in tif.pages[0].tags}


def test_colours_of_labels_are_black_and_255_others():
    colours = label_colours()
    assert colours.shape == (256, 3)
    assert colours[0].tolist() == [0, 0, 0]
    assert len(np.unique(colours, axis=0)) == 256
    apart = np.abs(np.diff(colours[1:].astype(int), axis=0)).sum(axis=1)
    assert apart.min() > 90  # of neighbours in number
    assert colours[1:].max(axis=1).min() > 90  # none is lost on black


@pytest.mark.parametrize("shape", [(40, 30), (3, 40, 30)])
def test_fiji_gets_a_colour_for_each_label(tmp_path, shape):
    labels = np.arange(np.prod(shape)).reshape(shape) % 41
    write_labels(tmp_path / "a.tif", labels, PixelSize(0.5, 0.25, 2 if len(shape) == 3 else None))
    metadata, found = tags(tmp_path / "a.tif")
    # ImageJ takes a table of 768 numbers in this place, and shows 0 to 255 one to one
    np.testing.assert_array_equal(np.reshape(found["ColorMap"], (3, 256)), label_colours().T.astype(int) * 257)
    assert (metadata["min"], metadata["max"], metadata["unit"]) == (0, 255, "um")
    assert found["XResolution"] == (4, 1)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), labels)
    assert tiff_sources(tmp_path / "a.tif")[0].notes == ()  # no word of colours


def test_more_than_255_labels_share_the_colours(tmp_path):
    write_labels(tmp_path / "a.tif", np.arange(1200).reshape(30, 40))
    assert tags(tmp_path / "a.tif")[0]["max"] == 1199


def test_labels_above_16_bits_keep_colours_and_pixel_size(tmp_path):
    write_labels(tmp_path / "a.tif", np.array([[0, 70_000]]), PixelSize(0.5, 0.5))
    found = tags(tmp_path / "a.tif")[1]
    assert np.size(found["ColorMap"]) == 3 * 256
    assert (found["XResolution"], int(found["ResolutionUnit"])) == ((20_000, 1), 3)
    assert read(tmp_path)[0].pixel_size == PixelSize(0.5, 0.5)


@given(st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4))
def test_fractions_come_back_to_half_a_step(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("f") / "a.tif"
    image = np.array(values, np.float32).reshape(2, 2)
    write_fractions(path, image, PixelSize(0.5, 0.5))
    metadata, _ = tags(path)
    shown = metadata["c0"] + metadata["c1"] * tifffile.imread(path)  # what Fiji shows
    assert metadata["cf"] == 0
    assert metadata["vunit"] == "fraction"
    np.testing.assert_allclose(shown, image, atol=1 / 509)


@pytest.mark.parametrize("value", [-0.1, 1.01, np.nan])
def test_what_is_no_fraction_is_refused(tmp_path, value):
    with pytest.raises(InputError, match="fractions lie between 0 and 1"):
        write_fractions(tmp_path / "a.tif", np.array([[0, value]]))
