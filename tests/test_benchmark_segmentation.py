"""The benchmark of segmentation: inputs, tuning, scores and tables on synthetic discs."""

from __future__ import annotations

import argparse
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from benchmarks.datasets import Picture
from benchmarks.segmentation.cell import make_folds
from benchmarks.segmentation.curves import minutes_chart
from benchmarks.segmentation.document import report
from benchmarks.segmentation.elsewhere import made_elsewhere
from benchmarks.segmentation.grids import Grid, make_grid
from benchmarks.segmentation.inputs import catalogue, select
from benchmarks.segmentation.results import Choice, combine, member_choice
from benchmarks.segmentation.rows import (
    AS_RUN,
    TIMED,
    VIEWS_TUNED,
    append,
    curve_picture,
    missing_rows,
    read_rows,
    score_picture,
)
from benchmarks.segmentation.smoothing import NoiseLine
from benchmarks.segmentation.source import Source
from benchmarks.segmentation.tables import minutes_table, overview, samples_table
from benchmarks.segmentation.tuning import choose, tune_picture
from benchmarks.segmentation.verdict import verdict
from divseg import segmenter
from divseg.denoise.smoothing import GAUSSIAN_SD

SHAPE = (64, 64)
SD = 50.0


def picture(name: str, seed: int) -> Picture:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    masks = np.zeros(SHAPE, np.uint16)
    for label, (cy, cx) in enumerate([(14, 14), (14, 46), (46, 16), (46, 48)], 1):
        masks[(y - cy - rng.integers(-3, 4)) ** 2 + (x - cx - rng.integers(-3, 4)) ** 2 < 64] = label
    clean = np.where(masks > 0, 100.0, 20.0).astype(np.float32)
    noisy = (clean + rng.normal(0, SD, SHAPE)).astype(np.float32)
    return Picture(name, noisy, clean, masks, "test")


def source_of(pic: Picture, samples: int = 4) -> Source:
    def draw() -> np.ndarray:
        rng = np.random.default_rng(1)
        return (pic.clean + rng.normal(0, 8, (samples, *SHAPE))).astype(np.float32)

    return Source(pic, draw, NoiseLine(0.0, SD**2, 0.0))


def small_grid() -> Grid:
    whole = make_grid("threshold")
    specs = ["otsu,smooth=0,split=none,min_size=20", "otsu,smooth=2,split=none,min_size=100"]
    return Grid("threshold", {spec: whole.candidates[spec] for spec in specs})


WANTED = ("noisy", "gaussian", "MMSE", "consensus clustering", "combination samples + MMSE", "clean", "single sample")


@pytest.fixture(scope="module")
def scored() -> pd.DataFrame:
    grid = small_grid()
    rows = select(catalogue(clean=True, samples=4), lambda name: name in WANTED)
    tuning = pd.DataFrame(tune_picture(source_of(picture("tune", 0)), [r for r in rows if not r.members], grid, 4, 2))
    chosen = choose(tuning, rows, ["tune"])
    assert chosen["noisy"].spec.startswith("otsu,smooth=2")  # noise without smoothing is all specks
    assert chosen["gaussian"].setting in rows[1].settings
    found = []
    for k in range(1, 6):
        part, objects = score_picture(source_of(picture(f"p{k}", k)), rows, rows, chosen, grid, 4)
        assert set(objects["input"]) == {"consensus clustering"}
        found += part
    cell = {"set": "discs", "level": "sd50", "segmenter": "threshold", "minutes": 1.0, "variant": "learned"}
    return pd.DataFrame(found).assign(**cell)


def test_the_rows_are_scored_and_the_clean_image_is_best(scored: pd.DataFrame) -> None:
    means = scored.groupby("input")["map"].mean()
    assert means["clean"] == pytest.approx(1.0)
    assert means["MMSE"] > means["noisy"]


def test_the_table_holds_every_input_with_intervals_differences_and_gaps(scored: pd.DataFrame) -> None:
    text = report(scored, ["N2V: not installed."])
    assert "- N2V: not installed." in text
    for name in WANTED:
        assert f"| {name}" in text
    assert "minus gaussian" in text
    assert "improved" in text
    line = overview(scored).iloc[0]
    assert float(line["clean"]) == 1.0
    assert "[" in line["minus smoothing"]
    assert 0 < float(line["gap closed"]) <= 1


def test_one_run_of_a_base_gives_the_result_of_every_cut() -> None:
    image, grid = picture("p", 3).noisy, make_grid("threshold")
    for spec in grid.specs[::7]:
        base, cut = grid.parts(spec)
        labels = grid.cut(grid.segment(grid.made(base), image), cut)
        own = segmenter(spec)(image)
        np.testing.assert_array_equal(labels > 0, own > 0)
        assert len(np.unique(labels)) == len(np.unique(own))


def test_groups_that_others_confirm_weigh_more_but_for_a_share_that_is_given() -> None:
    good = picture("p", 0).masks
    bad = np.roll(good, 8, axis=(0, 1))
    groups = [[good, good], [good], [bad]]
    fused, weights = combine(groups, {"method": "clustering"})
    assert sum(weights) == pytest.approx(1)
    assert weights[0] == pytest.approx(weights[1])
    assert weights[2] < weights[0]
    np.testing.assert_array_equal(fused.labels > 0, good > 0)
    overruled, weights = combine([[bad], *groups[:2]], {"method": "clustering", "first": 0.9})
    assert weights[0] == pytest.approx(0.9)
    np.testing.assert_array_equal(overruled.labels > 0, bad > 0)


def test_the_curve_counts_samples() -> None:
    grid = small_grid()
    rows = select(
        catalogue(clean=True, samples=8), lambda name: name in ("MMSE", "consensus of means of 4", VIEWS_TUNED)
    )
    settings = {row.name: row.settings[0] for row in rows}
    chosen = {row.name: Choice(settings[row.name], grid.specs[0]) for row in rows}
    found = pd.DataFrame(curve_picture(source_of(picture("p", 1), 8), rows, rows, chosen, grid, 8))
    assert list(found.loc[found["input"] == VIEWS_TUNED, "samples"]) == [8]
    head = {"set": "demo", "level": "n", "segmenter": "threshold", "minutes": 1.0}
    line = samples_table(found.assign(**head)).set_index("input").loc["MMSE"]
    expected = found.loc[(found["input"] == "MMSE") & (found["samples"] == 4), "map"].item()
    assert float(line["4"]) == pytest.approx(expected, abs=5e-4)
    assert list(found.loc[found["input"] == "MMSE", "samples"]) == [1, 2, 4, 8]
    assert list(found.loc[found["input"] == "consensus of means of 4", "samples"]) == [4, 8]


def test_all_members_can_have_the_segmenter_of_the_samples() -> None:
    grid = small_grid()
    rows = select(catalogue(clean=True, samples=4), lambda name: name == AS_RUN)
    ours, samples = (next(row for row in rows if row.name == name) for name in (AS_RUN, "consensus clustering"))
    tuning = pd.DataFrame(tune_picture(source_of(picture("tune", 0)), [samples], grid, 4, 2))
    chosen = choose(tuning, [samples, ours], ["tune"])  # the others need no tuning
    assert {member_choice(m, ours, chosen).spec for m in ours.members} == {chosen["consensus clustering"].spec}
    assert member_choice("gaussian", ours, chosen).setting == GAUSSIAN_SD
    found, _ = score_picture(source_of(picture("p", 1)), [ours], rows, chosen, grid, 4)
    assert found[0]["map"] > 0.5


def test_minutes_stand_side_by_side(scored: pd.DataFrame) -> None:
    longer = scored[scored["input"].isin(["MMSE", "single sample"]) & (scored["image"] != "p5")].assign(minutes=4.0)
    longer.loc[:, "map"] = 0.75
    table = minutes_table(pd.concat([longer, scored]), TIMED).set_index("input")
    assert set(table["images"]) == {"4"}  # one was not scored after four minutes
    assert table.loc["MMSE", "4 min"] == "0.750"
    part = scored[scored["image"] != "p5"]
    assert float(table.loc["MMSE", "1 min"]) == pytest.approx(part.loc[part["input"] == "MMSE", "map"].mean(), abs=5e-4)
    assert table.loc["noisy", "1 min"] == table.loc["noisy", "4 min"]
    assert table.loc["consensus clustering", "4 min"] == ""
    assert minutes_chart(pd.concat([longer, scored])) is not None
    assert minutes_chart(scored) is None


def test_what_is_in_the_file_is_not_scored_again(tmp_path, scored: pd.DataFrame) -> None:
    rows = select(catalogue(clean=True, samples=4), lambda name: name in WANTED)
    file = tmp_path / "rows.csv"
    assert missing_rows(file, "p1", rows) == rows
    append(file, scored[scored["image"] == "p1"])
    append(file, scored[(scored["image"] == "p2") & (scored["input"] != "MMSE")])
    assert missing_rows(file, "p1", rows) == []
    assert [row.name for row in missing_rows(file, "p2", rows)] == ["MMSE"]
    assert missing_rows(file, "p3", rows) == rows
    append(file, scored[scored["image"] == "p1"].assign(map=0.5))  # an interruption may leave rows twice
    shown = read_rows(file, [row for row in rows if row.name != "clean"])
    assert "clean" not in set(shown["input"])
    assert not shown.duplicated(["image", "input"]).any()
    assert set(shown.loc[shown["image"] == "p1", "map"]) == {0.5}


def test_sets_without_parts_tune_on_one_half_and_score_the_other() -> None:
    names = [picture(f"p{k}", k) for k in range(6)]
    first, second = make_folds(names)
    assert first.tune == second.score == ("p0", "p2", "p4")
    assert first.score == second.tune == ("p1", "p3", "p5")


def test_images_made_elsewhere_need_their_folder() -> None:
    class NoModel:
        name, level = "demo", "demo"
        others: ClassVar[dict] = {}
        origins: ClassVar[dict] = {}

        def has_model(self, variant: str) -> bool:
            return False

    options = argparse.Namespace(vanilla=False, no_n2v=True, add=["N2V=/nowhere/at/all"])
    with pytest.raises(SystemExit, match="NAME=DIR"):
        made_elsewhere(NoModel(), options)


def test_verdict_counts_cells():
    rows = []
    for level, gain in (("n20", 0.1), ("pg_low", -0.1)):
        for k in range(8):
            for name, kind, value in (
                ("gaussian", "smoothing", 0.3),
                ("MMSE", "mmse", 0.5),
                ("ours", "consensus", 0.5 + gain),
                ("clean", "clean", 0.7),
            ):
                score = value + 0.001 * k
                rows.append(
                    {"set": "a", "level": level, "segmenter": "s", "minutes": 1.0, "image": str(k), "input": name}
                    | {"kind": kind, "map": score, "ap50": score}
                )
    table = verdict(pd.DataFrame(rows), "ours").set_index("against")
    assert list(table.index) == ["MMSE", "best smoothing"]
    mmse = table.loc["MMSE"]
    assert (mmse["cells"], mmse["above"], mmse["surely above"], mmse["surely below"]) == ("2", "1", "1", "1")
    assert mmse["a quarter of the gap, surely"] == "1 of 2"
    assert table.loc["best smoothing", "surely above"] == "2"
