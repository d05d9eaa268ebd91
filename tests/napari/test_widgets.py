"""The docks. They need OpenGL: without a screen, run this with xvfb-run."""

import numpy as np
import pytest

from divseg import open_run

pytest.importorskip("pytestqt", reason="the widgets need pytest-qt, which is not installed")
napari = pytest.importorskip("napari", reason="the widgets need napari, which is not installed")
pytestmark = pytest.mark.filterwarnings("default")  # napari, Qt and their packages warn of one another


@pytest.fixture
def viewer(qtbot):
    viewer = napari.Viewer(show=False)
    yield viewer
    viewer.close()


@pytest.fixture
def dock(viewer, fused, tmp_path, monkeypatch):
    from divseg.napari import review, review_widget

    monkeypatch.setattr(
        review_widget, "Review", lambda run, name: review.Review(run, name, tmp_path / "truth")
    )  # the run folder is shared by all tests
    widget = review_widget.ReviewWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.open_folder(fused, "field1")
    return widget


def test_the_plug_in_is_found_and_opens_a_run_folder(viewer, fused):
    (layer,) = viewer.open(fused, plugin="divseg")
    name = layer.metadata["divseg"]["image"]
    run = open_run(fused)
    np.testing.assert_array_equal(layer.data, run.labels[name])
    label = int(run.objects[run.objects["image"] == name]["label"].iloc[0])
    y, x = (int(v[0]) for v in np.nonzero(layer.data == label))
    said = layer.get_status((y, x), world=True)["coordinates"]
    assert "existence" in said
    assert " px" in said
    assert " to " in said


def test_sample_data_and_docks_are_in_the_menus(viewer):
    viewer.open_sample("divseg", "nuclei")
    assert [layer.name for layer in viewer.layers] == ["nuclei, noisy", "nuclei, truth"]
    _, widget = viewer.window.add_plugin_dock_widget("divseg", "Run on the open layer")
    assert widget.layer.currentText() == "nuclei, noisy"
    _, widget = viewer.window.add_plugin_dock_widget("divseg", "Review uncertain objects")
    assert widget.line.text() == "open a run folder"


def test_the_review_goes_to_the_least_certain_object(dock, viewer):
    label = dock.review.queue["label"].iloc[0]
    assert dock.label == label
    np.testing.assert_allclose(viewer.camera.center[-2:], dock.review.centre(label), atol=0.5)
    assert dock.layer.selected_label == label


def test_decisions_change_the_layer_and_are_saved(dock, viewer):
    first, second = dock.review.queue["label"].iloc[:2]
    dock.buttons["accept"].click()
    assert dock.label == second
    dock.buttons["reject"].click()
    assert not (dock.layer.data == second).any()
    assert dock.layer.data is dock.review.labels
    dock.buttons["undo"].click()
    assert (dock.layer.data == second).any()
    dock.buttons["save"].click()
    assert "1 of " in dock.line.text()
    assert "divseg calibrate" in dock.line.text()
    assert dock.review.file.is_file()
    assert dock.review.verdicts == {first: "accepted"}


def test_split_at_points_and_merge_with_the_picked_label(dock, viewer):
    label = dock.label
    y, x = dock.review.centre(label)
    dock.buttons["points"].click()
    viewer.layers["split here"].data = np.array([[y, x - 2], [y, x + 2]])
    dock.buttons["split"].click()
    assert "split here" not in viewer.layers
    new = int(dock.review.labels.max())
    assert dock.review.verdicts == {label: "corrected", new: "corrected"}
    dock.table.selectRow(0)
    assert dock.label == label
    dock.buttons["merge"].click()
    assert "pick the other object" in dock.line.text()
    dock.layer.selected_label = new
    dock.buttons["merge"].click()
    assert not (dock.review.labels == new).any()


def test_another_image_replaces_the_layers_and_what_was_decided_is_saved(dock, viewer):
    earlier, file = dock.review, dock.review.file
    dock.buttons["accept"].click()
    dock.images.setCurrentText("field3")
    dock.images.activated.emit(3)
    assert [layer.name for layer in viewer.layers] == ["labels [field3]"]
    assert dock.review is not earlier
    assert file.is_file()


def test_an_error_is_told_below_the_buttons(dock):
    dock.buttons["undo"].click()
    assert dock.line.text() == "there is nothing to take back"


def test_run_on_a_layer_in_a_thread_and_cancel(viewer, qtbot, tmp_path):
    from divseg.napari import run_widget

    y, x = np.indices((64, 64))
    noisy = np.where((y - 30) ** 2 + (x - 30) ** 2 < 200, 200, 100) + np.random.default_rng(0).normal(0, 10, y.shape)
    viewer.add_image(noisy.astype(np.uint16), name="disc")
    widget = run_widget.RunWidget(viewer)
    qtbot.addWidget(widget)
    widget.start.click()
    assert widget.line.text() == "name a new folder for the results"
    widget.folder.setText(str(tmp_path))
    widget.segmenter.setCurrentText("otsu")
    widget.samples.setValue(2)
    widget.minutes.setValue(10)
    widget.start.click()
    assert not widget.start.isEnabled()
    qtbot.waitUntil(lambda: widget.bar.value() >= 0 and "training" in widget.line.text(), timeout=60000)
    widget.stop.click()
    qtbot.waitUntil(widget.start.isEnabled, timeout=60000)
    assert widget.line.text().startswith("cancelled")
    widget.minutes.setValue(0.01)
    widget.start.click()
    qtbot.waitUntil(widget.start.isEnabled, timeout=240000)
    assert "report.html" in widget.line.text(), widget.line.text()
    assert [layer.name.split(" [")[0] for layer in viewer.layers] == ["disc", "MMSE", "standard deviation", "labels"]
