import numpy as np
import pytest
import tifffile

from divseg.errors import DivsegWarning, InputError
from divseg.metrics import evaluate

TRUTH = np.kron(np.arange(6).reshape(2, 3), np.ones((4, 4), int)).astype(np.uint16)


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "pred").mkdir()
    (tmp_path / "truth").mkdir()
    return tmp_path / "pred", tmp_path / "truth"


def write(folder, **images):
    for name, labels in images.items():
        tifffile.imwrite(folder / f"{name}.tif", labels, photometric="minisblack")


def test_files_are_paired_by_name(folders):
    pred, truth = folders
    missing = np.where(TRUTH == 3, 0, TRUTH)
    write(pred, a=missing, b_label=TRUTH, t10=TRUTH, t2_masks=TRUTH)
    write(truth, a_mask=TRUTH, b_gt=TRUTH, t10_labels=TRUTH, t2=TRUTH)
    table = evaluate(*folders).images
    assert table["image"].tolist() == ["a", "b", "t2", "t10"]
    assert table["pred"].tolist() == ["a.tif", "b_label.tif", "t2_masks.tif", "t10.tif"]
    assert table["truth"].tolist() == ["a_mask.tif", "b_gt.tif", "t2.tif", "t10_labels.tif"]
    assert table["map"].tolist() == [0.8, 1, 1, 1]
    assert list(table)[3:] == list(evaluate(TRUTH, TRUTH).as_row())


def test_options_reach_the_scores(folders):
    write(folders[0], a=(TRUTH > 0).astype(np.uint16))
    write(folders[1], a=TRUTH)
    assert evaluate(*folders, partial=True).images["map"].isna().all()
    assert evaluate(*folders, thresholds=[0.1]).images["thresholds"].tolist() == ["0.1"]


def test_predictions_without_truth_are_named(folders):
    write(folders[0], a=TRUTH, b=TRUTH)
    write(folders[1], a=TRUTH)
    with pytest.warns(DivsegWarning, match=r"1 of 2 label images .* not scored: b.tif"):
        assert len(evaluate(*folders).images) == 1


def test_truth_without_prediction_is_an_error(folders):
    write(folders[0], a=TRUTH)
    write(folders[1], a=TRUTH, b=TRUTH, c=TRUTH)
    with pytest.raises(InputError, match=r"no label image for 2 files of the truth \(b.tif, c.tif\)"):
        evaluate(*folders)


def test_two_files_of_one_image(folders):
    write(folders[0], a=TRUTH, a_mask=TRUTH)
    write(folders[1], a=TRUTH)
    with pytest.raises(InputError, match=r"a_?m?a?s?k?\.tif and a_?m?a?s?k?\.tif are both labels of one image"):
        evaluate(*folders)


def test_errors_name_the_files(folders):
    write(folders[0], a=TRUTH[:4])
    write(folders[1], a_gt=TRUTH)
    with pytest.raises(
        InputError, match=r"a\.tif and .*a_gt\.tif: pred has shape \(4, 12\) but truth has shape \(8, 12\)"
    ):
        evaluate(*folders)
    with pytest.raises(InputError, match=r"nowhere: there is no such file or folder"):
        evaluate(folders[0] / "nowhere", folders[1])


def test_cell_tracking_challenge(tmp_path):
    pred, truth = tmp_path / "01_RES", tmp_path / "01_GT" / "SEG"
    pred.mkdir()
    truth.mkdir(parents=True)
    write(pred, mask000=TRUTH, mask001=TRUTH * 2, mask002=TRUTH * 0, mask003=TRUTH)
    write(truth, man_seg000=TRUTH, man_seg002=TRUTH)
    for folder in (truth, truth.parent):
        table = evaluate(pred, folder).images
        assert table["image"].tolist() == ["man_seg000", "man_seg002"]
        assert table["pred"].tolist() == ["mask000.tif", "mask002.tif"]
        assert table["seg"].tolist() == [1, 0]
        assert table["map"].tolist() == [1, 0]
    assert evaluate(pred, truth, partial=True).images["map"].isna().all()


def test_single_planes_of_a_volume_are_partial_truth(folders):
    pred, truth = folders
    volume = np.stack([TRUTH * 0, TRUTH, TRUTH, TRUTH * 0])
    write(pred, mask0000=volume, mask0007=volume)
    write(truth, man_seg_0000_002=np.where(TRUTH < 3, TRUTH, 0).astype(np.uint16), man_seg_0007_003=TRUTH)
    table = evaluate(pred, truth).images
    assert table["seg"].tolist() == [1, 0]
    assert table["n_true"].tolist() == [2, 5]
    assert table["partial"].all()
    assert table["map"].isna().all()
    write(truth, man_seg_0000_004=TRUTH)
    with pytest.raises(InputError, match=r"shows plane 4, but mask0000.tif has shape \(4, 8, 12\)"):
        evaluate(pred, truth)


def test_incomplete_challenge_results(folders):
    pred, truth = folders
    write(truth, man_seg000=TRUTH, man_seg005=TRUTH)
    write(pred, result=TRUTH)
    with pytest.raises(InputError, match=r"no mask\*\.tif"):
        evaluate(pred, truth)
    write(pred, mask000=TRUTH)
    with pytest.raises(InputError, match=r"no label image for 1 files of the truth \(man_seg005.tif\)"):
        evaluate(pred, truth)


def test_two_files_are_scored_whatever_their_names(folders):
    write(folders[0], a_mask=TRUTH)
    write(folders[1], other=np.where(TRUTH == 1, 0, TRUTH))
    one, two = folders[0] / "a_mask.tif", folders[1] / "other.tif"
    table = evaluate(one, two).images
    assert table[["image", "pred", "truth"]].to_numpy().tolist() == [["a", "a_mask.tif", "other.tif"]]
    assert table["map"][0] == 0.8
    with pytest.raises(InputError, match="one is a file and the other a folder"):
        evaluate(one, folders[1])
    with pytest.raises(InputError, match=r"none\.tif: there is no such file or folder"):
        evaluate(one, folders[1] / "none.tif")
