import json
import shutil

import numpy as np
import pytest
import tifffile

from divseg.report.image_data import read_image_data
from divseg.results.crops import Crop, save_crop
from divseg.results.open_run import open_run


def test_everything_of_a_real_run_is_read(real_run):
    run = open_run(real_run)
    data = read_image_data(run, "cell1")
    assert data.missing == ()
    for image, expected in (
        (data.labels, run.labels),
        (data.mmse, run.denoised),
        (data.std, run.std),
        (data.noisy, run.images),
    ):
        np.testing.assert_array_equal(image, expected["cell1"])
    np.testing.assert_array_equal(data.crop.samples, run.crops["cell1"].samples)
    np.testing.assert_allclose(data.crop.samples[:2], run.samples["cell1"], atol=np.ptp(data.crop.samples) / 500)
    assert data.shape == (72, 80)


@pytest.mark.parametrize(
    ("gone", "piece"),
    [
        ("labels", "labels (cell0: this run holds no label images"),
        ("denoised", "MMSE (cell0: this run holds no denoised"),
        ("maps", "standard deviation (cell0: this run holds no maps"),
        ("crops", "samples (cell0: this run holds no parts of samples of it"),
    ],
)
def test_any_piece_may_be_missing(run_copy, gone, piece):
    shutil.rmtree(run_copy / gone)
    (line,) = read_image_data(open_run(run_copy), "cell0").missing
    assert line.startswith(piece)


def test_what_was_not_kept_is_not_missed(run_copy):
    for kind in ("denoised", "crops"):
        shutil.rmtree(run_copy / kind)
    record = json.loads((run_copy / "run.json").read_text())
    record["config"]["output"]["keep"] = ["std"]
    (run_copy / "run.json").write_text(json.dumps(record))
    data = read_image_data(open_run(run_copy), "cell0")
    assert data.mmse is None
    assert data.crop is None
    assert data.missing == ()
    assert data.std is not None


def test_damaged_pieces_leave_a_line(run_copy):
    (run_copy / "labels" / "cell0.tif").write_bytes(b"II*\0 not a tiff")
    tifffile.imwrite(run_copy / "denoised" / "cell0.tif", np.zeros((7, 7), np.float32))
    (run_copy / "crops" / "cell0.npz").write_bytes(b"")
    record = json.loads((run_copy / "run.json").read_text())
    next(row for row in record["inputs"] if row["name"] == "cell0")["path"] += ".moved"
    (run_copy / "run.json").write_text(json.dumps(record))
    data = read_image_data(open_run(run_copy), "cell0")
    assert data.shape == (7, 7)
    assert data.labels is data.noisy is data.std is None
    assert data.crop is None
    starts = [
        "labels (",
        "standard deviation (shape (72, 80) differs from (7, 7))",
        "noisy image (cell0: ",
        "samples (",
    ]
    assert all(any(line.startswith(start) for line in data.missing) for start in starts)
    assert len(data.missing) == 4


def test_pieces_of_other_dimensions_than_the_labels_are_left_out(run_copy):
    tifffile.imwrite(run_copy / "labels" / "cell0.tif", np.zeros((4, 8, 9), np.uint16), photometric="minisblack")
    data = read_image_data(open_run(run_copy), "cell0")
    assert (data.shape, data.volume.plane) == ((8, 9), 2)
    assert data.mmse is data.noisy is data.crop is None
    assert "MMSE (shape (72, 80) differs from (4, 8, 9))" in data.missing


def test_samples_of_another_image_are_not_shown(run_copy):
    save_crop(run_copy / "crops" / "cell0.npz", Crop(1, 0, 0, np.zeros((2, 72, 80), np.float32)))
    data = read_image_data(open_run(run_copy), "cell0")
    assert data.crop is None
    assert data.missing == ("samples (a part of an image of another size than (72, 80))",)
