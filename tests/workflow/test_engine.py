"""The engine, on stages that do almost nothing: what is skipped, what fails, what is interrupted, what is told."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading

import pandas as pd
import pytest
from small_job import Heard, Note, double, job, stages, work

from divseg.errors import ConfigError, DivsegError, OutputError
from divseg.results import Marker, RunStore
from divseg.workflow.engine import Job, perform
from divseg.workflow.progress import Terminated
from divseg.workflow.sharing import Options
from divseg.workflow.stage import RunStage, Stage, stages_to_redo


def test_all_is_done_once(notes, tmp_path):
    result, done = work(notes, tmp_path)
    assert done == ["choose", *[f"{what} n{i}" for i in range(3) for what in ("double", "add")]]
    assert (result.n_images, result.n_failed, result.out) == (3, 0, tmp_path / "out")
    table = pd.read_csv(result.out / "images.csv")
    assert list(table.columns[:4]) == ["image", "file", "twice", "sum"]
    assert table["sum"].tolist() == [1, 3, 5]
    assert len(pd.read_csv(result.out / "objects.csv")) == 3
    heard = Heard()
    again, done = work(notes, tmp_path, reporter=heard)
    assert done == []
    assert again.n_images == 3
    assert "3 of 3 images were finished before and are skipped" in heard.lines
    assert pd.read_csv(result.out / "images.csv").equals(table)


def test_a_changed_setting_redoes_its_stage_and_what_depends_on_it(notes, tmp_path):
    work(notes, tmp_path)
    assert work(notes, tmp_path, addend=5)[1] == [f"{what} n{i}" for i in range(3) for what in ("recall", "add")]
    assert work(notes, tmp_path, addend=5, version=2)[1][:2] == ["recall n0", "add n0"]
    assert work(notes, tmp_path, factor=3)[1] == [f"{what} n{i}" for i in range(3) for what in ("double", "add")]


def test_the_outcome_of_a_stage_of_the_run_is_part_of_the_key(notes, tmp_path):
    work(notes, tmp_path)
    assert work(notes, tmp_path, choice=2)[1][:3] == ["choose", "double n0", "add n0"]


def test_a_changed_file_is_done_again_and_a_touched_one_is_not(notes, tmp_path):
    work(notes, tmp_path)
    (notes / "n1.txt").write_text("7")
    os.utime(notes / "n2.txt", ns=(1, 1))
    assert work(notes, tmp_path)[1] == ["double n1", "add n1"]
    assert Marker.read(tmp_path / "out" / "units" / "n2.json", "n2").sources["note"]["stat"] == [1, 1]


def test_a_lost_file_is_made_again(notes, tmp_path):
    work(notes, tmp_path)
    (tmp_path / "out" / "objects" / "n1.csv").unlink()
    assert work(notes, tmp_path)[1] == ["double n1"]


@pytest.mark.parametrize(
    ("redo", "expected"),
    [
        ("add", ["recall n0", "add n0"]),
        ("double", ["double n0", "add n0"]),
        ("choose", ["choose", "double n0", "add n0"]),
    ],
)
def test_redo(notes, tmp_path, redo, expected):
    work(notes, tmp_path)
    assert work(notes, tmp_path, Options(redo=(redo,)))[1][: len(expected)] == expected


def test_unknown_stages_to_redo(notes, tmp_path):
    with pytest.raises(ConfigError, match=r"unknown stage 'doubel' to redo; did you mean 'double'"):
        work(notes, tmp_path, Options(redo=("doubel",)))
    assert stages_to_redo(["double"], stages()) == {"double", "add"}


def test_what_fails_is_a_row_and_stops_nothing(notes, tmp_path):
    (notes / "n0.txt").write_text("13")
    (notes / "n1.txt").write_text("14")
    result, done = work(notes, tmp_path)
    assert done == ["choose", "double n2", "add n2"]
    assert (result.n_images, result.n_failed) == (1, 2)
    table = pd.read_csv(result.out / "failures.csv")
    assert table["image"].tolist() == ["n0", "n1"]
    assert table["stage"].tolist() == ["double", "double"]
    assert table["error"][0] == "13 is unlucky; choose another number"
    assert table["error"][1] == "ZeroDivisionError: fourteen (see run.log)"
    log = (result.out / "run.log").read_text()
    assert "Traceback" in log
    assert "ZeroDivisionError: fourteen" in log
    assert "2 failed" in result.text


def test_what_failed_has_no_results_of_other_settings(notes, tmp_path):
    work(notes, tmp_path)
    (notes / "n2.txt").write_text("13")
    result, _ = work(notes, tmp_path)
    assert not (result.out / "objects" / "n2.csv").exists()
    assert pd.read_csv(result.out / "images.csv")["image"].tolist() == ["n0", "n1"]
    (notes / "n2.txt").write_text("2")
    assert work(notes, tmp_path)[0].n_failed == 0


def test_a_disk_that_is_full_ends_the_work(notes, tmp_path):
    (notes / "n1.txt").write_text("15")
    with pytest.raises(OutputError, match="disk is full"):
        work(notes, tmp_path)


def test_warnings_are_told_and_kept(notes, tmp_path):
    (notes / "n1.txt").write_text("16")
    heard = Heard()
    result, _ = work(notes, tmp_path, reporter=heard)
    assert "note: n1: sixteen is large" in heard.lines
    assert "sixteen is large" in (result.out / "run.log").read_text()
    table = pd.read_csv(result.out / "images.csv", keep_default_na=False)
    assert table["warnings"].tolist() == ["", "sixteen is large", ""]
    work(notes, tmp_path)
    assert pd.read_csv(result.out / "images.csv", keep_default_na=False)["warnings"].tolist()[1] == "sixteen is large"


def interrupt(context):
    if context.unit.name == "n1":
        os.kill(os.getpid(), context.tools)
        threading.Event().wait(5)
    context.write.row |= context.unit.row()


@pytest.mark.skipif(os.name == "nt", reason="signals work differently on Windows")
@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_an_interruption_writes_the_tables_of_what_is_finished(notes, tmp_path, number, error):
    units = [Note(path) for path in sorted(notes.iterdir())]
    never = RunStage("never", lambda context: pytest.fail("not all units are finished"))
    stages_of = [Stage("wait", interrupt, reads=("note",))]
    halting = Job("fuse", units, lambda _: stages_of, after=[never], tools=lambda *_: number)
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(error) as caught:
            perform(halting, tmp_path / "out", Options(), Heard())
    finally:
        signal.signal(signal.SIGINT, earlier)
    assert type(caught.value) is error
    assert pd.read_csv(tmp_path / "out" / "images.csv")["image"].tolist() == ["n0"]
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (record["interrupted"], record["n_images"]) == (True, 1)


def test_shards_leave_tables_to_finalize(notes, tmp_path):
    first, done = work(notes, tmp_path, Options(shard=(1, 2)))
    assert done == ["choose", "double n0", "add n0", "double n2", "add n2"]
    assert not (first.out / "images.csv").exists()
    assert "divseg finalize" in first.text
    early, done = work(notes, tmp_path, Options(finalize=True))
    assert done == []
    assert (early.n_images, early.n_failed) == (2, 1)
    assert "not worked on yet" in pd.read_csv(first.out / "failures.csv")["error"][0]
    assert work(notes, tmp_path, Options(shard=(2, 2)))[1] == ["double n1", "add n1"]
    assert work(notes, tmp_path, Options(finalize=True))[0].n_images == 3
    whole, _ = work(notes, tmp_path / "whole")
    tables = [pd.read_csv(out / "images.csv").drop(columns="seconds") for out in (whole.out, first.out)]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("shard", [(0, 2), (5, 4)])
def test_impossible_shards(shard):
    with pytest.raises(ConfigError, match=r"give I/N with I from 1 to N"):
        Options(shard=shard)


def test_a_folder_of_another_command_or_version_is_refused(notes, tmp_path):
    RunStore(tmp_path / "out", "segment")
    with pytest.raises(OutputError, match="holds the results of divseg segment"):
        work(notes, tmp_path)
    (tmp_path / "out" / "run.json").write_text('{"divseg_run": 1}')
    with pytest.raises(OutputError, match="another version of divseg"):
        work(notes, tmp_path)


def test_results_stay_readable_until_the_new_ones_are_whole(notes, tmp_path):
    result, _ = work(notes, tmp_path)
    seen = []

    def look(context):
        seen.append((result.out / "objects" / f"{context.unit.name}.csv").read_text())
        double(context)

    changed = [Stage("double", look, {"factor": 9}, needs=("choose",), reads=("note",)), stages()[1]]
    again = job(notes)
    perform(
        Job("fuse", again.units, lambda _: changed, again.before, tools=again.tools), result.out, Options(), Heard()
    )
    assert seen == [(result.out / "objects" / f"n{i}.csv").read_text() for i in range(3)]


def swallow(context):
    if context.unit.name == "n1":
        with contextlib.suppress(BaseException):
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(5)
        if context.tools:
            raise RuntimeError("half compiled")
    context.write.row |= context.unit.row()


@pytest.mark.skipif(os.name == "nt", reason="signals work differently on Windows")
@pytest.mark.parametrize("broken", [False, True])
def test_a_request_to_end_is_heeded_even_if_it_was_swallowed(notes, tmp_path, broken):
    units = [Note(path) for path in sorted(notes.iterdir())]
    halting = Job("fuse", units, lambda _: [Stage("wait", swallow, reads=("note",))], tools=lambda *_: broken)
    with pytest.raises(Terminated):
        perform(halting, tmp_path / "out", Options(), Heard())
    done = pd.read_csv(tmp_path / "out" / "images.csv")["image"].tolist()
    assert done == (["n0"] if broken else ["n0", "n1"])
    assert pd.read_csv(tmp_path / "out" / "failures.csv").empty


def test_segmenting_and_fusing_leave_the_threads_of_torch_alone():
    """Numba and torch share OpenMP: with another number of threads, a second training would give another model."""
    code = """
import numpy as np, torch, divseg
torch.set_num_threads(1)
labels = np.zeros((40, 40), int)
labels[5:15, 5:15] = 1
divseg.fuse([labels, np.roll(labels, 1), labels])
divseg.segmenter("otsu")(np.random.default_rng(0).random((3, 40, 40)))
print(torch.get_num_threads())
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_a_gpu_that_fails_costs_its_image_and_ends_the_process(notes, tmp_path):
    import torch  # noqa: F401 - without it nothing has been done on a GPU

    (notes / "n1.txt").write_text("17")
    with pytest.raises(DivsegError, match=r"the GPU failed at n1 \(RuntimeError: CUDA error.*give the same command"):
        work(notes, tmp_path)
    markers = {name: RunStore(tmp_path / "out", "fuse").read_marker(name) for name in ("n0", "n1", "n2")}
    assert set(markers["n0"].stages) == {"double", "add"}
    assert "CUDA error" in markers["n1"].failure["error"]
    (notes / "n1.txt").write_text("1")
    result, done = work(notes, tmp_path)
    assert result.n_images == 3
    assert "double n0" not in done
