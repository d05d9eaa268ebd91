"""Pictures, HTML and files of a consensus."""

import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from skimage.io import imread

from divseg import fuse
from divseg.errors import InputError
from divseg.io import read_labels


@pytest.fixture(autouse=True)
def no_window():
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


def test_outlines_have_the_colour_of_their_existence(pair):
    both, _, left = pair
    result = fuse([both, both, left])
    ax = result.plot(np.arange(both.size).reshape(both.shape), Figure().add_subplot())
    background, outlines = (shown.get_array() for shown in ax.get_images())
    assert background[0, 5] == 5
    assert outlines.mask[4, 4], "inside"
    assert outlines[2, 2] == pytest.approx(1)
    assert outlines[2, 12] == pytest.approx(2 / 3)
    assert outlines[4, 11] == pytest.approx(1), "touching objects each have their own outline"
    assert outlines.mask[0].all()


def test_a_plot_makes_its_own_axes_and_shows_the_foreground(pair):
    result = fuse(pair)
    ax = result.plot()
    assert np.array_equal(ax.get_images()[0].get_array(), result.foreground)
    with pytest.raises(InputError, match=r"image has shape \(3, 3\) but the labels have shape \(12, 24\)"):
        result.plot(np.zeros((3, 3)))


def test_of_a_volume_the_fullest_plane_is_plotted(pair):
    both, _, left = pair
    result = fuse([np.stack([left, both, left])])
    ax = result.plot()
    assert ax.get_title() == "z = 1"
    assert ax.get_images()[0].get_array().shape == both.shape


def test_html_has_the_numbers_and_a_picture(cells):
    result = fuse(cells, method="clustering,links=4")
    text = result._repr_html_()
    assert "<th>objects</th><td>16</td>" in text
    assert "clustering,links=4" in text
    assert f"<th>expected map</th><td>{result.expected['map']:.3f}</td>" in text
    assert text.count("<tr") == 7 + 5 + 6, "facts with seven scores, header and five objects"
    assert "and 11 more" in text
    picture = imread(io.BytesIO(base64.b64decode(re.search('base64,([^"]+)"', text)[1])))
    assert len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)) > 10
    assert "<table" in fuse([np.zeros((4, 4), int)])._repr_html_()


def test_saved_labels_and_tables_are_those_of_the_consensus(cells, tmp_path):
    result = fuse(cells)
    result.save(tmp_path / "new" / "fused")
    assert np.array_equal(read_labels(tmp_path / "new/fused/labels.tif"), result.labels)
    for name in ("objects", "alternatives"):
        table = pd.read_csv(tmp_path / f"new/fused/{name}.csv")
        assert list(table) == list(getattr(result, name))
        assert len(table) == len(getattr(result, name))


def test_repr_says_what_it_is(cells):
    assert re.fullmatch(
        r"Consensus\(16 objects from 12 samples by clustering, shape=\(72, 72\), expected map=0\.\d+, seg=0\.\d+\)",
        repr(fuse(cells, method="clustering")),
    )
