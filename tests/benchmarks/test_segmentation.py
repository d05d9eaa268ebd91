"""What guards the numbers of the segmentation benchmark: parts, candidates, votes and verdicts, on synthetic discs."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.segmentation.cell import make_folds
from benchmarks.segmentation.grids import Grid, make_grid
from benchmarks.segmentation.inputs import AS_RUN, catalogue, select
from benchmarks.segmentation.rows import score_picture
from benchmarks.segmentation.source import Source, combine, member_choice
from benchmarks.segmentation.tables import overview, verdict
from benchmarks.segmentation.tuning import choose, tune_picture
from benchmarks.sets import Picture
from benchmarks.smoothing import SetNoise
from divseg import segmenter
from divseg.denoise.smoothing import GAUSSIAN_SIGMA

SHAPE = (64, 64)
SD = 50.0
WANTED = ("noisy", "gaussian", "MMSE", "consensus clustering", "combination samples + MMSE", "clean")


def picture(name, seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    masks = np.zeros(SHAPE, np.uint16)
    for label, (cy, cx) in enumerate([(14, 14), (14, 46), (46, 16), (46, 48)], 1):
        masks[(y - cy - rng.integers(-3, 4)) ** 2 + (x - cx - rng.integers(-3, 4)) ** 2 < 64] = label
    clean = np.where(masks > 0, 100.0, 20.0).astype(np.float32)
    noisy = (clean + rng.normal(0, SD, SHAPE)).astype(np.float32)
    return Picture(name, noisy, clean, masks, "test")


def source_of(pic, samples=4):
    def draw():
        rng = np.random.default_rng(1)
        return (pic.clean + rng.normal(0, 8, (samples, *SHAPE))).astype(np.float32)

    return Source(pic, draw, SetNoise(0.0, SD**2))


@pytest.fixture(scope="module")
def grid():
    whole = make_grid("threshold")
    specs = ["otsu,smooth=0,split=none,min_size=20", "otsu,smooth=2,split=none,min_size=100"]
    return Grid("threshold", {spec: whole.candidates[spec] for spec in specs})


def test_every_input_gets_its_own_segmenter_and_the_clean_image_is_best(grid):
    rows = select(catalogue(clean=True, samples=4), lambda name: name in WANTED)
    tuning = pd.DataFrame(tune_picture(source_of(picture("tune", 0)), [r for r in rows if not r.members], grid, 4, 2))
    chosen = choose(tuning, rows, ["tune"])
    assert chosen["noisy"].spec.startswith("otsu,smooth=2")  # noise without smoothing is all specks
    assert chosen["gaussian"].setting in rows[1].settings
    scored = []
    for k in range(1, 4):
        scored += score_picture(source_of(picture(f"p{k}", k)), rows, rows, chosen, grid, 4)[0]
    table = pd.DataFrame(scored).assign(set="discs", level="sd50", segmenter="threshold", minutes=1.0)
    members = next(row for row in rows if row.members)
    assert [member_choice(m, members, chosen) for m in members.members] == [chosen[m] for m in members.members]
    means = table.groupby("input")["map"].mean()
    assert means["clean"] == pytest.approx(1.0)
    assert means["MMSE"] > means["noisy"]
    line = overview(table).iloc[0]
    assert float(line["noisy"]) == pytest.approx(means["noisy"], abs=5e-4)
    gap = (means["consensus clustering"] - means["noisy"]) / (1 - means["noisy"])
    assert float(line["gap closed"]) == pytest.approx(gap, abs=5e-3)


def test_one_run_of_a_base_gives_the_result_of_every_cut():
    image, whole = picture("p", 3).noisy, make_grid("threshold")
    for spec in whole.specs[::7]:
        base, cut = whole.parts(spec)
        labels = whole.cut(whole.segment(whole.made(base), image), cut)
        own = segmenter(spec)(image)
        np.testing.assert_array_equal(labels > 0, own > 0)
        assert len(np.unique(labels)) == len(np.unique(own))


def test_groups_that_others_confirm_weigh_more_unless_the_fraction_is_set():
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


def test_as_run_all_members_have_the_segmenter_of_the_samples(grid):
    rows = select(catalogue(clean=True, samples=4), lambda name: name == AS_RUN)
    ours, samples = (next(row for row in rows if row.name == name) for name in (AS_RUN, "consensus clustering"))
    tuning = pd.DataFrame(tune_picture(source_of(picture("tune", 0)), [samples], grid, 4, 2))
    chosen = choose(tuning, [samples, ours], ["tune"])  # the others need no tuning
    assert {member_choice(m, ours, chosen).spec for m in ours.members} == {chosen["consensus clustering"].spec}
    assert member_choice("gaussian", ours, chosen).setting == GAUSSIAN_SIGMA


def test_sets_without_parts_tune_on_one_half_and_score_the_other():
    first, second = make_folds([picture(f"p{k}", k) for k in range(6)])
    assert first.tune == second.score == ("p0", "p2", "p4")
    assert first.score == second.tune == ("p1", "p3", "p5")


def test_verdict_counts_cells():
    rows = []
    for level, gain in (("n20", 0.1), ("pg_mid", 0.02), ("pg_low", -0.1)):
        for k in range(8):
            for name, kind, value in (
                ("gaussian", "smoothing", 0.3),
                ("MMSE", "mmse", 0.5),
                ("ours", "consensus", 0.5 + gain),
                ("clean", "clean", 0.7),
            ):
                cell = {"set": "a", "level": level, "segmenter": "s", "minutes": 1.0}
                score = value + 0.001 * k
                rows.append(cell | {"image": str(k), "input": name, "kind": kind, "map": score, "ap50": score})
    table = verdict(pd.DataFrame(rows), "ours").set_index("against")
    assert list(table.index) == ["MMSE", "best smoothing"]
    counts = ["cells", "above", "significantly above", "significantly below", "a quarter of the gap, significantly"]
    assert list(table.loc["MMSE", counts]) == ["3", "2", "2", "1", "1 of 3"]
    assert table.loc["best smoothing", "significantly above"] == "3"
