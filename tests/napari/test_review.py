import shutil

import numpy as np
import pandas as pd
import pytest
import tifffile

from divseg import open_run
from divseg.errors import InputError
from divseg.io import write_labels
from divseg.napari.review import ACCEPTED, CORRECTED, REJECTED, Review
from divseg.workflow.calibrate import calibrate_run


def test_the_queue_is_that_of_the_run_and_verdicts_shorten_it(fused, tmp_path):
    run = open_run(fused)
    review = Review(run, "field1", tmp_path)
    existence = review.queue["existence"].to_numpy()
    assert (np.diff(existence) >= 0).all()
    assert existence[0] < 1
    first, second, third = review.queue["label"].tolist()[:3]
    assert review.next() == first
    review.accept(first)
    review.reject(second)
    assert review.next() == third
    assert review.verdicts == {first: ACCEPTED, second: REJECTED}
    assert review.words == f"2 of {len(review.queue)} objects reviewed"
    assert not (review.labels == second).any()
    assert review.undo()
    assert review.next() == second
    np.testing.assert_array_equal(review.labels, run.labels["field1"])
    assert review.undo()
    assert not review.undo()


def test_a_split_and_its_merge(fused, tmp_path):
    review = Review(open_run(fused), "field0", tmp_path)
    label = review.next()
    y, x = review.centre(label)
    new = review.split(label, [[y, x - 2], [y, x + 2]])
    assert review.verdicts == {label: CORRECTED, new: CORRECTED}
    assert review.centre(label)[1] < x < review.centre(new)[1]
    review.merge(label, new)
    assert review.centre(label) == (y, x)
    assert review.centre(new) is None
    with pytest.raises(InputError, match=f"no object {new}"):
        review.accept(new)


def test_a_review_goes_on_where_it_was_saved(fused, tmp_path):
    run = open_run(fused)
    first, other = Review(run, "field0", tmp_path), Review(run, "field1", tmp_path)
    first.accept(first.next())
    label = first.next()
    first.reject(label)
    other.accept(other.next())
    for review in (first, other, first):
        assert review.save() == tmp_path / f"{review.name}.tif"
    again = Review(run, "field0", tmp_path)
    assert again.verdicts == first.verdicts
    assert not (again.labels == label).any()
    assert again.next() == first.next()
    table = pd.read_csv(tmp_path / "reviewed.csv")
    assert table["image"].value_counts().to_dict() == {"field0": 2, "field1": 1}


def test_truth_goes_beside_the_run_unless_it_is_told(fused):
    assert Review(open_run(fused), "field0").truth == fused.resolve().parent / "run_truth"


def test_a_truth_of_another_shape_is_refused(fused, tmp_path):
    write_labels(tmp_path / "field0.tif", np.ones((4, 5), int))
    with pytest.raises(InputError, match=r"field0\.tif: shape \(4, 5\)"):
        Review(open_run(fused), "field0", tmp_path)


def test_a_volume_is_refused(fused, tmp_path):
    folder = shutil.copytree(fused, tmp_path / "run")
    tifffile.imwrite(folder / "labels" / "field0.tif", np.ones((2, 8, 9), np.uint16))
    with pytest.raises(InputError, match="cannot be reviewed"):
        Review(open_run(folder), "field0", tmp_path)


def test_the_truth_is_one_for_calibrate(fused, tmp_path):
    """What was rejected counts as false, all others as true."""
    run, truth = open_run(fused), tmp_path / "truth"
    rejected = 0
    for name in run.names:
        review = Review(run, name, truth)
        for label in review.queue["label"].tolist()[:4]:
            review.reject(label)
            rejected += 1
        review.save()
    made = calibrate_run(fused, truth, tmp_path / "calibration").open()
    assert made.calibration.n_images == 6
    outcomes = pd.read_csv(tmp_path / "calibration" / "objects.csv")
    assert np.count_nonzero(outcomes["hit"] == 0) == rejected
    assert np.count_nonzero(outcomes["hit"] == 1) == len(run.objects) - rejected
