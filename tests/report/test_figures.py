import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from divseg.report.figures import (
    confidence_figure,
    count_figure,
    reliability_figure,
    size_figure,
    training_figure,
    write_training_plot,
)
from divseg.report.style import name_ticks, new_chart, safe_text, to_png
from divseg.results.open_run import open_run


def test_charts_of_a_real_run(real_run):
    run = open_run(real_run)
    (axes,) = count_figure(run).axes
    lines = {line.get_label(): line.get_ydata().tolist() for line in axes.lines}
    assert lines["consensus"] == run.images_table["n_objects"].tolist()
    assert lines["ground truth"] == [6] * 4
    figure, note = size_figure(run)
    assert figure.axes[0].get_xlabel() == "mean area (px)"  # one image has a pixel size, three have none
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == len(run.objects)
    assert note == f"All {len(run.objects)} objects, by area."
    confidence = confidence_figure(run.objects)
    assert [axes.get_title("left") for axes in confidence.axes] == ["Existence", "Mask agreement"]
    assert sum(bar.get_height() for bar in confidence.axes[0].patches) == len(run.objects)
    assert len(training_figure(run.training_log).axes) == 3


def test_reliability_is_drawn_as_it_was_measured(real_run, table_run):
    rows = {"existence": [[0.95, 0.6, 10]], "p_true": [[0.35, 0.4, 4], [0.65, 0.7, 6]]}
    record = {"calibration": {"source": "simulated", "reliability": rows}}
    (axes,) = reliability_figure(table_run(record)).axes
    assert axes.get_title("left") == "On left-out simulated images"
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert lines["existence"] == [[0.95, 0.6]]
    assert lines["p_true"] == [[0.35, 0.4], [0.65, 0.7]]
    assert reliability_figure(table_run({"calibration": None})) is None
    assert reliability_figure(table_run({"calibration": {"reliability": {}}})) is None
    run = open_run(real_run)
    run.record["calibration"] = {"source": "labels", "reliability": rows}
    left, right = reliability_figure(run).axes
    assert left.get_title("left") == "On left-out labelled images"
    points = {line.get_label(): line.get_xydata() for line in right.lines}["existence"]
    assert len(points) > 0
    right_ones = np.average(points[:, 1], weights=np.ones(len(points))) if len(points) == 1 else None
    assert right_ones is None or right_ones == pytest.approx(np.mean(run.right))


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
def test_counts_of_any_number_of_images(n, table_run):
    figure = count_figure(table_run(images=counts(n), scores={"image": ["img_0"], "n_true": [11]}))
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ([f"img_{k}" for k in range(n)] if n <= 30 else [])
    assert [text.get_text() for text in axes.get_legend().get_texts()][-1] == "ground truth"
    if n <= 150:
        intervals = [part[:, 1].tolist() for part in axes.collections[0].get_segments()]
        assert intervals == [[8 + k, 12 + k] for k in range(n)]
    assert to_png(figure)


def test_long_names_leave_room_for_the_chart(table_run):
    table = counts(30) | {"image": [f"{'long name ' * 20}{k}" for k in range(30)]}
    (axes,) = (figure := count_figure(table_run(images=table))).axes
    assert to_png(figure)
    assert axes.get_position().height > 0.35


def test_counts_without_numbers(table_run):
    assert count_figure(table_run()) is None
    assert count_figure(table_run(images={"image": ["a"], "n_objects": [np.nan]})) is None


def test_zero_counts_start_at_zero(table_run):
    (axes,) = count_figure(table_run(images={"image": ["a", "b"], "n_objects": [0, 500]})).axes
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[0] == 0


def test_confidence_takes_what_is_there():
    figure = confidence_figure(pd.DataFrame({"existence": [0.1, 1.0, np.nan], "mean_iou": [np.nan] * 3}))
    (axes,) = figure.axes
    assert sum(bar.get_height() for bar in axes.patches) == 2
    assert axes.get_title("right") == "median 0.55"
    assert confidence_figure(pd.DataFrame()) is None


@pytest.mark.parametrize(
    ("n", "note"),
    [(1, "All 1 objects, by area"), (40, "All 40 "), (1000, "All 1000 objects (on the right 300 of them")],
)
def test_sizes_say_how_many_are_shown(n, note, table_run):
    area = np.linspace(100, 200, n)
    objects = {"image": ["a"] * n, "area_mean": area, "area_q05": area - 9, "area_q95": area + 9}
    images = {"image": ["a"], "pixel_size_y": [0.5], "pixel_size_x": [0.25], "pixel_unit": ["um"]}
    figure, words = size_figure(table_run(images=images, objects=objects))
    assert words.startswith(note)
    assert figure.axes[0].get_xlabel() == "mean area (µm²)"
    (means,) = figure.axes[1].lines
    assert (means.get_ydata()[0], means.get_ydata()[-1]) == pytest.approx((12.5, 25.0 if n > 1 else 12.5))
    first = figure.axes[1].collections[0].get_segments()[0]
    assert first[:, 1] == pytest.approx([91 / 8, 109 / 8])
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == n


def test_objects_that_no_sample_holds_are_counted_beside_the_chart(table_run):
    areas = {"area": [30, 40, 50], "area_mean": [31, None, 52], "area_q05": [29, None, 48], "area_q95": [33, None, 55]}
    figure, note = size_figure(table_run(images={"image": ["a"]}, objects={"image": ["a"] * 3} | areas))
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == 2
    assert note == "2 objects, by area; 1 more are in no sample and have no mean area."


def test_areas_stay_in_pixels_if_units_differ(table_run):
    images = {
        "image": ["a", "b"],
        "pixel_size_y": [0.5, 1],
        "pixel_size_x": [0.5, 1],
        "pixel_unit": ["um", "pixel"],
    }
    figure, _ = size_figure(table_run(images=images, objects={"image": ["a", "b"], "area": [10, 2000]}))
    assert figure.axes[0].get_xlabel() == "mean area (px)"
    assert figure.axes[0].get_xscale() == "log"
    assert to_png(figure)


def test_no_sizes_without_areas(table_run):
    assert size_figure(table_run(images={"image": ["a"]}, objects={"image": ["a"], "existence": [1.0]})) is None


def test_training_curves_survive_what_logs_hold():
    steps = np.arange(500)
    log = pd.DataFrame({"step": steps, "loss": np.exp(-steps / 50.0), "kl": np.nan, "active": None})
    log.loc[3, "loss"] = np.inf
    log.loc[::50, "val_loss"] = 1.0
    figure = training_figure(log)
    assert [axes.get_title("left") for axes in figure.axes] == ["Loss"]
    assert to_png(figure)
    assert training_figure(pd.DataFrame({"step": [1], "loss": [np.nan]})) is None


def test_the_training_plot_is_written_beside_the_log(tmp_path):
    rows = [{"step": 25 * k, "loss": 1 + 1 / k, "kl": 0.02, "active": 3} for k in range(1, 31)]
    (tmp_path / "training.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    path = write_training_plot(tmp_path)
    assert path == tmp_path / "training.png"
    with Image.open(path) as picture:
        assert min(picture.size) > 500
        assert len(picture.convert("L").getcolors()) > 20  # something is drawn
    (tmp_path / "training.jsonl").write_text("")
    assert write_training_plot(tmp_path) is None


def test_names_are_drawn_literally_and_without_missing_glyphs():
    figure, (axes,) = new_chart(1, 1, 7, 3)
    name_ticks(axes, ["$a_b$", "\u7d30\u80de", "x" * 90])
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert shown[:2] == ["$a_b$", "\u25a1\u25a1"]
    assert len(shown[2]) < 41
    assert to_png(figure)  # a missing glyph or a formula would warn


def test_safe_text_leaves_common_letters_alone():
    assert safe_text("Zellkern_äöü_µm_é") == "Zellkern_äöü_µm_é"
