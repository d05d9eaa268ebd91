"""Stages of the whole run that come after those of the units."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from small_job import Heard, job

from divseg.workflow.engine import perform
from divseg.workflow.plan import describe_plan
from divseg.workflow.sharing import Options
from divseg.workflow.stage import RunStage


def after_job(folder, done, act=lambda context: None, **changes):
    def total(context):
        done.append(f"total of {', '.join(unit.name for unit in context.units)}")
        act(context)
        table = pd.read_csv(context.store.table("images"))
        (context.store.folder / "total.txt").write_text(str(table["sum"].sum()))
        return {"total": int(table["sum"].sum())}

    def is_there(context, outcome):
        return (context.store.folder / "total.txt").is_file()

    def once_more(context):
        done.append(f"once more {context.outcomes['total']['total']}")
        return {}

    after = [
        RunStage("total", total, needs=("add",), recall=is_there),
        RunStage("once more", once_more, needs=("total", "failures")),
    ]
    return replace(job(folder, done, **changes), after=after, facts=lambda store, outcomes: {"seen": sorted(outcomes)})


def work_after(folder, tmp_path, options=None, **changes):
    done = []
    perform(after_job(folder, done, **changes), tmp_path / "out", options or Options(), Heard())
    return [words for words in done if words.startswith(("total", "once"))]


def test_stages_after_the_units_see_the_finished_ones_and_are_done_once(notes, tmp_path):
    (notes / "n1.txt").write_text("13")
    both = ["total of n0, n2", "once more 6"]
    assert work_after(notes, tmp_path) == both
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["seen"] == ["choose", "once more", "total"]
    assert {"total_s", "once more_s"} <= record["timings"].keys()
    assert work_after(notes, tmp_path) == []
    assert work_after(notes, tmp_path, addend=1, choice=2) == both, "what the units' stages depend on counts"
    assert work_after(notes, tmp_path, Options(redo=("total",)), choice=2) == both
    assert work_after(notes, tmp_path, Options(redo=("add",)), choice=2) == both
    (tmp_path / "out" / "total.txt").unlink()
    assert work_after(notes, tmp_path, choice=2) == both[:1], "it came to the same, so what needs it is not done again"
    (notes / "n1.txt").write_text("14")
    assert work_after(notes, tmp_path, choice=2) == both[1:], "another failure"
    (notes / "n1.txt").write_text("4")
    assert work_after(notes, tmp_path, choice=2) == ["total of n0, n1, n2", "once more 15"]


def test_stages_after_the_units_wait_for_all_shards(notes, tmp_path):
    for part in (1, 2):
        assert work_after(notes, tmp_path, Options(shard=(part, 2))) == []
    assert work_after(notes, tmp_path, Options(finalize=True)) == ["total of n0, n1, n2", "once more 9"]


def test_the_plan_names_stages_after_the_units(notes, tmp_path):
    def plan(**options):
        text = describe_plan(after_job(notes, []), tmp_path / "out", Options(**options)).text
        return [line.split(":")[1].split(",")[1].strip() for line in text.splitlines() if "to do" in line]

    assert plan() == ["1 to do", "3 to do", "3 to do", "1 to do", "1 to do"]
    work_after(notes, tmp_path)
    assert plan() == ["0 to do"] * 5
    assert plan(redo=("total",)) == ["0 to do", "0 to do", "0 to do", "1 to do", "1 to do"]
    (notes / "n1.txt").write_text("5")
    assert plan() == ["0 to do", "1 to do", "1 to do", "1 to do", "1 to do"]


def test_an_interruption_of_a_stage_after_the_units_is_recorded(notes, tmp_path):
    def stop(context):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work_after(notes, tmp_path, act=stop)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (record["interrupted"], record["n_images"]) == (True, 3)
    assert work_after(notes, tmp_path) == ["total of n0, n1, n2", "once more 9"]
    assert not json.loads((tmp_path / "out" / "run.json").read_text())["interrupted"]
