import numpy as np
import pytest

from divseg.errors import InputError
from divseg.io import check_inputs, write_labels


def test_summary(save, tmp_path):
    for k in range(3):
        save(f"{k}.tif", imagej=True, resolution=(10, 10), metadata={"unit": "um"})
    path, _ = save("s.tif", (4, 8, 9), dtype="uint8")
    report = check_inputs(path.parent, out=tmp_path / "out")
    assert report.images.names == ["0", "1", "2", "s_p0", "s_p1", "s_p2", "s_p3"]
    assert report.lines() == [
        "images: 7 in 4 files",
        "sizes: 8 x 9 (4), 16 x 17 (3)",
        "dtypes: uint8 (4), uint16 (3)",
        "axes: YX (each plane along P) (4), YX (3)",
        "pixel size: not known (4), 0.1 x 0.1 µm (3)",
        f"{path}: 4 x 8 x 9, axes not all known",
        f"note: {path}: a stack that does not say what its axes are, treated as separate planes; "
        "give --axes (TYX for time, ZYX for depth) to say so",
    ]
    assert not (tmp_path / "out").exists()


def test_bad_files_are_rows(save):
    good, _ = save("good.tif")
    (good.parent / "bad.tif").write_text("text")
    save("two.tif", (2, 8, 9), imagej=True, metadata={"axes": "CYX"})
    report = check_inputs(good.parent)
    assert report.images.names == ["good"]
    assert [(p.file.rpartition("/")[2], p.remedy) for p in report.problems] == [
        ("bad.tif", "export it as TIFF"),
        ("two.tif", "choose one with --channel 0 (0, 1)"),
    ]
    assert report.lines()[-2].startswith(f"problem: {good.parent / 'bad.tif'}: it is not a TIFF file")


def test_nothing_usable(save, tmp_path):
    path, _ = save("a.tif")
    path.write_bytes(b"")
    (path.parent / "b.tif").write_bytes(b"")
    with pytest.raises(InputError, match=r"none of the images can be used: .*a\.tif: it is empty.*1 more"):
        check_inputs(path.parent)
    with pytest.raises(InputError, match="no such file or folder"):
        check_inputs(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "names", [("a.tif", "a.ome.tif"), ("a.tif", "A.tiff"), ("a.tif", "a.TIF"), ("a_t0.tif", "a.tif")]
)
def test_shared_names(save, names):
    first, _ = save(names[0])
    second, _ = save(names[1], (2, 8, 9), imagej=True, metadata={"axes": "TYX"})
    if names[0] != "a_t0.tif":
        second, _ = save(names[1])
    with pytest.raises(InputError, match=r"same name .* overwrite each other") as caught:
        check_inputs(first.parent)
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)


class TestOut:
    def test_refused(self, save, tmp_path):
        path, _ = save("a.tif")
        folder = path.parent
        (tmp_path / "link").symlink_to(folder)
        for source, out, message in [
            (folder, folder, r"the output folder is the input folder .*images_divseg"),
            (folder, folder / "out", "the output folder lies inside the input folder"),
            (folder, tmp_path / "link" / "x", "lies inside the input folder"),
            (tmp_path / "link", folder, "is the input folder"),
            (folder, tmp_path, "this image lies inside the output folder"),
            (path, folder, "this image lies inside the output folder"),
            (folder, path, "is an existing file"),
        ]:
            with pytest.raises(InputError, match=message):
                check_inputs(source, out=out)

    def test_accepted(self, save, tmp_path):
        path, _ = save("a.tif")
        check_inputs(path.parent, out=tmp_path / "images2")
        check_inputs(path, out=path.parent / "out")
        check_inputs(str(path.parent / "*.tif"), out=path.parent / "out")


class TestTruth:
    def masks(self, folder, **masks):
        for name, mask in masks.items():
            write_labels(folder / f"{name}.tif", mask)
        return folder

    def test_by_name_and_suffix(self, save, tmp_path):
        mask = np.arange(16 * 17).reshape(16, 17)
        suffixes = ["", "_mask", "_masks", "_label", "_labels", "_gt"]
        for k in range(7):
            path, _ = save(f"i{k}.tif")
        truth = self.masks(tmp_path / "truth", other=mask, **{f"i{k}{s}": mask + k for k, s in enumerate(suffixes)})
        report = check_inputs(path.parent, truth=truth)
        for k in range(6):
            np.testing.assert_array_equal(report.truth[f"i{k}"].load(), mask + k)
        assert not report.problems
        assert report.lines()[5:] == [
            "ground truth: 6 of 7 images have a mask",
            "note: images without a mask, which get no scores: i6",
            "note: masks without an image: other.tif",
        ]

    def test_wrong_shape_colours_and_unreadable(self, save, tmp_path):
        for name in "abcd":
            path, _ = save(f"{name}.tif")
        truth = self.masks(tmp_path / "truth", a=np.ones((16, 17), int), b=np.ones((17, 16), int))
        (truth / "c.tif").write_text("x")
        save("d.tif", folder="truth", dtype="complex64")
        report = check_inputs(path.parent, truth=truth)
        assert report.images.names == ["a", "b", "c", "d"]
        assert list(report.truth) == ["a"]
        texts = [str(p) for p in report.problems]
        assert "b.tif: a mask of shape (17, 16) for image 'b' of shape (16, 17); give a mask" in texts[0]
        assert "c.tif: it is not a TIFF" in texts[1]
        assert "d.tif: a mask of dtype complex64; save the mask as integers" in texts[2]

    def test_planes_of_one_file(self, save, tmp_path, rng):
        path, _ = save("a.tif", (2, 3, 8, 9))
        mask = rng.integers(0, 99, (6, 8, 9))
        truth = self.masks(tmp_path / "truth", a=mask)
        report = check_inputs(path, axes="STYX", truth=truth)
        assert list(report.truth)[4] == "a_s1_t1"
        for k, ref in enumerate(report.truth.values()):
            np.testing.assert_array_equal(ref.load(), mask[k])
        save("a_gt.tif", folder="truth4", data=mask.reshape(2, 3, 8, 9).astype("uint16"))
        report = check_inputs(path, axes="STYX", truth=tmp_path / "truth4")
        np.testing.assert_array_equal(report.truth["a_s1_t1"].load(), mask[4])
        self.masks(tmp_path / "single", a_s1_t1=mask[4])
        report = check_inputs(path, axes="STYX", truth=tmp_path / "single")
        assert list(report.truth) == ["a_s1_t1"]
        np.testing.assert_array_equal(report.truth["a_s1_t1"].load(), mask[4])
        self.masks(tmp_path / "short", a=mask[:5])
        report = check_inputs(path, axes="STYX", truth=tmp_path / "short")
        assert not report.truth
        assert "for image 'a_s0_t0' of shape (6, 8, 9)" in str(report.problems[0])

    def test_depth(self, save, tmp_path, rng):
        path, _ = save("a.tif", (3, 8, 9), imagej=True, metadata={"axes": "ZYX"})
        mask = rng.integers(0, 99, (3, 8, 9))
        report = check_inputs(path, depth="volume", truth=self.masks(tmp_path / "truth", a=mask))
        np.testing.assert_array_equal(report.truth["a"].load(), mask)

    def test_a_plane_is_not_the_truth_of_a_volume(self, save, tmp_path):
        path, _ = save("a.tif", (3, 8, 9), imagej=True, metadata={"axes": "ZYX"})
        truth = self.masks(tmp_path / "truth", a=np.ones((8, 9), int))
        report = check_inputs(path, depth="volume", truth=truth)
        assert [p.problem for p in report.problems] == ["a mask of shape (8, 9) for image 'a' of shape (3, 8, 9)"]
        assert list(check_inputs(path, depth="max", truth=truth).truth) == ["a"]

    def test_masks_among_the_images(self, save):
        path, _ = save("a.tif")
        self.masks(path.parent, a_mask=np.ones((16, 17), int))
        report = check_inputs(path.parent, truth=path.parent)
        assert report.images.names == ["a"]
        assert report.truth["a"].path.name == "a_mask.tif"
        assert any("a_mask.tif: named as the mask of another image" in line for line in report.lines())

    def test_two_masks_of_one_image(self, save, tmp_path):
        path, _ = save("a.tif")
        truth = self.masks(tmp_path / "truth", a=np.ones((16, 17), int), a_mask=np.ones((16, 17), int))
        with pytest.raises(InputError, match=r"a\.tif and .*a_mask\.tif: each could be the mask of image 'a'"):
            check_inputs(path, truth=truth)

    def test_no_mask_at_all(self, save, tmp_path):
        path, _ = save("a.tif")
        truth = self.masks(tmp_path / "truth", b=np.ones((16, 17), int))
        with pytest.raises(
            InputError, match="no mask has the name of an image; for image 'a' name it a, a_cp_masks, a_mask"
        ):
            check_inputs(path, truth=truth)
        with pytest.raises(InputError, match="no such file"):
            check_inputs(path, truth=tmp_path / "nowhere")
