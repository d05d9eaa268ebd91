"""A run with two segmenters: both segment every view of an image, and all label images are fused."""

import numpy as np
import pandas as pd
import pytest

import divseg
from divseg.config import RunConfig
from divseg.consensus import LabelStack
from divseg.errors import ConfigError
from divseg.results import RunLayout
from divseg.segment.ensemble import ensemble
from divseg.workflow.simulate import simulate_run

A, B = "otsu,smooth=1,min_size=20", "local,smooth=2,min_size=20"
SAMPLES = 8
CONFIG = RunConfig.make(
    network="flat,filters=8,latents=8",
    train_steps=60,
    simulate=0,
    noise="gaussian,std=12",
    samples=SAMPLES,
    device="cpu",
    baseline_sigmas=(1.0,),
    compare=(),
    keep="stacks",
)


@pytest.fixture(scope="module")
def runs(make_plate, tmp_path_factory):
    """Runs with either segmenter and with both, by one model."""
    root = tmp_path_factory.mktemp("runs")
    images, masks = make_plate(root, n=1)
    out, model = {}, None
    for name in (A, B, f"{A} + {B}"):
        settings = CONFIG.replace(segmenter=name)
        made = divseg.run(images, root / f"run{len(out)}", config=settings, truth=masks, model=model, report=False)
        assert made.n_failed == 0
        model = model or RunLayout(made.out).model
        out[name] = made.open()
    return out


def stack(run):
    return LabelStack.load(RunLayout(run.folder).stack("cell0"))


def test_each_view_has_the_label_image_of_each_segmenter(runs):
    one, other, both = (stack(run) for run in runs.values())
    assert len(both) == 2 * len(one) == 2 * len(other)
    for k in range(len(one)):
        np.testing.assert_array_equal(both.labels(2 * k), one.labels(k))
        np.testing.assert_array_equal(both.labels(2 * k + 1), other.labels(k))


def test_objects_are_counted_among_all_label_images_of_the_samples(runs):
    both = runs[f"{A} + {B}"]
    assert both.record["segmenter"] == f"{A} + {B}"
    steps = both.objects["existence"].to_numpy() * 2 * SAMPLES
    np.testing.assert_allclose(steps, steps.round(), atol=1e-6)
    assert len(both.measurements) == len(both.objects)
    assert both.measurements["posterior_mean"].notna().all()


def test_the_first_segmenter_stands_for_all_in_the_baselines(runs):
    one, both = (pd.DataFrame(runs[name].scores) for name in (A, f"{A} + {B}"))
    rivals = [~table["input"].str.startswith("consensus") for table in (one, both)]
    pd.testing.assert_frame_equal(one[rivals[0]].reset_index(drop=True), both[rivals[1]].reset_index(drop=True))
    assert (both["input"] == "single sample").sum() == SAMPLES


def test_simulated_images_go_the_same_way(runs):
    both = runs[f"{A} + {B}"]
    made = simulate_run(both.folder, images=5)
    assert made.n_failed == 0
    inner = made.open()
    assert inner.calibration.settings["segmenter"] == f"{A} + {B}"
    assert inner.objects["truth"].drop_duplicates().tolist()[:2] == [ensemble(A).name, ensemble(B).name]


def test_a_wrong_one_of_two_is_told_before_any_work(make_plate, tmp_path):
    images, _ = make_plate(tmp_path, n=1)
    with pytest.raises(ConfigError, match="otzu"):
        divseg.run(images, tmp_path / "out", config=CONFIG.replace(segmenter=f"{A} + otzu"))
    with pytest.raises(ConfigError, match="takes volumes"):
        divseg.run(images, tmp_path / "out", config=CONFIG.replace(segmenter=f"{A} + otsu,ndim=3"))
    assert not (tmp_path / "out").exists()
