"""One image, from noisy to consensus."""

import numpy as np
import pytest

import divseg.workflow.image as pipeline
from divseg import DivNoising, Image, evaluate, segmenter
from divseg.config import RunConfig
from divseg.denoise import FlatConfig, TrainSettings

CONFIG = RunConfig(samples=6, device="cpu")
SEGMENT = "otsu,smooth=2,min_size=20"


@pytest.fixture(scope="module")
def case(make_plate, tmp_path_factory):
    import tifffile

    images, masks = make_plate(tmp_path_factory.mktemp("p"), n=1)
    noisy, truth = tifffile.imread(images / "cell0.tif"), tifffile.imread(masks / "cell0.tif")
    model = DivNoising.fit(
        [noisy],
        noise="gaussian,std=12",
        train_steps=250,
        device="cpu",
        network=FlatConfig(filters=8, latents=8),
        settings=TrainSettings(batch=4, patch=64),
    )
    return Image.from_array(noisy, "cell0"), truth, model


def test_consensus_finds_the_objects(case):
    image, truth, model = case
    steps = []
    result = pipeline.process_image(image, model, segmenter(SEGMENT), CONFIG, step=steps.append)
    assert evaluate(result.consensus.labels, truth).ap50 > 0.8
    assert result.consensus.n_samples == 6
    assert result.samples.shape == (2, 72, 80)
    assert result.scores == []
    assert steps == ["denoise", "segment", "segment other views", "fuse"]
    np.testing.assert_allclose(result.mmse, model.mmse(image, n=6), atol=1e-3)


def test_samples_alone_may_vote(case):
    image, truth, model = case
    steps = []
    alone = CONFIG.model_copy(update={"voters": "samples"})
    result = pipeline.process_image(image, model, segmenter(SEGMENT), alone, step=steps.append)
    assert steps == ["denoise", "segment"]
    assert result.consensus.n_samples == 6
    assert evaluate(result.consensus.labels, truth).ap50 > 0.8


def test_scores_of_every_input(case):
    image, truth, model = case
    config = CONFIG.model_copy(update={"baseline_sds": (1.0, 3.0)})
    result = pipeline.process_image(image, model, segmenter(SEGMENT), config, truth=truth)
    inputs = [row["input"] for row in result.scores]
    assert inputs == [
        "noisy",
        "gaussian sigma=1",
        "gaussian sigma=3",
        "mmse",
        *["single sample"] * 6,
        "consensus clustering",
        "consensus mutex",
        "consensus majority",
    ]
    last = {row["input"]: row for row in result.scores}["consensus clustering"]
    assert last["map"] == pytest.approx(evaluate(result.consensus.labels, truth).map)


def test_drawing_twice_gives_what_holding_gives(case, monkeypatch):
    image, _, model = case
    segment = segmenter(SEGMENT + ",threshold=image")
    held = pipeline.process_image(image, model, segment, CONFIG)
    monkeypatch.setattr(pipeline, "SAMPLE_MEMORY", 0)
    drawn = pipeline.process_image(image, model, segment, CONFIG)
    assert np.array_equal(held.consensus.labels, drawn.consensus.labels)


def test_groups_of_samples_are_averaged(case):
    image, _, model = case
    config = CONFIG.model_copy(update={"group": 4, "voters": "samples"})
    result = pipeline.process_image(image, model, segmenter(SEGMENT), config)
    assert result.consensus.n_samples == 2  # of four samples and of the remaining two
    whole = CONFIG.model_copy(update={"group": 6, "voters": "samples"})
    result = pipeline.process_image(image, model, segmenter(SEGMENT), whole)
    expected = segmenter(SEGMENT)(result.mmse)
    assert np.array_equal(result.consensus.labels > 0, expected > 0)


def test_correlated_noise_is_told(case):
    _, _, model = case
    noise = np.random.default_rng(0).normal(0, 12, (72, 81))
    independent = Image.from_array(100 + noise[:, 1:], "free")
    assert pipeline.process_image(independent, model, segmenter(SEGMENT), CONFIG).warnings == []
    row_wise = Image.from_array(100 + noise[:, 1:] + noise[:, :-1], "rows")
    result = pipeline.process_image(row_wise, model, segmenter(SEGMENT), CONFIG)
    assert "neighbouring pixels is correlated" in result.warnings[0]
    assert result.noise_correlation[0] > 0.3


def test_probabilities_of_stardist_reach_the_object_table(case):
    image, truth, model = case
    segment = segmenter("stardist:nuclei,prob=0.1,processes=0")
    config = RunConfig(samples=3, device="cpu", compare=(), baseline_sds=())
    plain = pipeline.process_image(image, model, segment, config).consensus
    scored = pipeline.process_image(image, model, segment, config, truth=truth).consensus
    assert len(plain.objects)
    assert plain.objects["prob_mean"].between(0.1, 1).all()
    assert scored.objects.equals(plain.objects)


def test_voters_are_drawn_towards_the_mmse():
    import torch

    from divseg.workflow.image import _Draws

    draws = object.__new__(_Draws)
    draws.mean = torch.full((1, 4, 4), 10.0)
    draws.hold, draws.held = True, [torch.full((2, 4, 4), 14.0)]
    for spread, value in ((1.0, 14.0), (0.5, 12.0)):
        draws.config = RunConfig(spread=spread)
        (batch,) = draws.voters()
        assert batch.shape == (2, 4, 4)
        assert (batch == value).all()
    draws.config = RunConfig(spread=0.5, group=2)
    (batch,) = draws.voters()
    assert batch.shape == (1, 4, 4)
    assert (batch == 12).all()


def test_markers_from_the_mmse(tmp_path):
    from divseg.config import split_markers
    from divseg.errors import ConfigError
    from divseg.workflow.preflight import check_settings

    assert split_markers("voting, markers=mmse,scheme=simple") == ("voting,scheme=simple", True)
    assert split_markers("clustering") == ("clustering", False)
    check_settings(RunConfig(method="voting,markers=mmse", device="cpu"))
    with pytest.raises(ConfigError, match="markers"):
        check_settings(RunConfig(method="clustering,markers=mmse", device="cpu"))


def test_all_views_vote(case):
    image, truth, model = case
    config = RunConfig(samples=8, device="cpu", voters="all", compare=("clustering",))
    result = pipeline.process_image(image, model, segmenter(SEGMENT), config, truth=truth)
    assert result.consensus.n_samples == 8  # existence is what the samples say, whoever else drew the outlines
    assert result.consensus.weights.sum() == pytest.approx(1)
    assert set(np.round(result.consensus.objects["existence"] * 8, 6)) <= set(range(9))
    assert result.consensus.method == "clustering"
    assert evaluate(result.consensus.labels, truth).ap50 > 0.8
    alone = pipeline.process_image(image, model, segmenter(SEGMENT), config)
    np.testing.assert_array_equal(alone.consensus.labels, result.consensus.labels)
