import json

import numpy as np
import pandas as pd
import pytest

from divseg.errors import InputError, OutputError
from divseg.io import PixelSize, read, read_labels
from divseg.results import RunStore

C, F = "c" * 64, "f" * 64


def process(store, name, k=1, config=C):
    unit = store.start(name, config, F)
    unit.labels(np.full((4, 5), k), PixelSize(0.1, 0.1))
    unit.denoised(np.full((4, 5), k / 3), PixelSize(0.1, 0.1))
    for kind in ("std", "foreground", "boundary"):
        unit.map(kind, np.full((4, 5), 0.5))
    unit.samples(np.zeros((3, 4, 5)))
    rows = {"label": np.arange(k), "existence": np.arange(k) / 3}
    lost = {"kind": ["merged"] * k, "existence": np.arange(k) / 7}
    unit.objects(pd.DataFrame(rows), pd.DataFrame(lost))
    unit.finish(
        {"n_objects": k, "snr": np.float64(1 / 3), "psnr": float("nan")},
        [{"method": "otsu", "seg": 0.1 * k}, {"method": "consensus", "seg": float("nan")}],
    )
    return unit


def test_layout_and_files(tmp_path):
    store = RunStore(tmp_path / "run")
    unit = process(store, "a_t1", 3)
    assert sorted(unit.files) == [
        "alternatives/a_t1.csv",
        "denoised/a_t1.tif",
        "labels/a_t1.tif",
        "maps/a_t1_boundary.tif",
        "maps/a_t1_foreground.tif",
        "maps/a_t1_std.tif",
        "objects/a_t1.csv",
        "samples/a_t1.tif",
    ]
    found = sorted(p.relative_to(store.folder).as_posix() for p in store.folder.rglob("*.*"))
    assert found == sorted([*unit.files, "run.json", "units/a_t1.json"])
    assert (read_labels(store.labels("a_t1")) == 3).all()
    image = read(store.denoised("a_t1"))[0]
    assert image.pixel_size.y == pytest.approx(0.1)
    assert image.dtype == np.float32
    assert len(read(store.samples("a_t1"))) == 3
    assert [store.log.name, store.report.name, store.plots.name, store.model.name] == [
        "run.log",
        "report.html",
        "plots",
        "model",
    ]


def test_done_only_with_same_configuration_pixels_and_files(tmp_path):
    store = RunStore(tmp_path)
    assert not store.is_done("a", C, F)
    process(store, "a")
    assert store.is_done("a", C, F)
    assert RunStore(tmp_path).is_done("a", C, F)
    assert not store.is_done("a", "d" * 64, F)
    assert not store.is_done("a", C, "e" * 64)
    assert not store.is_done("b", C, F)
    store.labels("a").unlink()
    assert not store.is_done("a", C, F)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name": "b", "status": "done"}', "\xff"])
def test_damaged_marker_is_not_done(tmp_path, text):
    store = RunStore(tmp_path)
    process(store, "a")
    store.marker("a").write_bytes(text.encode("latin-1"))
    assert not store.is_done("a", C, F)
    assert store.collect(["a"])["images"].empty


def test_started_again_but_killed_is_not_done(tmp_path):
    """Otherwise labels of a new configuration would pass for those of the old one."""
    store = RunStore(tmp_path)
    process(store, "a")
    unit = store.start("a", "d" * 64, F)
    unit.labels(np.zeros((4, 5), int))
    again = RunStore(tmp_path)
    assert not again.is_done("a", C, F)
    assert not again.is_done("a", "d" * 64, F)
    assert again.collect(["a"])["images"].empty


def test_start_removes_only_what_a_run_wrote(tmp_path):
    store = RunStore(tmp_path)
    process(store, "a")
    process(store, "ab")
    mine = store.folder / "labels" / "a_notes.txt"
    mine.write_text("mine")
    (store.folder / "labels" / ".a.tif.1234.part").write_text("left by a killed run")
    (store.folder / "labels" / ".ab.tif.1234.part").write_text("being written by another process")
    unit = store.start("a", C, F)
    assert not store.labels("a").exists()
    assert not store.samples("a").exists()
    assert sorted(p.name for p in (store.folder / "labels").iterdir()) == [
        ".ab.tif.1234.part",
        "a_notes.txt",
        "ab.tif",
    ]
    unit.samples(np.zeros((2, 4, 5)))  # and is killed here
    unit = store.start("a", C, F)
    assert not store.samples("a").exists()
    assert store.is_done("ab", C, F)


def test_a_file_the_user_put_there_is_kept(tmp_path):
    store = RunStore(tmp_path)
    store.samples("a").parent.mkdir()
    store.samples("a").write_text("mine")
    for _ in range(2):
        store.start("a", C, F)
    assert store.samples("a").read_text() == "mine"


def test_tables_from_markers_in_the_given_order(tmp_path):
    store = RunStore(tmp_path)
    for name, k in {"007": 2, "NA": 0, "c": 1}.items():
        process(store, name, k)
    store.start("bad", C, F).fail(ValueError("no\nfoo"))
    process(store, "other", config="d" * 64)
    tables = RunStore(tmp_path).collect(["c", "bad", "NA", "missing", "007", "other"], config_hash=C)
    images = tables["images"]
    assert list(images.columns) == ["image", "n_objects", "snr", "psnr"]
    assert list(images["image"]) == ["c", "NA", "007"]
    assert list(images["snr"]) == [1 / 3] * 3
    assert images["psnr"].isna().all()
    objects = tables["objects"]
    assert objects.to_dict("list") == {
        "image": ["c", "007", "007"],
        "label": [0, 0, 1],
        "existence": [0.0, 0.0, 1 / 3],
    }
    assert objects["label"].dtype == np.int64
    assert tables["alternatives"]["image"].tolist() == ["c", "007", "007"]
    assert tables["alternatives"]["existence"].tolist() == [0.0, 0.0, 1 / 7]
    assert list(tables["scores"]["image"]) == ["c", "c", "NA", "NA", "007", "007"]
    assert tables["failures"].to_dict("records") == [{"image": "bad", "error": "no foo"}]
    assert list(store.collect(["other"])["images"]["image"]) == ["other"]


def test_tables_without_objects_keep_their_columns(tmp_path):
    store = RunStore(tmp_path)
    process(store, "a", 0)
    assert list(store.collect(["a"])["objects"].columns) == ["image", "label", "existence"]
    empty = store.collect([])
    assert {name: list(table.columns) for name, table in empty.items()} == {
        "images": ["image"],
        "objects": ["image"],
        "alternatives": ["image"],
        "scores": ["image"],
        "failures": ["image", "error"],
    }


def test_failed_unit_leaves_nothing_and_is_tried_again(tmp_path):
    store = RunStore(tmp_path)
    unit = store.start("a", C, F)
    unit.labels(np.zeros((4, 5), int))
    unit.fail(MemoryError())
    assert not store.labels("a").exists()
    assert not store.is_done("a", C, F)
    assert store.collect(["a"])["failures"]["error"].tolist() == ["MemoryError"]
    process(store, "a")
    assert store.is_done("a", C, F)
    assert store.collect(["a"])["failures"].empty


def test_write_tables_and_run(tmp_path):
    store = RunStore(tmp_path)
    process(store, "a", 2)
    paths = store.write_tables({**store.collect(["a"]), "summary": pd.DataFrame({"x": [1]})})
    assert [p.name for p in paths] == [
        "images.csv",
        "objects.csv",
        "alternatives.csv",
        "scores.csv",
        "failures.csv",
        "summary.csv",
    ]
    assert (tmp_path / "objects.csv").read_text().splitlines()[0] == "image,label,existence"
    with pytest.raises(InputError, match="no table 'nuclei'; choose one of objects"):
        store.write_tables({"nuclei": pd.DataFrame()})
    store.write_run({"seed": 3, "device": "cpu", "nan": float("nan")})
    assert store.read_run() == {"divseg_run": 1, "format": 2, "command": "run", "seed": 3, "device": "cpu", "nan": None}
    with pytest.raises(InputError, match="no map 'depth'"):
        store.map("a", "depth")


def test_folders_of_others(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"not empty and not of a divseg run .*choose another --out"):
        RunStore(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    for text in ("{}", "[1]", "no json"):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(OutputError, match=r"run\.json"):
            RunStore(tmp_path)
        assert (tmp_path / "run.json").read_text() == text
    with pytest.raises(OutputError, match="could not be written"):
        RunStore(tmp_path / "notes.txt")


def test_new_and_empty_folders(tmp_path):
    (tmp_path / ".DS_Store").write_text("x")
    store = RunStore(tmp_path)
    assert json.loads(store.run_json.read_text()) == {"divseg_run": 1, "format": 2, "command": "run"}
    store.write_run({"seed": 1})
    assert RunStore(str(tmp_path)).read_run()["seed"] == 1
    RunStore(tmp_path / "deep" / "run")
    assert (tmp_path / "deep" / "run" / "run.json").exists()


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "../a", "a\\b", "/a", "a\0"])
def test_names_that_are_no_files(tmp_path, name):
    store = RunStore(tmp_path)
    with pytest.raises(InputError, match="cannot be that of a file"):
        store.start(name, C, F)
