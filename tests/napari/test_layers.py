import json
import shutil

import numpy as np
import pytest

from divseg import open_run
from divseg.errors import DivsegWarning, InputError
from divseg.io import PixelSize
from divseg.napari import reader
from divseg.napari.layers import METADATA, colours, features, first_image, image_layers, interval_text, stack_layers
from divseg.results.overlay import CONFIDENCE


def by_kind(layers):
    return {keywords["name"].split(" [")[0]: (data, keywords, kind) for data, keywords, kind in layers}


def test_layers_of_a_run_have_its_pixels_and_its_pixel_size(real_run):
    run = open_run(real_run)
    layers = by_kind(image_layers(run, "large"))
    assert list(layers) == ["noisy", "MMSE", "standard deviation", "samples", "labels"]
    np.testing.assert_array_equal(layers["noisy"][0], run.images["large"])
    np.testing.assert_array_equal(layers["MMSE"][0], run.denoised["large"])
    np.testing.assert_array_equal(layers["labels"][0], run.labels["large"])
    assert layers["labels"][1]["scale"] == [0.5, 0.5]
    assert layers["samples"][1]["scale"] == [1.0, 0.5, 0.5]
    assert layers["samples"][1]["units"] == ["pixel", "µm", "µm"]
    assert layers["labels"][1]["metadata"][METADATA] == {"folder": str(real_run), "image": "large"}
    assert [kind for *_, kind in layers.values()] == ["image"] * 4 + ["labels"]
    assert "scale" not in by_kind(image_layers(run, "cell0"))["labels"][1]


def test_an_image_that_has_moved_is_left_out_with_a_warning(run_copy):
    record = json.loads((run_copy / "run.json").read_text())
    for row in record["inputs"]:
        row["path"] = "/moved/away.tif"
    (run_copy / "run.json").write_text(json.dumps(record))
    with pytest.warns(DivsegWarning, match="noisy images"):
        layers = by_kind(image_layers(open_run(run_copy), "cell0"))
    assert list(layers) == ["MMSE", "standard deviation", "samples", "labels"]


def test_what_was_not_kept_is_left_out_without_a_word(fused):
    assert list(by_kind(image_layers(open_run(fused), "field0"))) == ["labels"]


def test_labels_have_the_colour_of_their_confidence(fused):
    run = open_run(fused)
    labels = run.labels["field0"]
    objects = run.objects[run.objects["image"] == "field0"]
    table = colours(labels, objects)
    assert table[0][3] == 0
    assert set(table) == {None, 0, *np.unique(labels).tolist()} - set()
    for label, existence in zip(objects["label"], objects["existence"], strict=True):
        np.testing.assert_allclose(table[label], CONFIDENCE(existence), atol=1 / 255)
    calibrated = objects.assign(p_true=0.25)
    np.testing.assert_allclose(colours(labels, calibrated)[1], CONFIDENCE(0.25), atol=1 / 255)


def test_features_tell_intervals_in_physical_units(fused):
    objects = open_run(fused).objects
    objects = objects[objects["image"] == "field0"]
    table = features(objects, PixelSize(0.5, 0.5, unit="µm"))
    assert table["index"].tolist() == [0, *objects["label"]]
    row = objects.iloc[3]
    area = [0.25 * row[f"area{part}"] for part in ("", "_q05", "_q95")]
    assert table["area"][4] == interval_text(*area, "µm²")
    assert table["diameter"][4].endswith(" µm")
    assert features(objects, None)["area"][4].endswith(" px")
    assert features(objects, PixelSize(0.5, 0.5, 2.0), 3)["area"][4] == interval_text(*(2 * np.array(area)), "µm³")
    assert features(objects, PixelSize(0.5, 0.5), 3)["area"][4].endswith(" px")
    assert table["existence"][4] == round(row["existence"], 2)
    assert "p_true" not in table
    assert table.iloc[0].drop("index").isna().all()  # nothing is said of the background


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((103.2, 97.0, 110.4), "103.2 (97 to 110.4) µm²"),
        ((103.2, np.nan, np.nan), "103.2 µm²"),
        ((np.nan, 1.0, 2.0), ""),
    ],
)
def test_interval_text(values, words):
    assert interval_text(*values, "µm²") == words


def test_planes_of_a_stack_have_labels_of_their_own(fused):
    run = open_run(fused)
    ((labels, keywords, kind),) = stack_layers(run, ["field0", "field2"])
    assert kind == "labels"
    assert labels.shape == (2, 90, 90)
    first, second = (set(np.unique(plane)) - {0} for plane in labels)
    assert not first & second
    np.testing.assert_array_equal(labels[1] > 0, run.labels["field2"] > 0)
    own = run.objects[run.objects["image"] == "field2"]["existence"].round(2).tolist()
    assert keywords["features"]["existence"][-len(own) :].tolist() == own
    assert keywords["features"]["index"].iloc[-1] == labels.max()


def test_the_reader_takes_run_folders_and_nothing_else(fused, tmp_path):
    assert reader.get_reader(str(tmp_path)) is None
    assert reader.get_reader([str(fused)]) is None
    assert reader.get_reader(str(fused / "objects.csv")) is None
    for path in (fused, fused / "run.json"):
        layers = reader.get_reader(str(path))(str(path))
        assert layers[-1][1]["name"] == f"labels [{first_image(open_run(fused))}]"


def test_the_reader_begins_with_the_least_certain_object(fused):
    run = open_run(fused)
    least = run.objects.sort_values(["existence", "mean_iou"], kind="stable")["image"].iloc[0]
    assert first_image(run) == least


def test_a_folder_without_labels_is_refused(fused, tmp_path):
    folder = shutil.copytree(fused, tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "command": "denoise"}))
    with pytest.raises(InputError, match="no label images"):
        reader.read_folder(str(folder))


def test_sample_data_are_the_demo_image_and_its_truth():
    (noisy, *_), (truth, _, kind) = reader.nuclei()
    assert noisy.shape == truth.shape == (512, 512)
    assert (truth.max(), kind) == (183, "labels")
