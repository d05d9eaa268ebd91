import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import divseg
from divseg.errors import InputError
from divseg.metrics import Calibration, calibrate, d_ece, object_hits
from divseg.metrics.calibration import SIMULATED, Curve, object_score
from divseg.metrics.calibrator import (
    MEASURES,
    compare_result,
    conformal_margin,
    fit_curve,
    fit_outcomes,
    measure_calibration,
)

SAMPLES = 20


def scene(seed, bias=1.1):
    """Discs at fixed places: each is real with a probability that its share of samples overstates.

    The samples see every disc `bias` times as wide as it is.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:144, :144]
    truth = np.zeros((144, 144), np.int32)
    masks = np.zeros((SAMPLES, 144, 144), np.int32)
    for i, (cy, cx) in enumerate(np.ndindex(6, 6)):
        real = rng.random()
        radius = 7 + 2 * rng.random()
        distance = np.hypot(y - 24 * cy - 12, x - 24 * cx - 12)
        if rng.random() < real:
            truth[distance < radius] = i + 1
        for k in np.flatnonzero(rng.random(SAMPLES) < real**0.3):
            masks[k][distance < radius * bias + rng.normal(0, 0.2)] = i + 1
    return divseg.fuse(masks, existence=0.2), truth


@pytest.fixture(scope="module")
def scenes():
    return [scene(seed) for seed in range(24)]


@pytest.fixture(scope="module")
def made(scenes):
    results, truths = zip(*scenes[:12], strict=True)
    return calibrate(results, truths)


def test_confidence_means_what_it_says_on_new_images(scenes, made):
    confidence = np.concatenate([made.apply(r.objects)["p_true"] for r, _ in scenes[12:]])
    existence = np.concatenate([r.objects["existence"] for r, _ in scenes[12:]])
    hit = np.concatenate([object_hits(r.labels, t)["hit"] for r, t in scenes[12:]])
    assert d_ece(existence, hit) > 0.2
    assert d_ece(confidence, hit) < 0.08


def test_intervals_cover_the_true_areas_and_counts_of_new_images(scenes, made):
    found = measure_calibration([(made, compare_result(r, t)) for r, t in scenes[12:]])
    assert found["area_coverage_before"] < 0.3
    assert 0.8 < found["area_coverage_after"] <= 1
    assert found["count_coverage_after"] >= 0.75 > found["count_coverage_before"]
    assert found["d_ece_after"] < found["d_ece_before"]
    assert found["brier_after"] < found["brier_before"]


def test_the_check_on_left_out_images_tells_the_same(made):
    assert made.check["area_coverage_before"] < 0.3
    assert made.check["area_coverage_after"] > 0.8
    assert made.check["d_ece_after"] < 0.1 < made.check["d_ece_before"]


def test_the_check_never_measures_on_images_that_were_calibrated_on(scenes):
    """Images that the calibration has seen look better than the check says."""
    results, truths = (list(x) for x in zip(*scenes[:6], strict=True))
    truths[0] = np.where(truths[0] > 18, 0, truths[0])[::-1]  # nearly every object of one image is wrong
    odd = [compare_result(r, t) for r, t in zip(results, truths, strict=True)]
    made = fit_outcomes(odd, method="expected")
    assert made.check["brier_after"] > measure_calibration([(made, o) for o in odd])["brier_after"]


def test_the_margin_of_counts_widens_both_ends(made):
    from dataclasses import replace

    assert replace(made, count=np.log(2.0)).count_interval(9, 19) == (4.0, 39.0)


def test_scores_and_counts_are_what_new_images_have(scenes, made):
    """The samples agree far more with one another than with the truth, which is drawn smaller."""
    outcomes = [compare_result(r, t) for r, t in scenes[12:]]
    expected = [made.expected(object_score(r.objects)) for r, _ in scenes[12:]]
    for name in ("map", "seg"):
        true = np.mean([getattr(o, name) for o in outcomes])
        assert np.mean([e[name] for e in expected]) == pytest.approx(true, abs=0.05)
        assert np.mean([getattr(o, f"expected_{name}") for o in outcomes]) > true + 0.1
    assert np.mean([e["count"] for e in expected]) == pytest.approx(np.mean([o.n_true for o in outcomes]), rel=0.1)
    found = measure_calibration([(made, o) for o in outcomes])
    assert abs(found["map_error_after"]) < 0.05 < found["map_error_before"]
    assert abs(found["seg_error_after"]) < 0.05 < found["seg_error_before"]


def test_the_scores_of_certain_objects_are_exact(made):
    from dataclasses import replace

    def certain(*reached):
        return tuple(Curve([0.0], [float(r)]) for r in reached)

    sure = replace(made, overlap=certain(*[1] * 10), found=1.0).expected([0.9] * 4)
    assert (sure["map"], sure["count"]) == (1.0, 4.0)
    assert sure["seg"] == pytest.approx(0.975)  # an IoU between .95 and 1
    half = replace(made, overlap=certain(1, *[0] * 9), found=0.5).expected([0.9] * 4)
    assert (half["map"], half["count"]) == (pytest.approx(0.1 * 4 / 8), 8.0)  # every second true object is missed
    assert half["seg"] == pytest.approx(0.5 * 0.525)  # IoU between .5 and .55
    for nothing in (made.expected([]), replace(made, found=0.0).expected([0.9])):
        assert all(np.isnan(value) for value in nothing.values())


def test_simulated_images_may_be_few_and_promise_nothing(scenes):
    outcomes = [compare_result(r, t) for r, t in scenes[:2]]
    made = fit_outcomes(outcomes, method="clustering", source=SIMULATED)
    assert (made.source, made.n_images, made.risk) == ("simulated", 2, None)
    with pytest.raises(InputError, match="simulated images can promise nothing"):
        made.cutoff(0.5)
    with pytest.raises(
        InputError, match=r"in 1 simulated images are too few .* 20 objects or 2 images .*simulate more"
    ):
        fit_outcomes(outcomes[:1], method="clustering", source=SIMULATED)


def test_what_cannot_be_checked_is_not_a_number(scenes):
    """Every object lies in one image: no calibration can be made without it."""
    r, t = scenes[0]
    nothing = divseg.fuse(np.zeros((2, *t.shape), int))
    outcomes = [compare_result(r, t), compare_result(nothing, np.zeros_like(t))]
    for of in (outcomes, [outcomes[0], *[outcomes[1]] * 4]):
        made = fit_outcomes(of, method="clustering", source=SIMULATED)
        assert made.n_objects == len(r.objects)
        assert {name.rpartition("_")[0] for name in made.check} == set(MEASURES)


def test_a_cut_off_keeps_its_promise_on_new_images(scenes, made):
    cut = made.cutoff(0.2)
    false = kept = 0
    for r, t in scenes[12:]:
        score = object_score(r.objects)
        hit = object_hits(r.labels, t)["hit"].to_numpy()
        false, kept = false + int((~hit[score > cut]).sum()), kept + int((score > cut).sum())
    assert kept > 30
    assert false / kept < 0.2
    assert 0 < cut < 1
    with pytest.raises(InputError, match=r"12 labelled images cannot promise at most 0\.05"):
        made.cutoff(0.05)


def test_a_file_holds_all_of_it(made, tmp_path, scenes):
    made.save(tmp_path / "c.json")
    again = Calibration.load(tmp_path / "c.json")
    assert again == made
    objects = scenes[0][0].objects
    assert again.apply(objects).equals(made.apply(objects))
    assert "p_true" not in objects  # the table given is left alone


def test_the_order_of_images_does_not_matter_to_the_map(scenes, made):
    results, truths = zip(*scenes[11::-1], strict=True)
    other = calibrate(results, truths)
    np.testing.assert_allclose(other.p_true.y, made.p_true.y)
    assert (other.area, other.count) == (made.area, made.count)


def test_few_images_give_no_interval_of_counts(scenes):
    results, truths = zip(*scenes[:6], strict=True)
    few = calibrate(results, truths)
    assert few.count is None
    assert few.count_interval(3, 4) is None
    assert np.isnan(few.check["count_coverage_after"])


def test_margins_never_turn_an_interval_inside_out(made, scenes):
    from dataclasses import replace

    shrunk = replace(made, area=(-3.0, -3.0), count=-5.0)
    table = shrunk.apply(scenes[0][0].objects)
    assert (table["area_low"] <= table["area_high"]).all()
    low, high = shrunk.count_interval(10, 12)
    assert low <= high


def test_too_little_is_refused_with_the_reason(scenes):
    results, truths = zip(*scenes[:4], strict=True)
    with pytest.raises(InputError, match=r"objects in 4 images are too few .* 100 objects or 5 images"):
        calibrate(results, truths)
    small = [divseg.fuse(t[None]) for t in (np.eye(4, dtype=int) for _ in range(6))]
    with pytest.raises(InputError, match="6 objects in 6 images"):
        calibrate(small, [r.labels for r in small])


def test_wrong_input_is_told(scenes, made):
    results, truths = (list(x) for x in zip(*scenes[:5], strict=True))
    with pytest.raises(InputError, match="5 results but 4 truths"):
        calibrate(results, truths[:4])
    with pytest.raises(InputError, match=r"coverage=1\.5"):
        calibrate(results, truths, coverage=1.5)
    with pytest.raises(InputError, match="different methods"):
        calibrate([*results[:4], divseg.fuse(truths[4][None], method="majority")], truths)
    with pytest.raises(InputError, match="shape"):
        calibrate(results, [*truths[:4], truths[4][:9]])
    with pytest.raises(InputError, match="lacks the columns existence"):
        made.apply(results[0].objects.drop(columns="existence"))
    r = results[0]
    wrong = SimpleNamespace(
        labels=r.labels, objects=r.objects[1:], counts=r.counts, method=r.method, expected=r.expected
    )
    with pytest.raises(InputError, match="do not belong together"):
        calibrate([wrong, *results[1:]], truths)


@pytest.mark.parametrize("text", ["", "[1]", '{"format": "other"}', '{"format": "divseg calibration 2", "iou": 0.5}'])
def test_other_files_are_no_calibration(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(InputError, match=r"c\.json"):
        Calibration.load(tmp_path / "c.json")


def test_a_missing_or_bent_file_is_told(tmp_path, made):
    with pytest.raises(InputError, match="cannot read the calibration"):
        Calibration.load(tmp_path / "none.json")
    made.save(tmp_path / "c.json")
    bent = json.loads((tmp_path / "c.json").read_text())
    bent["p_true"]["y"][0] = 2.0
    (tmp_path / "c.json").write_text(json.dumps(bent))
    with pytest.raises(InputError, match=r"c\.json"):
        Calibration.load(tmp_path / "c.json")


def test_a_monotone_relation_is_found_again():
    rng = np.random.default_rng(0)
    score = rng.random(20_000)
    hit = rng.random(20_000) < score**2
    grid = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(fit_curve(score, hit)(grid), grid**2, atol=0.04)


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=60))
def test_the_curve_never_falls_and_stays_a_probability(pairs):
    score, hit = np.array([s for s, _ in pairs]) / 20, np.array([h for _, h in pairs])
    values = fit_curve(score, hit)(np.linspace(-0.5, 1.5, 41))
    assert (np.diff(values) >= 0).all()
    assert values.min() > 0
    assert values.max() < 1


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=60), st.randoms())
def test_the_order_of_objects_does_not_matter(pairs, random):
    other = list(pairs)
    random.shuffle(other)
    curves = [fit_curve([s for s, _ in p], [h for _, h in p]) for p in (pairs, other)]
    np.testing.assert_allclose(curves[0].x, curves[1].x)
    np.testing.assert_allclose(curves[0].y, curves[1].y)


def test_few_hits_are_no_certainty():
    assert fit_curve([0.9, 0.9, 0.9], [1, 1, 1])(0.9) == pytest.approx(3.5 / 4)


def test_scores_against_the_order_give_one_level():
    curve = fit_curve([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0])
    assert curve([0.0, 1.0]).tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(("x", "y"), [([], []), ([0, 0], [0, 1]), ([0, 1], [1, 0]), ([0, 1], [0])])
def test_impossible_curves_are_refused(x, y):
    with pytest.raises(InputError, match="calibration curve"):
        Curve(x, y)


def test_the_margin_is_the_rank_of_the_theorem():
    misses = np.arange(19.0)
    assert conformal_margin(misses, 0.9) == 17.0  # ceil(20 * 0.9) = 18th smallest
    assert conformal_margin(misses, 0.95) == 18.0
    assert conformal_margin(misses[:18], 0.95) is None
    assert conformal_margin(np.empty(0), 0.9) is None


def test_margins_cover_new_values_as_often_as_they_say():
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(400):
        values = rng.exponential(size=60)
        margin = conformal_margin(values[:59], 0.9)
        covered.append(values[59] <= margin)
    assert np.mean(covered) == pytest.approx(0.9, abs=0.045)  # three standard errors
