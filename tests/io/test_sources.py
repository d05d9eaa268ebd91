import os
from pathlib import Path

import pytest

from divseg.errors import InputError
from divseg.io import read
from divseg.io.sources import find_files, stem


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("a.tif", "a"),
        ("a.OME.TIF", "a"),
        ("a.ome.tiff", "a"),
        ("a.b.png", "a.b"),
        (".ome.tif", ".ome"),
        ("a_t1.TIFF", "a_t1"),
    ],
)
def test_stem(name, want):
    assert stem(Path("x") / name) == want


def test_folder_in_natural_order_without_other_files(save, tmp_path):
    for name in ("t10.tif", "t2.TIF", "T1.tiff", ".hidden.tif", "b.ome.tif"):
        path, _ = save(name)
    (path.parent / "Thumbs.db").write_bytes(b"x")
    (path.parent / "notes.txt").write_text("x")
    (path.parent / "folder.tif").mkdir()
    assert read(path.parent).names == ["b", "T1", "t2", "t10"]


def test_globs_and_lists(save, tmp_path, monkeypatch):
    save("a1.tif")
    save("a2.tif")
    save("b.tif", folder="other/deep")
    assert read(str(tmp_path / "images" / "a*.tif")).names == ["a1", "a2"]
    assert read(str(tmp_path / "**" / "*.tif")).names == ["a1", "a2", "b"]
    mixed = [str(tmp_path / "other/deep"), tmp_path / "images" / "a2.tif"]
    assert read(mixed).names == ["b", "a2"]
    assert read(tmp_path / "images/*2.tif").names == ["a2"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read("~/images").names == ["a1", "a2"]


def test_brackets_in_a_name_are_no_glob(save):
    path, _ = save("a[1].tif", folder="plate [1]")
    assert read(str(path)).names == ["a[1]"]
    assert read(str(path.parent)).names == ["a[1]"]


def test_nothing_found(tmp_path):
    for source, message in [
        (tmp_path / "none", "no such file or folder"),
        (tmp_path, "no images in this folder .looked for .tif, .tiff"),
        (str(tmp_path / "*.tif"), "this glob matches nothing"),
        ([], "there are no images"),
        ([3], "neither a path nor a glob"),
    ]:
        with pytest.raises(InputError, match=message):
            find_files(source)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match="matches 1 files but no image"):
        find_files(str(tmp_path / "*"))
    (tmp_path / "b.oib").write_text("x")
    with pytest.raises(InputError, match=r"convert its \.oib files"):
        find_files(tmp_path)


def test_images_in_subfolders_are_pointed_out(save, tmp_path):
    save("a.tif", folder="plate/well")
    with pytest.raises(InputError, match=r"subfolders are not searched, give '.*plate/\*\*/\*\.tif'"):
        find_files(tmp_path / "plate")
    assert len(find_files(f"{tmp_path}/plate/**/*.tif").files) == 1


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads every folder")
def test_folder_without_rights(tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0)
    with pytest.raises(InputError, match="cannot be read"):
        find_files(folder)
