"""A cut-off with a promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divseg.errors import ConfigError, InputError
from divseg.metrics.risk import KEEP_ALL, RiskCurve, fit_risk, image_risk

scored = st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=20)


def split(objects):
    return np.array([s for s, _ in objects], float), np.array([h for _, h in objects], bool)


def test_false_objects_among_the_kept():
    score, hit = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [True, True, True, True, False, False]
    cuts = [KEEP_ALL, 0.4, 0.5, 0.95]
    assert image_risk(score, hit, cuts) == pytest.approx([2 / 6, 1 / 5, 0, 0])
    top = (
        np.arange(40) < 39,
        np.linspace(0, 1, 40),
    )  # the best of forty is wrong: one of four
    assert image_risk(top[1], top[0], [KEEP_ALL, 0.95, 1.0]) == pytest.approx([1 / 4, 1 / 4, 0])
    assert image_risk([], [], [0.0, 0.5]).tolist() == [0, 0]
    assert image_risk([0.5, 0.5], [True, False], [0.4, 0.5]).tolist() == [0.5, 0]


@given(scored)
def test_it_never_rises_and_is_no_less_than_the_fraction(objects):
    score, hit = split(objects)
    cuts = np.unique([KEEP_ALL, *score, 2.0])
    risk = image_risk(score, hit, cuts)
    assert (np.diff(risk) <= 0).all()
    assert ((risk >= 0) & (risk <= 1)).all()
    assert risk[-1] == 0
    for cut, value in zip(cuts, risk, strict=True):
        kept = score > cut
        if kept.any() and 10 * kept.sum() >= len(score):
            assert value >= (~hit[kept]).mean() - 1e-12


@given(st.lists(scored, min_size=1, max_size=8))
def test_the_mean_over_images_holds_at_every_cut_off(images):
    scores, hits = zip(*map(split, images), strict=True)
    made = fit_risk(scores, hits)
    cuts = np.unique(np.concatenate([[KEEP_ALL], *scores]))
    mean = np.mean([image_risk(s, h, cuts) for s, h in zip(scores, hits, strict=True)], axis=0)
    step = np.searchsorted(made.cut, cuts, side="right") - 1
    assert np.array(made.risk)[step] == pytest.approx(mean)
    assert made.cut[0] == KEEP_ALL
    assert made.risk[-1] == 0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(12, 40), st.sampled_from([0.1, 0.2, 0.3]))
def test_the_risk_of_a_new_image_is_at_most_what_was_asked(seed, n, max_false):
    """The mean over exchangeable draws, for images whose share of false objects differs."""
    rng = np.random.default_rng(seed)
    risks = []
    for _ in range(150):
        images = []
        for _ in range(n + 1):
            score = rng.random(int(rng.integers(0, 12)))
            images.append((score, rng.random(len(score)) < score ** rng.uniform(0.2, 3)))
        *known, (score, hit) = images
        cut = fit_risk(*zip(*known, strict=True)).cutoff(max_false)
        risks.append(image_risk(score, hit, [cut])[0])
    mean, error = np.mean(risks), np.std(risks) / np.sqrt(len(risks))
    assert mean <= max_false + 4 * error


def test_the_lowest_cut_off_that_keeps_the_promise():
    made = RiskCurve(19, [KEEP_ALL, 0.3, 0.6, 0.9], [0.3, 0.1, 0.05, 0.0])
    assert made.cutoff(0.35) == KEEP_ALL  # (19 * .3 + 1) / 20 = .335
    assert made.cutoff(0.2) == 0.3
    assert made.cutoff(0.1) == 0.6  # (19 * .05 + 1) / 20 = .0975
    assert made.cutoff(0.09) == 0.9
    assert made.cutoff(0.05) == 0.9  # exactly 1 / 20


def test_too_few_images_are_told():
    made = RiskCurve(9, [KEEP_ALL], [0.0])
    assert made.cutoff(0.1) == KEEP_ALL
    assert RiskCurve(19, [KEEP_ALL], [0.0]).cutoff(0.05) == KEEP_ALL
    with pytest.raises(InputError, match="18 labelled images"):
        RiskCurve(18, [KEEP_ALL], [0.0]).cutoff(0.05)
    with pytest.raises(InputError, match=r"9 labelled images cannot .* at most 0\.05 .* at least 19; .*allow 0\.1"):
        made.cutoff(0.05)
    for wrong in (0, 1, -0.1, float("nan")):
        with pytest.raises(ConfigError, match="max_false"):
            made.cutoff(wrong)


@pytest.mark.parametrize(
    ("n", "cut", "risk"),
    [(1, [], []), (1, [0, 1], [0.5]), (1, [1, 0], [0.5, 0]), (1, [0, 1], [0, 0.5]), (1, [0], [2.0]), (0, [0], [0.0])],
)
def test_impossible_curves(n, cut, risk):
    with pytest.raises(InputError, match="risk curve"):
        RiskCurve(n, cut, risk)
