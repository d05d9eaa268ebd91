"""The file of truth and of the label images that a consensus is compared with."""

import numpy as np
import pytest

from divseg.errors import FileProblem
from divseg.results.rivals import load_rivals, save_rivals


def test_label_images_come_back_as_they_were(tmp_path):
    truth = np.arange(12, dtype=np.uint16).reshape(3, 4)
    labels = {"gaussian sigma=2": np.eye(3, 4, dtype=np.int32) * 70000, "mmse": np.zeros((3, 4), np.int32)}
    save_rivals(tmp_path / "cell.npz", truth, labels)
    read = load_rivals(tmp_path / "cell.npz")
    assert list(read) == ["truth", *labels]
    for name, image in {"truth": truth, **labels}.items():
        assert read[name].dtype == np.uint32
        np.testing.assert_array_equal(read[name], image)


@pytest.mark.parametrize("kind", ["missing", "text", "no truth", "other shapes"])
def test_a_file_that_does_not_fit_is_told(tmp_path, kind):
    path = tmp_path / "cell.npz"
    if kind == "text":
        path.write_text("no archive")
    if kind == "no truth":
        np.savez(path, mmse=np.zeros((3, 4), np.uint32))
    if kind == "other shapes":
        save_rivals(path, np.zeros((3, 4), int), {"mmse": np.zeros((4, 4), int)})
    with pytest.raises(FileProblem, match=r"cell\.npz.*run again"):
        load_rivals(path)
