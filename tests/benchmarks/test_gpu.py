"""The script for a borrowed card, small and on a CPU: every part makes its rows, and one that fails stops nothing."""

import pytest
import torch

import benchmarks.record
from benchmarks.gpu.__main__ import PARTS
from benchmarks.gpu.card import Card, measure


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmarks.record, "RESULTS", tmp_path)
    return tmp_path


def table_of(results):
    lines = (results / "gpu.md").read_text(encoding="utf-8").splitlines()
    return [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")][2:]


@pytest.mark.parametrize("part", ["agreement", "training", "stardist"])
def test_parts(results, part):
    measure(Card(torch.device("cpu"), 5.0, small=True), {part: PARTS[part]}, "python -m benchmarks.gpu", "gpu")
    rows = table_of(results)
    assert rows[-1][0] == f"*{part}, whole part*"
    assert len(rows) > 2
    assert not [row for row in rows if "failed" in row[1]], rows


def test_counts_are_as_asked(results):
    rows = list(PARTS["operations"](Card(torch.device("cpu"), 5.0, small=True)))
    assert len(rows) == 6
    for what, measured, asked in rows:
        assert int(measured.split(",")[0]) <= int(asked), what


def test_a_part_that_fails_is_a_row(results):
    def broken(card):
        yield "first", "1 s", ""
        raise RuntimeError("the card\nis gone")

    def late(card):
        yield "second", "2 s", ""

    measure(Card(torch.device("cpu"), 1.0, small=True), {"broken": broken, "late": late}, "command", "gpu")
    rows = table_of(results)
    assert ["broken", "failed: RuntimeError: the card is gone", ""] in [[*row, ""][:3] for row in rows]
    assert "second" in [row[0] for row in rows]
    measure(Card(torch.device("cpu"), 0.0, small=True), {"late": late}, "command", "gpu")
    assert table_of(results)[0][1].startswith("left out: the time is over")
