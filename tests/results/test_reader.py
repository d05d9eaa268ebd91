import numpy as np
import pandas as pd
import pytest
import tifffile

from divseg.results.reader import column, read_results, text


def test_column_is_numbers_or_nan():
    table = pd.DataFrame({"a": ["1.5", "", "x", "inf", "-2"]})
    np.testing.assert_array_equal(column(table, "a"), [1.5, np.nan, np.nan, np.nan, -2])
    np.testing.assert_array_equal(column(table, "b"), [np.nan] * 5)
    assert text(table, "b") == [""] * 5


@pytest.mark.parametrize("name", ["NA", "001", "nan", "1e5", "", " ", "None", "a,b", 'q"q', "ü\u2028"])
def test_image_names_come_back_as_written(tmp_path, name):
    pd.DataFrame({"image": [name], "n_objects": [3]}).to_csv(tmp_path / "images.csv", index=False)
    results = read_results(tmp_path)
    assert results.names == [name]
    assert column(results.images, "n_objects")[0] == 3


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "..", "/", ""])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    (tmp_path / "run.json").write_text("{}")
    path = read_results(tmp_path).path("plots", name, ".png")
    assert path.resolve().is_relative_to(tmp_path.resolve() / "plots")


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("layout", ["pages", "one", "rgb"])
def test_at_most_two_samples_are_read_however_they_are_stored(tmp_path, n, layout):
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "samples").mkdir()
    stack = np.random.default_rng(0).normal(size=(n, 8, 9)).astype(np.float32)
    path = tmp_path / "samples" / "a.tif"
    if layout == "pages":
        tifffile.imwrite(path, stack, photometric="minisblack")
    elif layout == "one":
        tifffile.imwrite(path, stack, photometric="minisblack", volumetric=True, tile=(1, 16, 16))
    else:
        tifffile.imwrite(path, stack, photometric="minisblack", planarconfig="separate" if n > 1 else None)
    samples = read_results(tmp_path).read("a").samples
    assert len(samples) == min(n, 2)
    for sample, expected in zip(samples, stack, strict=False):
        np.testing.assert_array_equal(sample, expected)


def test_label_stacks_are_refused_with_a_reason(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "labels").mkdir()
    tifffile.imwrite(tmp_path / "labels" / "a.tif", np.zeros((4, 8, 9), np.uint16), photometric="minisblack")
    data = read_results(tmp_path).read("a")
    assert data.labels is None
    assert any("expected a 2-D image, got shape (4, 8, 9)" in line for line in data.missing)
