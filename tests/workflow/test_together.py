"""Channels that are denoised together: one network, samples of all, the segmenter sees its own; measured in each."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile

from divseg import open_run
from divseg.config import RunConfig
from divseg.errors import ConfigError, FileProblem, InputError
from divseg.io import check_inputs, read
from divseg.io.joint import JointImages, first_channel, load_joint
from divseg.workflow.channels import joint_channels
from divseg.workflow.run import run

NAMES = ["nuclei", "marker", "far"]
QUICK = {"network": "flat,depth=1,filters=8,latents=4", "train_steps": 60, "samples": 4, "report": False}
QUICK |= {"segmenter": "otsu,smooth=1,min_size=20", "fuse_with": "samples", "existence": 0.0, "snr": 0.0, "simulate": 0}


def write(path, planes, names):
    metadata = {"axes": "ZCYX"[-planes.ndim :], "Channel": {"Name": names}}
    tifffile.imwrite(path, planes, metadata=metadata, photometric="minisblack")


def drawn(rng, order=(0, 1, 2)):
    """Return three noisy channels of the same discs: bright, inverted and of other levels; and their labels."""
    y, x = np.ogrid[:96, :96]
    labels = np.zeros((96, 96), np.uint16)
    for k, (a, b) in enumerate([(24, 24), (24, 70), (66, 30), (70, 72)], start=1):
        labels[(y - a) ** 2 + (x - b) ** 2 <= 150] = k
    inside = labels > 0
    clean = np.stack([100 + 300.0 * inside, 900 - 200.0 * inside, 50 + 40.0 * labels])
    noisy = rng.normal(clean, np.array([30, 20, 10])[:, None, None]).clip(0).astype(np.uint16)
    return noisy[list(order)], labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of two images; the second has its channels in another order."""
    root, rng = tmp_path_factory.mktemp("together"), np.random.default_rng(0)
    for name, order in (("a", (0, 1, 2)), ("b", (2, 0, 1))):
        write(root / f"{name}.ome.tif", drawn(rng, order)[0], [NAMES[k] for k in order])
    return root


@pytest.fixture(scope="module")
def done(folder, tmp_path_factory):
    keep = ("denoised", "std", "stacks", "samples", "crops")
    out = tmp_path_factory.mktemp("out") / "run"
    return run(folder, out, channel="nuclei", together="all", keep=keep, **{**QUICK, "report": True})


def test_all_channels_are_denoised_each_in_its_place(done):
    assert (done.n_images, done.n_failed) == (2, 0)
    opened = open_run(done.out)
    assert opened.model.network.config.channels == 3
    record = json.loads((done.out / "run.json").read_text())
    assert [row["together"] for row in record["inputs"]] == [["far", "marker"]] * 2
    labels = drawn(np.random.default_rng(0))[1]
    for name in "ab":
        assert opened.denoised[name].shape == (96, 96)
        inside = labels > 0
        far, marker = opened.channels[name]
        for image, level, sign in ((opened.denoised[name], 160, 1), (marker, 860, -1), (far, 70, 1)):
            assert image.mean() == pytest.approx(level, rel=0.3)  # hardly trained
            assert sign * np.corrcoef(image.ravel(), inside.ravel())[0, 1] > 0.3
        assert opened.samples[name].shape == (2, 3, 96, 96)
        np.testing.assert_allclose(opened.samples[name][:, 0].mean(0), opened.denoised[name], atol=150)
        assert opened.samples[name][:, 2].mean() == pytest.approx(marker.mean(), rel=0.05)
        assert opened.crops[name].samples.ndim == 3


def test_objects_are_measured_in_the_samples_of_every_channel(done):
    table = pd.read_csv(done.out / "measurements.csv")
    assert len(table) >= 6
    for name in ("", "marker_"):
        np.testing.assert_allclose(table[f"posterior_{name}mean"], table[f"raw_{name}mean"], rtol=0.25)
        np.testing.assert_allclose(table[f"posterior_{name}mean"], table[f"denoised_{name}mean"], rtol=0.05)
        assert (table[f"posterior_{name}mean_q05"] <= table[f"posterior_{name}mean_q95"]).all()
    np.testing.assert_allclose(table["posterior_far_mean"], table["denoised_far_mean"], rtol=0.2)


def test_what_is_kept_is_not_drawn_again(done, folder):
    settings = {"channel": "nuclei", "together": "all", "keep": ("denoised", "std", "stacks", "samples", "crops")}
    before = pd.read_csv(done.out / "measurements.csv")
    again = run(folder, done.out, redo=["measure"], **settings, **{**QUICK, "report": True})
    assert again.n_failed == 0
    pd.testing.assert_frame_equal(pd.read_csv(done.out / "measurements.csv"), before)


def test_a_model_of_other_channels_is_refused(done, folder, tmp_path):
    result = run(folder, tmp_path / "o", channel="nuclei", model=done.out / "model", **QUICK)
    failures = pd.read_csv(tmp_path / "o" / "failures.csv")
    assert result.n_failed == 2
    assert "this model works on axes YX with 3 channel(s)" in failures["error"][0]


def test_simulated_images_have_all_channels(folder, tmp_path):
    settings = {**QUICK, "simulate": 2, "fuse_with": "all", "samples": 8}
    result = run(folder, tmp_path / "o", channel="nuclei", together=("marker",), **settings)
    assert result.n_failed == 0
    simulated = open_run(tmp_path / "o" / "simulated")
    assert len(simulated.images_table) == 2
    assert set(simulated.channels) == set(simulated.denoised)


def test_the_choice_of_the_segmenter_sees_the_own_channel(folder, tmp_path):
    settings = {**QUICK, "segmenter": "auto:otsu,smooth=1|fixed,threshold=2000"}
    result = run(folder, tmp_path / "o", channel="nuclei", together="marker", **settings)
    assert result.n_failed == 0
    assert json.loads((tmp_path / "o" / "run.json").read_text())["segmenter"].startswith("otsu")


def test_volumes(tmp_path):
    rng = np.random.default_rng(0)
    planes = np.stack([drawn(rng)[0][:2, :48, :48] for _ in range(5)])
    write(tmp_path / "v.ome.tif", planes, NAMES[:2])
    settings = {**QUICK, "train_steps": 2, "keep": "denoised,std,stacks,samples"}
    result = run(tmp_path / "v.ome.tif", tmp_path / "o", channel=0, together="all", volume=True, **settings)
    assert result.n_failed == 0
    opened = open_run(result.out)
    assert opened.channels["v"].shape == (1, 5, 48, 48)
    assert opened.samples["v"].shape == (2, 2, 5, 48, 48)
    # levels of the marker are above those of the nuclei in every plane
    assert (opened.channels["v"][0].mean((1, 2)) > opened.denoised["v"].mean((1, 2))).all()
    assert "posterior_marker_mean" in pd.read_csv(result.out / "measurements.csv") or not opened.objects.size


def change(path, channel):
    """Change one pixel of a channel of a file."""
    source = read(path, channel=channel)[0]
    planes, names = tifffile.imread(path), read(path, channel=channel).refs[0].source.channels
    planes[names.index(channel), 24, 24] += 1
    write(path, planes, list(names))
    return source


@pytest.mark.parametrize(
    ("asked", "redone"),
    [
        ({"measure": "marker"}, {"measure"}),
        ({"together": "marker"}, {"denoise", "segment", "fuse", "measure"}),
        ({"measure": "far"}, set()),
    ],
)
def test_a_change_in_another_channel(done, tmp_path, asked, redone):
    """It redoes what depends on this channel, and nothing else."""
    write(tmp_path / "c.ome.tif", drawn(np.random.default_rng(1))[0], NAMES)
    model = asked == {"together": "marker"} and trained(tmp_path)
    settings = {**QUICK, "channel": "nuclei", **asked, "model": model or trained(tmp_path, together=())}
    first = run(tmp_path / "c.ome.tif", tmp_path / "o", **settings)
    assert first.n_failed == 0
    marker = tmp_path / "o" / "units" / "c.json"
    before = json.loads(marker.read_text())["stages"]
    change(tmp_path / "c.ome.tif", "marker")
    assert run(tmp_path / "c.ome.tif", tmp_path / "o", **settings).n_failed == 0
    after = json.loads(marker.read_text())["stages"]
    assert {name for name in after if after[name]["key"] != before[name]["key"]} == redone


def trained(folder, together=("marker",)):
    """Return the folder of a model that was trained for a step."""
    out = folder / f"m{len(together)}"
    settings = {**QUICK, "train_steps": 1, "samples": 1, "channel": "nuclei", "together": together}
    return run(folder / "c.ome.tif", out, **settings).out / "model"


def test_channels_by_name_and_number(folder):
    ref = read(folder / "b.ome.tif", channel="nuclei").refs[0]
    assert joint_channels(ref, ()) == {}
    assert list(joint_channels(ref, ("all",)).items()) == [("far", 0), ("marker", 2)]
    assert joint_channels(ref, ("marker", "nuclei")) == {"marker": 2}
    with pytest.raises(FileProblem, match="no channel 'GFP'; choose --together from 0 far, 1 nuclei, 2 marker"):
        joint_channels(ref, ("GFP",))
    with pytest.raises(FileProblem, match="no channel to denoise together"):
        joint_channels(ref, ("nuclei",))


def test_a_joint_image(folder):
    ref = read(folder / "a.ome.tif", channel="marker", invalid="auto").refs[0]
    joint = load_joint(ref, [0])
    assert (joint.axes, joint.shape, joint.name) == ("CYX", (2, 96, 96), "a")
    np.testing.assert_array_equal(joint.data[1], tifffile.imread(folder / "a.ome.tif")[0])
    np.testing.assert_array_equal(first_channel(joint).data, ref.load().data)
    assert load_joint(ref, []) is ref.load()
    assert first_channel(ref.load()).axes == "YX"
    assert JointImages([ref], [[2, 0]])[0].shape == (3, 96, 96)


def test_data_is_what_is_data_in_all_channels(tmp_path):
    planes = drawn(np.random.default_rng(0))[0].astype(np.float32)
    planes[0, :6] = np.nan
    planes[1, :, :9] = np.nan
    write(tmp_path / "n.ome.tif", planes, NAMES)
    ref = check_inputs(tmp_path / "n.ome.tif", channel=0).images.refs[0]
    valid = load_joint(ref, [1, 2]).valid
    assert not valid[:6].any()
    assert not valid[:, :9].any()
    assert valid[6:, 9:].all()


def test_files_with_other_channels_are_problems(folder, tmp_path):
    rng = np.random.default_rng(2)
    for name, count in (("a", 3), ("b", 2), ("c", 1)):
        write(tmp_path / f"{name}.ome.tif", drawn(rng)[0][:count], NAMES[:count])
    result = run(tmp_path, tmp_path.parent / "bad", channel=0, together="all", **{**QUICK, "train_steps": 1})
    failures = pd.read_csv(result.out / "failures.csv")["error"].tolist()
    assert (result.n_images, len(failures)) == (1, 2)
    assert "it has the channels marker, but a.ome.tif has far, marker" in failures[0]
    assert "name those that all files have with --together" in failures[0]
    assert "it has no channel to denoise together" in failures[1]
    named = run(tmp_path, tmp_path.parent / "named", channel=0, together="marker", **{**QUICK, "train_steps": 1})
    assert named.n_images == 2
    assert "no channel 'marker'" in pd.read_csv(named.out / "failures.csv")["error"][0]
    with pytest.raises(InputError, match=r"none of the images can be used: .*no channel 'GFP'"):
        run(folder, tmp_path.parent / "no", channel="nuclei", together="GFP", **QUICK)


def test_the_setting_in_a_file(tmp_path):
    (tmp_path / "s.toml").write_text('[data]\nchannel = "nuclei"\ntogether = ["marker", 2]\n')
    config = RunConfig.from_toml(tmp_path / "s.toml")
    assert config.data.together == ("marker", "2")
    with pytest.raises(ConfigError, match="together"):
        RunConfig.make(together=3.5)
