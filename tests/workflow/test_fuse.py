"""Fusing a folder: layouts, weights, truth, results, failures, going on."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile

from divseg import fuse
from divseg.errors import DivsegError, DivsegWarning, InputError, OutputError
from divseg.io import find_mask_sets, read_labels, write_labels
from divseg.io.formats import open_mask
from divseg.io.image import PixelSize
from divseg.results import RunStore
from divseg.workflow.calibrate import calibrate_run
from divseg.workflow.fuse import fuse_folder
from divseg.workflow.sharing import Options


class Heard:
    """A reporter that keeps what it is told."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)

    def training(self, row):
        raise AssertionError

    def images(self, done, total, now):
        self.lines.append(f"{done}/{total} {now}")

    def text(self):
        return "\n".join(self.lines)


def cells(seed, miss=0.2, jitter=1.0, side=40, pitch=20):
    """Draw four cells, moved and missed by chance."""
    rng = np.random.default_rng(seed)
    image = np.zeros((side, side), np.uint16)
    yy, xx = np.indices(image.shape)
    for n, (y, x) in enumerate(np.ndindex(side // pitch, side // pitch), 1):
        cy, cx = np.array([y, x]) * pitch + pitch / 2 + rng.normal(0, jitter, 2)
        if rng.random() >= miss:
            image[(yy - cy) ** 2 + (xx - cx) ** 2 <= 49] = n
    return image


def masks_of(image, count=3):
    return [cells(100 * image + k) for k in range(count)]


RATERS = ("r1", "r2", "r10")


@pytest.fixture
def raters(tmp_path):
    """Write three raters' masks of two images, with a pixel size, and the truth."""
    root = tmp_path / "masks"
    for image in range(2):
        for rater, mask in zip(RATERS, masks_of(image), strict=True):
            write_labels(root / rater / f"im{image}.tif", mask, PixelSize(0.2, 0.2))
        write_labels(tmp_path / "truth" / f"im{image}_mask.tif", cells(0, miss=0, jitter=0))
    return root


def write_stacks(root, count=3):
    root.mkdir(parents=True, exist_ok=True)
    for image in range(2):
        tifffile.imwrite(root / f"im{image}.tif", np.stack(masks_of(image, count)), photometric="minisblack")
    return root


def assert_fused(result, names=("im0", "im1"), **options):
    """The files hold what fuse gives."""
    out = result.out
    for image, name in enumerate(names):
        expected = fuse(masks_of(image), **options)
        assert np.array_equal(read_labels(out / "labels" / f"{name}.tif"), expected.labels)
        foreground, boundary = (
            tifffile.imread(out / "maps" / f"{name}_{kind}.tif") for kind in ("foreground", "boundary")
        )
        np.testing.assert_allclose(foreground / 255, expected.foreground, atol=1 / 509)
        np.testing.assert_allclose(boundary / 255, expected.boundary, atol=1 / 509)
        table = pd.read_csv(out / "objects.csv")
        mine = table[table["image"] == name].drop(columns="image").reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, expected.objects, check_dtype=False)
        lost = pd.read_csv(out / "alternatives" / f"{name}.csv", keep_default_na=False)
        assert lost["kind"].tolist() == expected.alternatives["kind"].tolist()
        assert lost["existence"].tolist() == pytest.approx(expected.alternatives["existence"].tolist())


def test_raters(raters, tmp_path):
    heard = Heard()
    result = fuse_folder(raters, truth=tmp_path / "truth", reporter=heard)
    assert result.out == raters.with_name("masks_fused")
    assert (result.n_images, result.n_failed) == (2, 0)
    assert_fused(result)
    assert "raters" in heard.text()
    assert open_mask(result.out / "labels" / "im0.tif").pixel_size.y == pytest.approx(0.2)
    images = pd.read_csv(result.out / "images.csv")
    assert images["n_masks"].tolist() == [3, 3]
    assert images["pixel_size_y"].tolist() == pytest.approx([0.2, 0.2])
    counts = [len(np.unique(m)) - 1 for m in masks_of(0)]
    assert images["count_mean"][0] == pytest.approx(np.mean(counts))
    assert images["count_q50"][0] == pytest.approx(np.median(counts))
    assert images["expected_map"][0] == pytest.approx(fuse(masks_of(0)).expected["map"])
    scores = pd.read_csv(result.out / "scores.csv", keep_default_na=False)
    assert scores["input"].tolist() == ["consensus clustering", *RATERS] * 2
    assert result.summary["input"].tolist() == ["consensus clustering", *RATERS]
    assert "| consensus clustering" in result.text
    assert pd.read_csv(result.out / "failures.csv").empty
    record = json.loads((result.out / "run.json").read_text())
    assert record["command"] == "fuse"
    assert record["raters"] == list(RATERS)
    assert record["config"]["fusion"]["method"] == "clustering"
    assert [len(row["files"]) for row in record["inputs"]] == [3, 3]
    assert record["versions"]["numpy"] == np.__version__


def test_stacks_and_folders_of_images_give_the_same(tmp_path):
    stacks = fuse_folder(write_stacks(tmp_path / "stacks"))
    assert_fused(stacks)
    for image in range(2):
        for k, mask in enumerate(masks_of(image)):
            write_labels(tmp_path / "images" / f"im{image}" / f"net{image}{k}.tif", mask)
    assert_fused(fuse_folder(tmp_path / "images"))


def test_images_whose_files_share_names_need_the_layout(tmp_path):
    for image in range(2):
        for k, mask in enumerate(masks_of(image)):
            write_labels(tmp_path / "m" / f"im{image}" / f"net{k}.tif", mask)
    assert find_mask_sets(tmp_path / "m").layout == "raters"
    assert_fused(fuse_folder(tmp_path / "m", layout="images"))


@pytest.mark.parametrize("method", ["majority", "voting"])
def test_settings_reach_the_method(raters, tmp_path, method):
    assert_fused(fuse_folder(raters, tmp_path / "o", method=method, existence=0.4), method=method, existence=0.4)


@pytest.mark.parametrize("form", ["numbers", "text", "table", "names"])
def test_weights_follow_the_natural_order_or_the_names(raters, tmp_path, form):
    table = tmp_path / "w.csv"
    table.write_text("name, weight\nr10, 4\nr1, 1\nr2, 2\n")
    names = {"r10": 4, "r2": 2, "r1": 1}
    given = {"numbers": [1, 2, 4], "text": "1,2,4", "table": table, "names": names}[form]
    result = fuse_folder(raters, tmp_path / "o", weights=given)
    assert_fused(result, weights=[1, 2, 4])
    image = pd.read_csv(result.out / "images.csv")
    counts = np.array([len(np.unique(m)) - 1 for m in masks_of(0)])
    assert image["count_mean"][0] == pytest.approx(np.dot(counts, [1, 2, 4]) / 7)


def test_a_missing_label_image_is_noted_and_the_weights_keep_their_ratio(raters, tmp_path):
    (raters / "r2" / "im1.tif").unlink()
    heard = Heard()
    result = fuse_folder(raters, tmp_path / "o", weights="1,2,4", reporter=heard)
    assert (result.n_images, result.n_failed) == (2, 0)
    assert "note: im1: fused without r2" in heard.text()
    first, _, third = masks_of(1)
    expected = fuse([first, third], weights=[1, 4]).labels
    assert np.array_equal(read_labels(result.out / "labels" / "im1.tif"), expected)
    images = pd.read_csv(result.out / "images.csv", keep_default_na=False)
    assert images["missing"].tolist() == ["", "r2"]


def test_volumes(tmp_path):
    volumes = [np.stack([m, m, m]) for m in masks_of(0)]
    (tmp_path / "s").mkdir()
    tifffile.imwrite(tmp_path / "s" / "im0.tif", np.stack(volumes), photometric="minisblack")
    for k, volume in enumerate(volumes):
        write_labels(tmp_path / "r" / f"r{k}" / "im0.tif", volume)
    expected = fuse(volumes).labels
    for folder in ("s", "r"):
        result = fuse_folder(tmp_path / folder)
        assert np.array_equal(read_labels(result.out / "labels" / "im0.tif"), expected)
        assert pd.read_csv(result.out / "images.csv")["depth"].tolist() == [3]
    flat = find_mask_sets(tmp_path / "s", ndim=2)
    assert "give a stack (K, Y, X)" in str(flat.problems[0][1])
    deep = find_mask_sets(write_stacks(tmp_path / "flat"), ndim=3)
    assert len(deep.problems) == 2


def test_stacks_are_scored_as_single_label_images(raters, tmp_path):
    result = fuse_folder(write_stacks(tmp_path / "stacks", 4), truth=tmp_path / "truth")
    assert result.summary["input"].tolist() == ["consensus clustering", "single label image"]
    assert result.summary["n_images"].tolist() == [2, 2]
    assert len(pd.read_csv(result.out / "scores.csv")) == 2 * 5


def test_one_bad_image_stops_nothing(raters, tmp_path):
    for name, mask in {"im2": cells(1), "im3": cells(2)[:, 1:], "im4": cells(3)}.items():
        write_labels(raters / "r1" / f"{name}.tif", mask)
        write_labels(raters / "r2" / f"{name}.tif", cells(9))
    (raters / "r2" / "im2.tif").write_text("no image")
    tifffile.imwrite(raters / "r2" / "im4.tif", np.full((40, 40), -1, np.int16))
    heard = Heard()
    result = fuse_folder(raters, tmp_path / "o", reporter=heard)
    assert (result.n_images, result.n_failed) == (2, 3)
    assert_fused(result)
    failures = pd.read_csv(result.out / "failures.csv").set_index("image")["error"]
    assert "must show the same pixels" in failures["im3"]
    assert "negative" in failures["im4"]
    assert set(failures.index) == {"im2", "im3", "im4"}
    assert not (result.out / "labels" / "im4.tif").exists()
    assert "failed: im4" in heard.text()
    assert "3 failed" in result.text


def test_truth_that_does_not_fit_is_a_failure_and_the_image_is_fused(raters, tmp_path):
    write_labels(tmp_path / "truth" / "im1_mask.tif", np.zeros((9, 9), int))
    result = fuse_folder(raters, tmp_path / "o", truth=tmp_path / "truth")
    assert (result.n_images, result.n_failed) == (2, 1)
    assert pd.read_csv(result.out / "failures.csv")["stage"].tolist() == ["truth"]
    write_labels(tmp_path / "truth" / "im1_mask.tif", cells(0, miss=0, jitter=0))
    tifffile.imwrite(tmp_path / "truth" / "im1_mask.tif", np.full((40, 40), -1, np.int16))
    result = fuse_folder(raters, tmp_path / "o", truth=tmp_path / "truth")
    assert (result.n_images, result.n_failed) == (1, 1)
    assert (result.out / "labels" / "im1.tif").is_file(), "the truth says nothing of the label images"


def test_again_skips_what_is_finished(raters, tmp_path):
    def again(**options):
        heard = Heard()
        result = fuse_folder(raters, tmp_path / "o", reporter=heard, **options)
        assert result.n_images == 2
        return heard.text()

    assert "finished before" not in again()
    before = (tmp_path / "o" / "objects.csv").read_text()
    assert "2 of 2 images were finished before" in again()
    assert (tmp_path / "o" / "objects.csv").read_text() == before
    write_labels(raters / "r2" / "im1.tif", cells(77, miss=0))
    assert "1 of 2 images were finished before" in again()
    read = [path.stat().st_mtime_ns for path in (tmp_path / "o" / "stacks").iterdir()]
    assert "finished before" not in again(weights=[1, 1, 2])
    assert [path.stat().st_mtime_ns for path in (tmp_path / "o" / "stacks").iterdir()] == read


def test_a_dry_run_tells_the_plan_and_writes_nothing(raters, tmp_path):
    write_labels(raters / "r1" / "im2.tif", cells(1))
    tifffile.imwrite(raters / "r1" / "im2.tif", np.full((40, 40), -1, np.int16))
    plan = fuse_folder(raters, tmp_path / "o", dry_run=True)
    assert (plan.out, plan.n_images, plan.n_failed) == (None, 2, 1)
    assert "negative" in plan.text
    assert "fuse: 0 done, 2 to do" in plan.text
    assert not (tmp_path / "o").exists()
    fuse_folder(raters, tmp_path / "o")
    plan = fuse_folder(raters, tmp_path / "o", method="majority", dry_run=True)
    assert "read: 2 done, 0 to do" in plan.text
    assert "fuse: 0 done, 2 to do" in plan.text


def test_truth_and_results_inside_the_folder_are_no_raters(raters):
    inner = raters / "truth"
    (raters.parent / "truth").rename(inner)
    for _ in range(2):
        result = fuse_folder(raters, raters / "fused", truth=inner)
        assert json.loads((result.out / "run.json").read_text())["raters"] == list(RATERS)


def test_the_folder_of_another_run_is_left_alone(raters, tmp_path):
    RunStore(tmp_path / "o", "run")
    for dry_run in (False, True):
        with pytest.raises(OutputError, match="results of divseg run"):
            fuse_folder(raters, tmp_path / "o", dry_run=dry_run)


def test_the_other_commands_leave_its_folder_alone(raters, tmp_path):
    from divseg.report import write_report

    fuse_folder(raters, tmp_path / "o")
    before = (tmp_path / "o" / "run.json").read_text()
    with pytest.raises(OutputError, match="results of divseg fuse"):
        RunStore(tmp_path / "o")  # what a run begins with
    with pytest.raises(InputError, match="results of divseg fuse, which has no report"):
        write_report(tmp_path / "o")
    assert (tmp_path / "o" / "run.json").read_text() == before


def test_files_beside_the_raters_are_noted(raters, tmp_path):
    write_labels(raters / "mean.tif", cells(1))
    heard = Heard()
    assert_fused(fuse_folder(raters, tmp_path / "o", reporter=heard))
    assert "1 files beside the subfolders" in heard.text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weights": [1, 2]}, "2 weights were given for 3 raters"),
        ({"weights": "1,two"}, "neither numbers like 2,1,1 nor"),
        ({"weights": "none.csv"}, "none.csv: the weights cannot be read"),
        ({"weights": {"r1": 1, "r2": 1}}, "no weight for r10"),
        ({"weights": {"r1": 1, "r2": 1, "r11": 1}}, "'r11', but nothing of that name; did you mean 'r1"),
        ({"weights": [0, 0, 0]}, "all weights are 0"),
        ({"weights": [1, -1, 0]}, "the weight -1 is impossible"),
        ({"method": "votes"}, "unknown method 'votes'"),
        ({"layout": "rater"}, "unknown layout 'rater'"),
        ({"layout": "stacks"}, "so there are no stacks"),
        ({"ndim": 4}, "ndim=4"),
        ({"truth": "nowhere"}, "nowhere"),
        ({"calibration": "none.json"}, "none.json"),
        ({"options": Options(redo=("fuze",))}, "did you mean 'fuse'"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_wrong_use_is_told_before_any_work(raters, tmp_path, options, words, dry_run):
    with pytest.raises(DivsegError, match=words) as caught:
        fuse_folder(raters, tmp_path / "o", dry_run=dry_run, **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "o").exists()


def test_tables_of_weights_are_checked(raters, tmp_path):
    table = tmp_path / "w.csv"
    for text, words in {"who,weight\nr1,1\n": "no column 'name'", "name,weight\nr1,1\nr1,2\n": "two weights"}.items():
        table.write_text(text)
        with pytest.raises(InputError, match=words):
            fuse_folder(raters, tmp_path / "o", weights=table)


def test_weights_of_planes_that_fit_no_image_are_told_before_any_work(tmp_path):
    stacks = tmp_path / "stacks"
    stacks.mkdir()
    for k in (3, 5):
        tifffile.imwrite(stacks / f"{k}.tif", np.ones((k, 8, 8), np.uint8), photometric="minisblack")
    with pytest.raises(InputError, match="4 weights were given for 3 or 5 label images"):
        fuse_folder(stacks, tmp_path / "o", weights=[1, 1, 1, 1])


def test_weights_of_planes_that_fit_some_images(tmp_path):
    stacks = write_stacks(tmp_path / "stacks")
    tifffile.imwrite(stacks / "im2.tif", np.stack(masks_of(2, 5)), photometric="minisblack")
    result = fuse_folder(stacks, weights=[1, 2, 4])
    assert_fused(result, weights=[1, 2, 4])
    assert (result.n_images, result.n_failed) == (2, 1)
    assert "3 weights for 5 label images" in pd.read_csv(result.out / "failures.csv")["error"][0]


def test_folders_without_a_layout(tmp_path):
    for folder, words in {
        "none": "no such file or folder",
        "empty": "no label images",
        "flat": "label images are 2-D",
    }.items():
        if folder != "none":
            (tmp_path / folder).mkdir()
        if folder == "flat":
            write_labels(tmp_path / folder / "a.tif", cells(0))
        with pytest.raises(InputError, match=words):
            fuse_folder(tmp_path / folder)
    write_labels(tmp_path / "twice" / "a" / "x.tif", cells(0))
    tifffile.imwrite(tmp_path / "twice" / "a" / "x.tiff", cells(0))
    with pytest.raises(InputError, match="two label images with the same name"):
        fuse_folder(tmp_path / "twice")


def test_careful_raters_with_weight_come_nearer_to_the_truth(tmp_path):
    """Two careful raters against three careless ones."""
    for image in range(3):
        write_labels(tmp_path / "truth" / f"i{image}.tif", cells(0, miss=0, jitter=0))
        for k in range(5):
            careful = k < 2
            mask = cells(1000 * image + k, miss=0.0 if careful else 0.6, jitter=0.3 if careful else 2.5)
            write_labels(tmp_path / "m" / f"r{k}" / f"i{image}.tif", mask)
    scores = [
        fuse_folder(tmp_path / "m", tmp_path / name, weights=weights, truth=tmp_path / "truth").summary["map"][0]
        for name, weights in {"good": "4,4,1,1,1", "even": None, "bad": "1,1,4,4,4"}.items()
    ]
    assert scores[0] > scores[1] + 0.01
    assert scores[1] > scores[2] + 0.01


def test_a_calibration_from_one_folder_serves_another(tmp_path):
    for image in range(8):
        for rater in ("r1", "r2", "r3"):
            labels = cells(10 * image + int(rater[1]), side=80)
            write_labels(tmp_path / "masks" / rater / f"im{image}.tif", labels)
        write_labels(tmp_path / "truth" / f"im{image}.tif", cells(0, miss=0, jitter=0, side=80))
    fuse_folder(tmp_path / "masks", reporter=Heard())
    made = calibrate_run(tmp_path / "masks_fused", tmp_path / "truth", tmp_path / "calibration").open().calibration
    options = {"calibration": tmp_path / "calibration", "reporter": (heard := Heard())}
    plain = pd.read_csv(tmp_path / "masks_fused" / "objects.csv")
    assert "confidence" not in plain
    result = fuse_folder(tmp_path / "masks", **options)
    assert result.n_failed == 0
    assert "finished before" not in heard.text()
    objects = pd.read_csv(result.out / "objects.csv")
    pd.testing.assert_frame_equal(objects.drop(columns="image"), made.apply(plain.drop(columns="image")))
    assert json.loads((result.out / "run.json").read_text())["calibration"]["n_images"] == 8
    with pytest.warns(DivsegWarning, match="made for method 'clustering' but this run fuses by 'majority'"):
        fuse_folder(tmp_path / "masks", tmp_path / "other", method="majority", **options)
    fuse_folder(tmp_path / "masks", **options)
    assert "8 of 8 images were finished before" in heard.text()
    with pytest.raises(InputError, match=r"cannot read the calibration .*none\.json"):
        fuse_folder(tmp_path / "masks", tmp_path / "third", calibration=tmp_path / "none.json")
