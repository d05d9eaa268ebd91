import io

import numpy as np
import pytest
from PIL import Image

from divseg.report.noise import LikelihoodSlice, NoiseView, likelihood_figure, transfer_figure, write_noise_plots
from divseg.report.style import to_png


def view(*, levels=12, counted=True, low=100.0, high=30_000.0, slices=4):
    signal = np.geomspace(low, high, 50)
    level = np.linspace(low, high, levels)
    parts = []
    for s in np.linspace(low, high, slices):
        sd = np.sqrt(2 * s)
        x = np.linspace(s - 5 * sd, s + 5 * sd, 99)
        p = np.exp(-0.5 * ((x - s) / sd) ** 2) / (sd * np.sqrt(2 * np.pi))
        edges = np.linspace(s - 5 * sd, s + 5 * sd, 31)
        bars = np.interp(0.5 * (edges[1:] + edges[:-1]), x, p)
        parts.append(LikelihoodSlice(s, x, p, edges, bars) if counted else LikelihoodSlice(s, x, p))
    return NoiseView(signal, 2 * signal, level, 2.1 * level, 2 * level, parts)


def picture(figure):
    pixels = np.asarray(Image.open(io.BytesIO(to_png(figure))))
    assert pixels.std() > 5
    return pixels


def test_transfer_shows_curve_levels_and_deviation():
    figure = transfer_figure(view())
    left, right = figure.axes
    measured, model = left.lines
    np.testing.assert_allclose(measured.get_ydata(), 2.1 * measured.get_xdata())
    np.testing.assert_allclose(model.get_ydata(), 2 * model.get_xdata())
    np.testing.assert_allclose(right.lines[1].get_ydata(), 5.0)
    assert left.get_yscale() == "log"
    assert "rms 5.0 %" in right.get_title(loc="right")
    picture(figure)


def test_transfer_of_a_stated_model_is_a_curve_alone():
    figure = transfer_figure(view(levels=0, high=300.0))
    assert len(figure.axes) == 1
    assert figure.axes[0].get_yscale() == "linear"
    picture(figure)


@pytest.mark.parametrize(("slices", "counted"), [(1, True), (3, False), (4, True)])
def test_likelihood_shows_every_slice(slices, counted):
    figure = likelihood_figure(view(slices=slices, counted=counted))
    drawn = [axes for axes in figure.axes if axes.get_visible()]
    assert len(drawn) == slices
    assert drawn[0].get_title(loc="left") == "signal 100"
    assert len(drawn[0].patches) == counted
    picture(figure)


def test_plots_are_written(tmp_path):
    written = write_noise_plots(view(), tmp_path / "deep" / "camera")
    assert [p.name for p in written] == ["camera_transfer.png", "camera_likelihood.png"]
    for path in written:
        with Image.open(path) as image:
            assert image.size[0] > 700
