import numpy as np
import pandas as pd
import pytest

from divseg.report.figures import confidence_figure, count_figure, size_figure, training_figure
from divseg.report.style import name_ticks, new_chart, safe_text, to_png
from divseg.results.reader import Results


def results(images=None, objects=None, scores=None):
    empty = pd.DataFrame()
    tables = [empty if table is None else pd.DataFrame(table) for table in (images, objects, scores)]
    return Results(None, {}, tables[0], tables[1], tables[2], empty, empty, empty)


def counts(n):
    found = np.arange(10, 10 + n)
    return {
        "image": [f"img_{k}" for k in range(n)],
        "n_objects": found,
        "count_mean": found + 0.5,
        "count_q05": found - 2,
        "count_q95": found + 2,
    }


@pytest.mark.parametrize("n", [1, 2, 31, 200])
def test_counts_of_any_number_of_images(n):
    figure = count_figure(results(counts(n), scores={"image": ["img_0"], "n_true": [11]}))
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ([f"img_{k}" for k in range(n)] if n <= 30 else [])
    assert [text.get_text() for text in axes.get_legend().get_texts()][-1] == "truth"
    assert to_png(figure)


def test_long_names_leave_room_for_the_chart():
    table = counts(30) | {"image": [f"{'long name ' * 20}{k}" for k in range(30)]}
    (axes,) = (figure := count_figure(results(table))).axes
    assert to_png(figure)
    assert axes.get_position().height > 0.35


def test_counts_without_numbers():
    assert count_figure(results()) is None
    assert count_figure(results({"image": ["a"], "n_objects": [np.nan]})) is None


def test_zero_counts_start_at_zero():
    (axes,) = count_figure(results({"image": ["a", "b"], "n_objects": [0, 500]})).axes
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[0] == 0


def test_confidence_takes_what_is_there():
    figure = confidence_figure(pd.DataFrame({"existence": [0.1, 1.0, np.nan], "mean_iou": [np.nan] * 3}))
    (axes,) = figure.axes
    assert sum(bar.get_height() for bar in axes.patches) == 2
    assert axes.get_title("right") == "median 0.55"
    assert confidence_figure(pd.DataFrame()) is None


@pytest.mark.parametrize(("n", "note"), [(1, "All 1"), (40, "All 40"), (1000, "300 of 1000")])
def test_sizes_say_how_many_are_shown(n, note):
    area = np.linspace(100, 200, n)
    objects = {"image": ["a"] * n, "area_mean": area, "area_q05": area - 9, "area_q95": area + 9}
    images = {"image": ["a"], "pixel_size_y": [0.5], "pixel_size_x": [0.5], "pixel_unit": ["um"]}
    figure, words = size_figure(results(images, objects))
    assert words.startswith(note)
    assert figure.axes[0].get_xlabel() == "mean area (µm²)"
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == n


def test_areas_stay_in_pixels_when_units_differ():
    images = {
        "image": ["a", "b"],
        "pixel_size_y": [0.5, 1],
        "pixel_size_x": [0.5, 1],
        "pixel_unit": ["um", "pixel"],
    }
    figure, _ = size_figure(results(images, {"image": ["a", "b"], "area": [10, 2000]}))
    assert figure.axes[0].get_xlabel() == "mean area (px)"
    assert figure.axes[0].get_xscale() == "log"
    assert to_png(figure)


def test_no_sizes_without_areas():
    assert size_figure(results({"image": ["a"]}, {"image": ["a"], "existence": [1.0]})) is None


def test_training_curves_survive_what_logs_hold():
    steps = np.arange(500)
    log = pd.DataFrame({"step": steps, "loss": np.exp(-steps / 50.0), "kl": np.nan, "active": None})
    log.loc[3, "loss"] = np.inf
    log.loc[::50, "val_loss"] = 1.0
    figure = training_figure(log)
    assert [axes.get_title("left") for axes in figure.axes] == ["Loss"]
    assert to_png(figure)
    assert training_figure(pd.DataFrame({"step": [1], "loss": [np.nan]})) is None


def test_names_are_drawn_literally_and_without_missing_glyphs():
    figure, (axes,) = new_chart(1, 1, 7, 3)
    name_ticks(axes, ["$a_b$", "\u7d30\u80de", "x" * 90])
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert shown[:2] == ["$a_b$", "\u25a1\u25a1"]
    assert len(shown[2]) < 41
    assert to_png(figure)  # a missing glyph or a formula would warn


def test_plain_leaves_common_letters_alone():
    assert safe_text("Zellkern_äöü_µm_é") == "Zellkern_äöü_µm_é"
