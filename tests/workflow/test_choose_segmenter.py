"""The choice of a segmenter by posterior samples alone."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage as ndi

from divseg.config import RunConfig
from divseg.errors import ConfigError, InputError
from divseg.workflow.choose_segmenter import (
    POWERS,
    _middle,
    asked_candidates,
    candidates,
    choice_stage,
    rank_segmenters,
)
from divseg.workflow.raters import raters_stage
from divseg.workflow.run import run


def samples(seed=0, n=4):
    """Two pairs of touching discs of a blurred scene, and four single ones, with noise that differs by sample."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :96]
    clean = np.zeros((96, 96))
    for cy, cx in [(20, 20), (20, 37), (70, 25), (70, 42), (20, 70), (45, 75), (75, 70), (47, 12)]:
        clean[np.hypot(y - cy, x - cx) < 9] = 100
    clean = ndi.gaussian_filter(clean, 1.0)
    return np.stack([clean + ndi.gaussian_filter(rng.normal(0, 20, clean.shape), 1) for _ in range(n)])


def test_merging_and_shattering_lose_against_what_is_there():
    specs = ["otsu,smooth=1,split=distance", "otsu,smooth=8", "fixed,threshold=2", "otsu,smooth=1"]
    table = rank_segmenters([samples(0), samples(1)], specs)
    assert table["segmenter"][0] == "otsu,smooth=1,split=distance"
    assert table["n_objects"][0] == pytest.approx(8, abs=0.5)
    assert table["score"].is_monotonic_decreasing
    figures = table[["score", *POWERS]].to_numpy()
    assert figures.min() >= 0
    assert figures.max() <= 1
    product = np.prod([table[name] ** power for name, power in POWERS.items()], axis=0)
    np.testing.assert_allclose(table["score"], product)


def test_the_default_candidates_find_all_discs():
    table = rank_segmenters([samples()])
    assert sorted(table["segmenter"]) == sorted(candidates())
    assert table["segmenter"].str.startswith("stardist:nuclei").sum() == 4
    assert table["n_objects"][0] == pytest.approx(8, abs=0.5)


def test_borders_off_their_place_lose():
    y, x = np.mgrid[:64, :64]
    scene = 100.0 * (np.hypot(y - 32, x - 32) < 12)
    stack = scene + np.random.default_rng(0).normal(0, 3, (3, 64, 64))
    table = rank_segmenters([stack], ["fixed,threshold=50,smooth=6", "fixed,threshold=50"])  # ties keep their order
    assert table["objects"].tolist() == [1, 1]
    assert table["segmenter"][0] == "fixed,threshold=50"


def test_the_order_of_candidates_and_images_does_not_matter():
    specs = ["otsu,smooth=1", "li,smooth=1", "otsu,smooth=2"]
    one = rank_segmenters([samples(0), samples(1)], specs)
    two = rank_segmenters([samples(1), samples(0)], specs[::-1])
    merged = one.merge(two, on="segmenter")
    np.testing.assert_allclose(merged["score_x"], merged["score_y"])


def test_images_without_objects_are_ranked_too():
    table = rank_segmenters([np.zeros((3, 40, 40))], ["otsu", "li"])
    assert (table["score"] == 0).all()


def test_wrong_input_is_told():
    with pytest.raises(InputError, match="two samples"):
        rank_segmenters([np.zeros((1, 8, 8))], ["otsu"])
    with pytest.raises(InputError, match="no images"):
        rank_segmenters([], ["otsu"])
    with pytest.raises(ConfigError, match="otzu"):
        rank_segmenters([samples()], ["otzu"])


def test_the_setting_names_the_candidates():
    assert asked_candidates("auto") == candidates()
    assert asked_candidates("otsu,smooth=1") is None
    named = asked_candidates("auto: otsu,smooth=1 | stardist:nuclei,scale=0.5")
    assert [name.partition(",")[0] for name in named] == ["otsu", "stardist:nuclei"]
    for text in ("auto:", "auto:otsu", "auto:otsu|"):
        with pytest.raises(ConfigError, match="name two or more"):
            asked_candidates(text)
    with pytest.raises(ConfigError, match="otzu"):
        asked_candidates("auto:otzu|li")


def test_large_images_are_judged_by_their_middle():
    assert _middle(np.zeros((600, 300)), 512).shape == (512, 300)
    image = np.arange(514 * 513).reshape(514, 513)
    np.testing.assert_array_equal(_middle(image, 512), image[1:513, :512])
    assert _middle(np.zeros((40, 600, 150)), 512).shape == (32, 192, 150)


def test_a_run_chooses_once(make_plate, tmp_path):
    images, masks = make_plate(tmp_path, n=2)
    config = RunConfig.make(
        simulate=0,
        train_steps=40,
        network="flat,filters=8,latents=8",
        samples=3,
        device="cpu",
        segmenter="auto:otsu,smooth=1|li,smooth=2",
        compare=("clustering",),
    )
    done = run(images, tmp_path / "out", config=config, truth=masks)
    assert done.n_failed == 0
    table = pd.read_csv(tmp_path / "out" / "segmenters.csv")
    assert set(table["segmenter"]) == {"otsu,smooth=1", "li,smooth=2"}
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["segmenter"] == table["segmenter"][0]
    assert record["config"]["segmentation"]["segmenter"] == "auto:otsu,smooth=1|li,smooth=2"
    assert "choosing the segmenter: " in done.text
    assert "% of the time" in done.text
    said = (tmp_path / "out" / "run.log").read_text()
    assert "by the samples of 2 images" in said
    run(images, tmp_path / "out", config=config, truth=masks)
    said = (tmp_path / "out" / "run.log").read_text()
    assert "chosen before" in said
    assert "2 of 2 images were finished before" in said
    assert said.count("by the samples of") == 1
    run(images, tmp_path / "out", config=config.replace(segmenter="auto:li,smooth=2|otsu,smooth=1"), truth=masks)
    said = (tmp_path / "out" / "run.log").read_text()
    assert said.count("by the samples of") == 2
    run(images, tmp_path / "out", config=config.replace(segmenter=record["segmenter"]), truth=masks)
    assert (tmp_path / "out" / "run.log").read_text().count("2 of 2 images were finished before") == 3


@pytest.mark.parametrize(
    "made", [lambda c: choice_stage(c, ["otsu", "li"], ["a"]), lambda c: raters_stage(Path("m"), c, "otsu", ["a"])]
)
def test_another_channel_is_another_choice(made):
    keys = {made(RunConfig.make(channel=channel)).key({"model": "m"}) for channel in (0, 1)}
    assert len(keys) == 2
    assert made(RunConfig.make(measure="all")).key({"model": "m"}) == made(RunConfig.make()).key({"model": "m"})
