import json
import shutil

import matplotlib
import numpy as np
import pandas as pd
import pytest
import tifffile

import divseg
from divseg.errors import InputError
from divseg.io import PixelSize, read_labels, write_image
from divseg.results.files import NotInRun, NotKept, read_samples
from divseg.results.open_run import open_run

NAMES = ["cell0", "cell1", "large"]


@pytest.fixture(scope="module")
def run(real_run):
    return divseg.open_run(real_run)


def test_images_are_those_on_disk(run, real_run):
    assert [name for name in run.names if name in NAMES] == NAMES
    for name in NAMES:
        noisy = tifffile.imread(real_run.parent / "plate" / "images" / f"{name}.tif")
        np.testing.assert_array_equal(run.images[name], noisy)
        np.testing.assert_array_equal(run.denoised[name], tifffile.imread(real_run / "denoised" / f"{name}.tif"))
        np.testing.assert_array_equal(run.std[name], tifffile.imread(real_run / "maps" / f"{name}_std.tif"))
        np.testing.assert_array_equal(run.labels[name], read_labels(real_run / "labels" / f"{name}.tif"))
        for kind, maps in (("foreground", run.foreground), ("boundary", run.boundary)):
            np.testing.assert_allclose(255 * maps[name], tifffile.imread(real_run / "maps" / f"{name}_{kind}.tif"))
        assert 0 < run.foreground[name].max() <= 1
        assert run.samples[name].shape == (2, *noisy.shape)
        assert all(a[name].dtype.isnative for a in (run.images, run.denoised, run.std, run.samples))


def test_mappings_list_what_is_there_without_reading_it(run_copy):
    (run_copy / "denoised" / "cell0.tif").write_bytes(b"not an image")
    run = open_run(run_copy)
    assert list(run.denoised) == ["cell0"]
    assert "cell0" in run.denoised
    assert "of 1 image: cell0" in repr(run.denoised)
    (run_copy / "denoised" / "cell0.tif").unlink()
    assert len(run.denoised) == 0
    assert "cell0" not in run.denoised
    assert run.denoised.get("cell0") is None


def test_names_that_a_run_does_not_hold_are_told_in_one_line(run, run_copy):
    with pytest.raises(NotInRun, match="no image 'cel0' in this run; did you mean 'cell0'") as caught:
        run.labels["cel0"]
    assert isinstance(caught.value, KeyError)
    assert str(caught.value)[0] != "'"
    (run_copy / "labels" / "cell0.tif").unlink()
    with pytest.raises(NotInRun, match=r"cell0: this run holds no label images of it \(no file .*cell0\.tif"):
        open_run(run_copy).labels["cell0"]


@pytest.mark.parametrize("name", ["axes", "channel", "invalid", "project"])
def test_a_setting_of_a_damaged_record_is_named(run_copy, name):
    record = json.loads((run_copy / "run.json").read_text())
    record["config"]["data"][name] = [["auto"]]
    (run_copy / "run.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=rf"run\.json: its setting data\.{name}=.* is not a word or a number"):
        open_run(run_copy).images["cell0"]


@pytest.mark.parametrize(
    ("kept", "says"), [(["samples=2"], NotInRun), (["labels", "std"], NotKept), (["none"], NotKept), (3, NotInRun)]
)
def test_what_the_settings_left_out_is_said_to_be(run_copy, kept, says):
    shutil.rmtree(run_copy / "samples")
    record = json.loads((run_copy / "run.json").read_text())
    record["config"]["output"]["keep"] = kept
    (run_copy / "run.json").write_text(json.dumps(record))
    with pytest.raises(NotInRun) as caught:
        open_run(run_copy).samples["cell0"]
    assert caught.type is says
    if says is NotKept:
        assert str(caught.value) == "cell0: this run did not keep samples; run again with samples in --keep"


def test_tables_and_settings(run, real_run):
    assert len(run.objects) == run.images_table["n_objects"].sum() > 0
    assert set(run.scores["image"]) == set(run.names)
    assert "consensus majority" in set(run.summary["input"])
    assert run.failures.empty
    assert list(run.failures) == ["image", "file", "stage", "error"]
    assert run.command == "run"
    assert run.setting("fusion", "method") == run.config["fusion"]["method"] == "majority"
    assert run.setting("fusion", "absent") is None
    assert run.setting("absent", "method") is None
    assert run.training_log["step"].tolist() == [1]
    assert run.pixel_sizes["large"] == PixelSize(0.5, 0.5)
    assert run.pixel_sizes["cell0"] is None
    assert set(run.alternatives["image"]) <= set(run.names)


def test_the_model_is_that_of_the_run(run):
    assert run.model.training["steps"] == 20
    assert run.model is run.model


def test_label_stacks_are_ready_to_be_fused(run):
    stack = run.stacks["cell0"]
    assert stack.shape == run.labels["cell0"].shape
    of_the_samples = stack.select(range(4))
    assert divseg.fuse(of_the_samples, method="medoid").n_samples == 4


def test_warnings_by_image(run_copy):
    images = pd.read_csv(run_copy / "images.csv")
    images["warnings"] = "3 saturated pixels\n\n dim "
    images.to_csv(run_copy / "images.csv", index=False)
    assert open_run(run_copy).warnings == {"cell0": ["3 saturated pixels", "dim"]}


def test_plot_shows_the_outlines_in_the_colour_of_existence(run):
    matplotlib.use("Agg")
    axes = run.plot("cell0")
    (shown,) = axes.images
    pixels = shown.get_array().astype(int)
    labels = run.labels["cell0"]
    assert shown.get_extent() == [-0.5, labels.shape[1] - 0.5, labels.shape[0] - 0.5, -0.5]
    factor = pixels.shape[0] // labels.shape[0]
    coloured = np.ptp(pixels, axis=2) > 0
    inside = np.kron(labels > 0, np.ones((factor, factor), bool))
    assert coloured.any()
    assert not (coloured & ~inside).any()
    assert axes.figure.axes[1].get_ylabel() == "existence (fraction of samples)"
    panel = matplotlib.figure.Figure().subplots()
    assert run.plot("cell1", ax=panel) is panel
    matplotlib.pyplot.close("all")


def test_plot_without_a_denoised_image_is_on_black_and_volumes_are_refused(run_copy):
    (run_copy / "denoised" / "cell0.tif").unlink()
    axes = open_run(run_copy).plot("cell0", ax=matplotlib.figure.Figure().subplots())
    pixels = axes.images[0].get_array().astype(int)
    assert set(pixels[np.ptp(pixels, axis=2) == 0].ravel()) == {0}
    tifffile.imwrite(run_copy / "labels" / "cell0.tif", np.zeros((3, 8, 9), np.uint16), photometric="minisblack")
    with pytest.raises(InputError, match=r"\(3, 8, 9\) cannot be drawn"):
        open_run(run_copy).plot("cell0")


def test_what_a_notebook_shows(run, run_copy):
    assert repr(run).startswith("<divseg run in ")
    assert f"4 images, {len(run.objects)} objects, 0 failures" in repr(run)
    page = run._repr_html_()
    assert "consensus majority" in page
    assert "4 images" in page
    (run_copy / "summary.csv").unlink()
    odd = run_copy.rename(run_copy.with_name("<b>"))
    assert "<table" not in open_run(odd)._repr_html_()
    assert "&lt;b&gt;" in open_run(odd)._repr_html_()


def test_planes_of_one_file_are_told_apart(real_run, tmp_path):
    folder = shutil.copytree(real_run, tmp_path / "run")
    movie = np.arange(2 * 6 * 5, dtype=np.float32).reshape(2, 6, 5)
    write_image(tmp_path / "movie.tif", movie, axes="TYX")
    record = json.loads((folder / "run.json").read_text())
    record["inputs"] = [
        {"name": f"movie_t{t}", "path": str(tmp_path / "movie.tif"), "plane": [["T", t]]} for t in range(3)
    ]
    (folder / "run.json").write_text(json.dumps(record))
    run = open_run(folder)
    for t in (0, 1):
        np.testing.assert_array_equal(run.images[f"movie_t{t}"], movie[t])
    with pytest.raises(InputError, match=r"movie\.tif: the file has changed, it does not hold movie_t2 any more"):
        run.images["movie_t2"]


@pytest.mark.parametrize("n", [1, 2, 5])
def test_samples_have_an_axis_of_their_own(tmp_path, n):
    stack = np.random.default_rng(0).normal(size=(n, 8, 9)).astype(np.float32)
    write_image(tmp_path / "a.tif", stack, axes="SYX")
    np.testing.assert_array_equal(read_samples(tmp_path / "a.tif"), stack)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (None, "not a run folder"),
        ("{", "cannot be read"),
        ("[1]", "holds a list, not an object"),
        ({"divseg": "0.0.9", "command": "run"}, r"written by divseg 0\.0\.9 in a format .* run again"),
        ({"format": 3, "command": "run"}, "another version of divseg"),
        ({"format": 2, "command": "sample"}, "results of divseg sample; give one of divseg run, "),
    ],
)
def test_folders_that_cannot_be_opened(tmp_path, record, message):
    if record is not None:
        (tmp_path / "run.json").write_text(record if isinstance(record, str) else json.dumps(record))
    with pytest.raises(InputError, match=message) as caught:
        open_run(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="there is no such folder"):
        open_run(tmp_path / "absent")


def test_a_table_of_another_make_is_refused(run_copy):
    (run_copy / "objects.csv").write_text("image;label\na;1\n")
    with pytest.raises(InputError, match=r"objects\.csv: the table lacks the column 'image'"):
        _ = open_run(run_copy).objects
