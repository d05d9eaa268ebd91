"""One image, from noisy to consensus."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tifffile

from divseg import DivNoising, evaluate, read
from divseg.config import RunConfig
from divseg.denoise import FlatConfig, TrainSettings
from divseg.errors import ConfigError
from divseg.io import check_inputs, read_labels
from divseg.io.rounding import step_of, to_step
from divseg.results import RunStore
from divseg.workflow.check import check_settings
from divseg.workflow.fuse_views import split_markers
from divseg.workflow.image_stages import SAMPLES_FRACTION, RunTools, image_stages
from divseg.workflow.samples import Samples
from divseg.workflow.unit_work import UnitWork
from divseg.workflow.units import ImageUnit

CONFIG = RunConfig.make(
    samples=6,
    device="cpu",
    segmenter="otsu,smooth=2,min_size=20",
    baseline_sigmas=(1.0, 3.0),
    keep="denoised,std,samples",
    simulate=0,
)


@pytest.fixture(scope="module")
def case(make_plate, tmp_path_factory):
    """Folders of an image and its truth, and the folder of a model trained on the image."""
    root = tmp_path_factory.mktemp("case")
    images, masks = make_plate(root, n=1)
    model = DivNoising.fit(
        read(images),
        noise="gaussian,std=12",
        train_steps=250,
        device="cpu",
        network=FlatConfig(filters=8, latents=8),
        settings=TrainSettings(batch=4, patch=64),
    )
    return SimpleNamespace(images=images, masks=masks, model=model.save(root / "model"))


def process(case, out, config=CONFIG, images=None, truth=None):
    """Do all stages of the one image of a folder; return its results."""
    inputs = check_inputs(images or case.images, truth=truth)
    (ref,) = inputs.images.refs
    segmenter = config.segmentation.segmenter
    stages = tuple(image_stages(config, segmenter, truth is not None))
    work = UnitWork(stages, {"model": "m"}, out, "run", RunTools(case.model, config, segmenter))
    steps = []
    outcome = work(ImageUnit(ref, inputs.truth.get(ref.name)), steps.append)
    assert outcome.failure is None
    store = RunStore(out)
    record = store.read_marker(ref.name).stages
    return SimpleNamespace(
        steps=steps,
        warnings=outcome.warnings,
        labels=read_labels(store.labels(ref.name)),
        mmse=tifffile.imread(store.denoised(ref.name)),
        samples=tifffile.imread(store.samples(ref.name)),
        objects=pd.read_csv(store.objects(ref.name)),
        info=record["segment"].info,
        row=record["denoise"].row | record["fuse"].row,
        scores=[row for stage in ("baselines", "score") if stage in record for row in record[stage].scores],
    )


def ap50(result, case):
    return evaluate(result.labels, read_labels(case.masks / "cell0.tif")).ap50


def test_consensus_finds_the_objects(case, tmp_path):
    result = process(case, tmp_path)
    assert ap50(result, case) > 0.8
    assert result.samples.shape == (2, 72, 80)
    assert result.scores == []
    assert result.steps == ["denoise", "segment", "segment other views", "fuse", "measure"]
    model, (image,) = DivNoising.load(case.model, device="cpu"), read(case.images)
    step = step_of(tifffile.imread(tmp_path / "maps" / "cell0_std.tif"))
    np.testing.assert_allclose(result.mmse, model.mmse(image, n=6), atol=0.5 * step + 1e-3)
    np.testing.assert_array_equal(result.mmse, to_step(result.mmse, step / 2))  # the step may halve by rounding of std
    np.testing.assert_allclose(result.samples, model.draw(image, [0, 1]), atol=1e-3)
    assert result.row["std_mean"] > 0
    assert result.row["n_objects"] == len(result.objects) == result.labels.max()


def test_samples_alone_may_be_fused(case, tmp_path):
    result = process(case, tmp_path, CONFIG.replace(fuse_with="samples"))
    assert result.steps == ["denoise", "segment", "fuse", "measure"]
    assert result.info["views"] == {"samples": 6, "mmse": 1}
    assert "weights" not in result.info
    assert ap50(result, case) > 0.8


def test_existence_is_what_the_samples_say_whatever_else_is_fused(case, tmp_path):
    result = process(case, tmp_path, CONFIG.replace(samples=8))
    assert list(result.info["views"])[:3] == ["samples", "means", "mmse"]
    assert (result.info["views"]["samples"], result.info["views"]["means"]) == (8, 2)
    assert sum(result.info["weights"]) == pytest.approx(1)
    assert result.info["weights"][:8] == pytest.approx([SAMPLES_FRACTION / 8] * 8)
    assert set(np.round(result.objects["existence"] * 8, 6)) <= set(range(9))
    assert ap50(result, case) > 0.8


def test_scores_of_every_input(case, tmp_path):
    result = process(case, tmp_path / "a", truth=case.masks)
    assert [row["input"] for row in result.scores] == [
        "noisy",
        "gaussian sigma=1",
        "gaussian sigma=3",
        "mmse",
        *["single sample"] * 6,
        "consensus clustering",
        "consensus mutex",
        "consensus majority",
    ]
    assert [row["draw"] for row in result.scores if row["input"] == "single sample"] == list(range(6))
    truth = read_labels(case.masks / "cell0.tif")
    last = {row["input"]: row for row in result.scores}["consensus clustering"]
    assert last["map"] == pytest.approx(evaluate(result.labels, truth).map)
    np.testing.assert_array_equal(process(case, tmp_path / "b").labels, result.labels)


def test_means_of_samples_and_of_the_remaining_ones(case):
    (image,) = read(case.images)
    samples = Samples(DivNoising.load(case.model, device="cpu"), image, CONFIG.sampling)
    every = np.concatenate([batch.numpy() for batch in samples.batches()])
    means = [mean.numpy() for mean in samples.means(4)]
    expected = [every[:4].mean(axis=0, keepdims=True), every[4:].mean(axis=0, keepdims=True)]
    np.testing.assert_allclose(means, expected, rtol=1e-5)


def test_probabilities_of_stardist_reach_the_object_table(case, tmp_path):
    config = CONFIG.replace(segmenter="stardist:nuclei,prob=0.1,threads=0", samples=3, compare=(), baseline_sigmas=())
    plain = process(case, tmp_path / "plain", config)
    scored = process(case, tmp_path / "scored", config, truth=case.masks)
    assert len(plain.objects)
    assert plain.objects["prob_mean"].between(0.1, 1).all()
    assert scored.objects.equals(plain.objects)


def test_markers_from_the_mmse(case, tmp_path):
    assert split_markers("voting, markers=mmse,scheme=simple") == ("voting,scheme=simple", True)
    assert split_markers("clustering") == ("clustering", False)
    config = CONFIG.replace(method="voting,markers=mmse", fuse_with="samples")
    check_settings(config)
    assert ap50(process(case, tmp_path, config), case) > 0.8
    with pytest.raises(ConfigError, match="markers"):
        check_settings(CONFIG.replace(method="clustering,markers=mmse"))
