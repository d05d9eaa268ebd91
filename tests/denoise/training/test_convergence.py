"""Whether a training had converged."""

import pytest

from divseg.denoise.training.convergence import FALL, shortfalls


def history(losses, every=250, warm=3):
    rows = [{"step": every * k, "beta": min(1.0, k / warm), "val_loss": loss} for k, loss in enumerate(losses, 1)]
    return [{"step": 1, "beta": 0.0}, *rows]


def test_a_training_that_levels_off_is_fine():
    assert shortfalls(history([3.0, 2.0, 1.2, 1.09, 1.087, 1.085, 1.084, 1.084]), 40.0, 10**6) == []


def test_a_loss_that_still_falls_is_told():
    (words,) = shortfalls(history([3.0, 2.0, 1.2, 1.1, 1.05, 1.0, 0.97, 0.95]), 40.0, 10**6)
    assert words == "its loss was still falling, by 0.150 nats per pixel from step 1000 to step 2000"


def test_the_fall_while_the_weight_of_the_kl_rises_does_not_count():
    assert shortfalls(history([3.0, 2.0, 1.0], warm=3), 40.0, 10**6) == []
    assert shortfalls(history([2.0, 1.0, 1.0 - FALL / 2], warm=2), 40.0, 10**6) == []


@pytest.mark.parametrize(
    ("seen", "pixels", "enough"), [(2.0, 10**5, "15"), (40.0, 10**8, "100"), (200.0, 10**10, "300")]
)
def test_a_small_budget_is_told(seen, pixels, enough):
    (words,) = shortfalls([], seen, pixels)
    assert f"{seen:g} megapixels of crops" in words
    assert f"about {enough} or more" in words
    assert shortfalls([], float(enough), pixels) == []


def test_empty_latent_grids_are_told():
    (words,) = shortfalls([], 40.0, 10**6, [0.03, 0.0003, 0.0001])
    assert words.startswith(
        "2 of its 3 latent grids carry nothing (3.0e-02, 3.0e-04, 1.0e-04 nats per pixel, finest first)"
    )
    assert shortfalls([], 40.0, 10**6, [0.03, 0.003, 0.001]) == []
    assert shortfalls([], 40.0, 10**6, [0.0001]) == []
