import json

import numpy as np
import pandas as pd
import pytest

import divseg.results.writer as writer
from divseg.errors import InputError, OutputError
from divseg.io import PixelSize, read, read_labels
from divseg.results import Marker, RunStore
from divseg.results.writer import file_sha256, forget

STAGES = ("denoise", "fuse")


def denoise(store, name, k=1, key="denoise key", samples=True):
    write = store.writer(store.read_marker(name), "denoise")
    write.denoised(np.full((4, 5), k / 3), PixelSize(0.1, 0.1))
    write.map("std", np.full((4, 5), 0.5))
    if samples:
        write.samples(np.zeros((3, 4, 5)))
    write.row = {"snr": np.float64(1 / 3).item(), "psnr": float("nan")}
    return write, key


def fuse(store, name, k=1, key="fuse key"):
    write = store.writer(store.read_marker(name), "fuse")
    write.labels(np.full((4, 5), k), PixelSize(0.1, 0.1))
    for kind in ("foreground", "boundary"):
        write.map(kind, np.full((4, 5), 0.5))
    rows = {"label": np.arange(k), "existence": np.arange(k) / 3}
    write.objects(pd.DataFrame(rows), pd.DataFrame({"kind": ["merged"] * k, "existence": np.arange(k) / 7}))
    write.row = {"n_objects": k}
    write.scores = [{"method": "otsu", "seg": 0.1 * k}, {"method": "consensus", "seg": float("nan")}]
    return write, key


def process(store, name, k=1):
    for stage in (denoise, fuse):
        write, key = stage(store, name, k)
        write.commit(key, [f"{stage.__name__} says so", "both say so"], 0.25)


def is_done(store, name, key="fuse key", stage="fuse"):
    return store.is_done(store.read_marker(name), stage, key)


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_layout_and_files(tmp_path):
    store = RunStore(tmp_path / "run")
    process(store, "a_t1", 3)
    files = [
        "alternatives/a_t1.csv",
        "denoised/a_t1.tif",
        "labels/a_t1.tif",
        "maps/a_t1_boundary.tif",
        "maps/a_t1_foreground.tif",
        "maps/a_t1_std.tif",
        "objects/a_t1.csv",
        "samples/a_t1.tif",
    ]
    marker = store.read_marker("a_t1")
    assert sorted(file for stage in STAGES for file in marker.stages[stage].files) == files
    assert files_in(store.folder) == sorted([*files, "run.json", "units/a_t1.json"])
    assert (read_labels(store.labels("a_t1")) == 3).all()
    image = read(store.denoised("a_t1"))[0]
    assert image.pixel_size.y == pytest.approx(0.1)
    assert image.dtype == np.float32
    assert len(read(store.samples("a_t1"))) == 3
    names = [path.name for path in (store.log, store.report, store.plots, store.model, store.stages_json)]
    assert names == ["run.log", "report.html", "plots", "model", "stages.json"]


def test_done_only_with_the_same_key_and_all_files(tmp_path):
    store = RunStore(tmp_path)
    assert not is_done(store, "a")
    process(store, "a")
    assert is_done(store, "a")
    assert is_done(RunStore(tmp_path), "a")
    assert not is_done(store, "a", "another key")
    assert not is_done(store, "a", None)
    assert not is_done(store, "a", "fuse key", stage="denoise")
    assert not is_done(store, "b")
    store.labels("a").unlink()
    assert not is_done(store, "a")
    assert is_done(store, "a", "denoise key", stage="denoise")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"format": 1, "name": "a", "sources": {}, "stages": {}, "failure": null}',
        '{"format": 2, "name": "b", "sources": {}, "stages": {}, "failure": null}',
        '{"format": 2, "name": "a", "sources": {}, "stages": {"fuse": {"keys": 1}}, "failure": null}',
        '{"format": 2, "name": "a", "sources": {"image": 3}, "stages": {}, "failure": null}',
        "\xff",
    ],
)
def test_a_damaged_marker_says_that_nothing_is_done(tmp_path, text):
    store = RunStore(tmp_path)
    process(store, "a")
    store.marker("a").write_bytes(text.encode("latin-1"))
    assert store.read_marker("a") == Marker("a")
    assert store.collect(["a"], STAGES)["images"].empty


def test_a_marker_comes_back_as_it_was(tmp_path):
    store = RunStore(tmp_path)
    process(store, "a", 2)
    marker = store.read_marker("a")
    marker.sources = {"image": {"stat": [1, 2], "fingerprint": "f"}}
    marker.failure = {"stage": "score", "error": "no"}
    marker.write(store.marker("a"))
    again = store.read_marker("a")
    assert (again.sources, again.failure, list(again.stages)) == (marker.sources, marker.failure, list(STAGES))
    assert again.stages["fuse"].warnings == ["fuse says so", "both say so"]
    assert again.stages["fuse"].seconds == 0.25


def test_earlier_results_stay_until_the_new_ones_are_whole(tmp_path):
    store = RunStore(tmp_path)
    process(store, "a", 3)
    before = {file: (tmp_path / file).read_bytes() for file in files_in(tmp_path)}
    write, key = fuse(store, "a", 1, "new key")
    assert {file: (tmp_path / file).read_bytes() for file in before} == before
    assert is_done(RunStore(tmp_path), "a")
    write.discard()
    assert files_in(tmp_path) == sorted(before)
    write, key = fuse(store, "a", 1, "new key")
    write.commit(key)
    assert (read_labels(store.labels("a")) == 1).all()
    assert not is_done(store, "a")
    assert is_done(store, "a", "new key")
    assert is_done(store, "a", "denoise key", stage="denoise")
    assert files_in(tmp_path) == sorted(before)


def test_a_process_that_is_killed_between_two_files_leaves_the_stage_undone(tmp_path, monkeypatch):
    """Otherwise labels of a new configuration would pass for those of the old one."""
    store = RunStore(tmp_path)
    process(store, "a")
    write, key = fuse(store, "a", 2, "new key")
    moved, replace = [], writer.os.replace

    def killed(source, target):
        if "units" not in target.parts:  # markers are written as ever
            moved.append(target)
        if len(moved) > 2:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(writer.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write.commit(key)
    monkeypatch.undo()
    again = RunStore(tmp_path)
    assert not is_done(again, "a")
    assert not is_done(again, "a", "new key")
    assert again.collect(["a"], STAGES)["images"].empty
    write, key = fuse(again, "a", 2, "new key")
    write.commit(key)
    assert is_done(again, "a", "new key")
    assert [path.name for path in (tmp_path / "units").iterdir()] == ["a.json"]


def test_only_what_a_run_wrote_is_removed(tmp_path):
    store = RunStore(tmp_path)
    process(store, "a")
    process(store, "ab")
    (tmp_path / "labels" / "a_notes.txt").write_text("mine")
    (tmp_path / "stacks").mkdir()
    store.stack("a").write_text("mine")
    write, key = denoise(store, "a", key="new key", samples=False)
    write.commit(key)
    assert not store.samples("a").exists(), "the new settings keep no samples"
    forget(store, store.read_marker("a"), STAGES, {"stage": "denoise", "error": "no"})
    assert [file for file in files_in(tmp_path) if "/ab" not in file] == [
        "labels/a_notes.txt",
        "run.json",
        "stacks/a.npz",
        "units/a.json",
    ]
    assert store.read_marker("a").failure == {"stage": "denoise", "error": "no"}
    assert is_done(store, "ab")
    process(store, "a")
    assert store.read_marker("a").failure is None


def test_the_stack_is_known_by_its_bytes(tmp_path):
    store = RunStore(tmp_path)
    write = store.writer(Marker("a"), "segment")
    write.stack(lambda path: (path.parent.mkdir(parents=True, exist_ok=True), path.write_bytes(b"stack")))
    write.commit("key")
    assert store.read_marker("a").stages["segment"].info == {"stack_sha256": file_sha256(store.stack("a"))}


def test_tables_from_markers_in_the_given_order(tmp_path):
    store = RunStore(tmp_path)
    for name, k in {"007": 2, "NA": 0, "c": 1}.items():
        process(store, name, k)
    write, key = denoise(store, "half")
    write.commit(key)
    tables = RunStore(tmp_path).collect(["c", "half", "NA", "missing", "007"], STAGES)
    images = tables["images"]
    assert list(images.columns) == ["image", "snr", "psnr", "n_objects", "warnings", "seconds"]
    assert list(images["image"]) == ["c", "NA", "007"]
    assert list(images["snr"]) == [1 / 3] * 3
    assert images["psnr"].isna().all()
    assert images["warnings"].tolist() == ["denoise says so\nboth say so\nfuse says so"] * 3
    assert images["seconds"].tolist() == [0.5] * 3
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
    alone = store.collect(["half"], ["denoise"])
    assert list(alone["images"]["image"]) == ["half"]
    assert list(alone["objects"].columns) == ["image"]


def test_tables_without_objects_keep_their_columns(tmp_path):
    store = RunStore(tmp_path)
    process(store, "a", 0)
    assert list(store.collect(["a"], STAGES)["objects"].columns) == ["image", "label", "existence"]
    assert {name: list(table.columns) for name, table in store.collect([], STAGES).items()} == {
        "images": ["image"],
        "objects": ["image"],
        "measurements": ["image"],
        "alternatives": ["image"],
        "words": ["image"],
        "scores": ["image"],
    }


def test_a_table_that_cannot_be_read_is_told(tmp_path):
    store = RunStore(tmp_path)
    process(store, "a")
    store.objects("a").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"objects/a\.csv: this is not a table .*; delete it and run again"):
        store.collect(["a"], STAGES)
    store.objects("a").unlink()
    with pytest.raises(OutputError, match=r"objects/a\.csv: the table is missing; run again"):
        store.collect(["a"], STAGES)


def test_write_tables_and_run(tmp_path):
    store = RunStore(tmp_path)
    process(store, "a", 2)
    tables = {**store.collect(["a"], STAGES), "summary": pd.DataFrame({"x": [1]})}
    store.write_tables(tables)
    assert {path.stem for path in tmp_path.glob("*.csv")} == tables.keys()
    assert (tmp_path / "objects.csv").read_text().splitlines()[0] == "image,label,existence"
    store.write_tables({"images": tables["images"]})
    assert {path.stem for path in tmp_path.glob("*.csv")} == {"images"}
    with pytest.raises(InputError, match="no table 'nuclei'; choose one of objects"):
        store.write_tables({"nuclei": pd.DataFrame()})
    store.write_run({"seed": 3, "device": "cpu", "nan": float("nan")})
    assert store.read_run() == {"format": 2, "command": "run", "seed": 3, "device": "cpu", "nan": None}
    with pytest.raises(InputError, match="no map 'depth'"):
        store.map("a", "depth")


def test_stages_of_the_run(tmp_path):
    store = RunStore(tmp_path)
    assert store.read_stages() == {}
    store.write_stage("model", "key", {"model": "m"}, 1.23456)
    store.write_stage("segmenter", "other", {"segmenter": "otsu"}, 0)
    assert list(store.read_stages()) == ["model", "segmenter"]
    assert store.read_stages()["model"] == {"key": "key", "outcome": {"model": "m"}, "seconds": 1.235}
    for text in ("{", "[]"):
        store.stages_json.write_text(text)
        assert store.read_stages() == {}


def test_folders_of_others(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for open_store in (RunStore, RunStore.existing):
        with pytest.raises(OutputError, match=r"not empty and not of a divseg run .*choose another --out"):
            open_store(tmp_path)
        assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    for text in ("{}", "[1]", "no json"):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(OutputError, match=r"run\.json"):
            RunStore(tmp_path)
        assert (tmp_path / "run.json").read_text() == text
    with pytest.raises(OutputError, match="could not be written"):
        RunStore(tmp_path / "notes.txt")
    with pytest.raises(OutputError, match="existing file"):
        RunStore.existing(tmp_path / "notes.txt")


def test_folders_of_other_commands_and_versions(tmp_path):
    RunStore(tmp_path, "segment")
    with pytest.raises(OutputError, match="holds the results of divseg segment"):
        RunStore(tmp_path)
    (tmp_path / "run.json").write_text('{"command": "run"}')
    with pytest.raises(OutputError, match="another version of divseg"):
        RunStore(tmp_path)


def test_new_and_empty_folders(tmp_path):
    assert RunStore.existing(tmp_path / "none") is None
    (tmp_path / ".DS_Store").write_text("x")
    assert RunStore.existing(tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == [".DS_Store"]
    store = RunStore(tmp_path)
    assert json.loads(store.run_json.read_text()) == {"format": 2, "command": "run"}
    store.write_run({"seed": 1})
    assert RunStore(str(tmp_path)).read_run()["seed"] == 1
    assert RunStore.existing(tmp_path).read_run()["seed"] == 1
    RunStore(tmp_path / "deep" / "run")
    assert (tmp_path / "deep" / "run" / "run.json").exists()


@pytest.mark.parametrize("name", ["", "..", ".", "a//b", "a/../b", "../a", "a\\b", "/a", "a\0"])
def test_names_that_cannot_be_those_of_files(tmp_path, name):
    store = RunStore(tmp_path)
    for path in (store.marker, store.labels, store.stack):
        with pytest.raises(InputError, match="cannot be that of a file"):
            path(name)


def test_bytes_of_a_file_name_become_escapes_in_tables(tmp_path):
    """Where pyarrow is installed, pandas holds texts as UTF-8 alone."""
    store = RunStore(tmp_path)
    process(store, "a")
    marker = store.read_marker("a")
    next(iter(marker.stages.values())).row |= {"file": "cell_\udce4.tif", "shape\udce4": 1}
    marker.write(store.marker("a"))
    images = store.collect(["a"], STAGES)["images"]
    assert images["file"].tolist() == ["cell_\\udce4.tif"]
    assert "shape\\udce4" in images
