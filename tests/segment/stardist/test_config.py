import json

import pytest

from divseg.errors import DivsegWarning, ModelError
from divseg.segment.stardist.config import read_config, read_thresholds

VERSATILE = {
    "n_dim": 2,
    "axes": "YXC",
    "n_channel_in": 1,
    "n_channel_out": 33,
    "n_rays": 32,
    "grid": [2, 2],
    "backbone": "unet",
    "unet_n_depth": 3,
    "unet_kernel_size": [3, 3],
    "unet_pool": [2, 2],
    "net_conv_after_unet": 128,
}


def write(folder, **changes):
    (folder / "config.json").write_text(json.dumps({**VERSATILE, **changes}))
    return folder


def test_an_old_file_with_defaults_left_out(tmp_path):
    config = read_config(write(tmp_path))
    assert (config.ndim, config.n_channels, config.n_rays, config.grid) == (2, 1, 32, (2, 2))
    assert (config.depth, config.filters, config.convs, config.features) == (3, 32, 2, 128)
    assert config.last_activation == "relu"
    assert config.divisor == (16, 16)
    assert config.n_classes is None


def test_rays_take_the_anisotropy_of_the_model(tmp_path):
    rays = {"name": "Rays_GoldenSpiral", "kwargs": {"n": 12, "anisotropy": None}}
    sizes = {"grid": [1, 2, 2], "unet_kernel_size": [3, 3, 3], "unet_pool": [2, 2, 2]}
    config = read_config(write(tmp_path, axes="ZYXC", rays_json=rays, anisotropy=[2, 1, 1], **sizes))
    assert config.rays == {"name": "Rays_GoldenSpiral", "kwargs": {"n": 12, "anisotropy": (2, 1, 1)}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backbone": "fpn"}, "backbone 'fpn' is unknown; StarDist 2-D models have unet"),
        ({"backbone": "resnet"}, "backbone 'resnet' is unknown; StarDist 2-D"),
        ({"axes": "XYC"}, "axes 'XYC'; divseg knows"),
        ({"axes": None}, "axes None"),
        ({"grid": [2, 3]}, "powers of 2"),
        ({"grid": [2]}, "2 powers of 2"),
        ({"unet_pool": [2, 2, 2]}, r"unet_pool \[2, 2, 2\] must have 2"),
        ({"unet_n_depth": "deep"}, "is not a StarDist configuration .*copy the model folder again"),
        ({"axes": "ZYXC", "grid": [1, 1, 1], "rays_json": {"name": "exit", "kwargs": {}}}, "rays 'exit' are unknown"),
    ],
)
def test_networks_that_are_not_known(tmp_path, changes, words):
    with pytest.raises(ModelError, match=words):
        read_config(write(tmp_path, **changes))


def test_folders_without_a_model(tmp_path):
    with pytest.raises(ModelError, match="there is no model folder"):
        read_config(tmp_path / "gone")
    with pytest.raises(ModelError, match=r"has no config.json; a StarDist model folder has"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read as JSON"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(ModelError, match="holds a list"):
        read_config(tmp_path)


def test_thresholds(tmp_path):
    with pytest.warns(DivsegWarning, match=r"no thresholds.json: taking StarDist's defaults prob=0.5, nms=0.4"):
        assert (read_thresholds(tmp_path).prob, read_thresholds(tmp_path).nms) == (0.5, 0.4)
    (tmp_path / "thresholds.json").write_text('{"prob": 0.7, "nms": null}')
    with pytest.warns(DivsegWarning, match="nms is None, not a number between 0 and 1; taking StarDist's default 0.4"):
        assert read_thresholds(tmp_path).prob == 0.7
    (tmp_path / "thresholds.json").write_text("prob")
    with pytest.raises(ModelError, match="delete it to take StarDist's defaults"):
        read_thresholds(tmp_path)
