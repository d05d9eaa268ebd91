import os
import shutil

import h5py
import numpy as np
import pytest

from divseg.errors import ModelError
from divseg.segment.stardist.config import read_config
from divseg.segment.stardist.network import build_network
from divseg.segment.stardist.weights import WeightFile, find_weights, read_weights


def test_the_best_weights_come_first(tmp_path):
    with pytest.raises(ModelError, match=r"has no weights \(weights_best.h5 or weights_last.h5\)"):
        find_weights(tmp_path)
    for name in ("other.h5", "weights_now.h5", "weights_last.h5", "weights_best.weights.h5", "weights_best.h5"):
        (tmp_path / name).touch()
        assert find_weights(tmp_path).name == name
    os.utime(tmp_path / "weights_best.h5", (0, 0))
    assert find_weights(tmp_path).name == "weights_best.h5"


def test_damaged_files(tmp_path):
    path = tmp_path / "weights_best.h5"
    path.write_bytes(b"no HDF5")
    with pytest.raises(ModelError, match="cannot be read as HDF5"):
        read_weights(path)
    with h5py.File(path, "w") as file:
        file["x"] = [1]
    with pytest.raises(ModelError, match="no weights in a layout of Keras"):
        read_weights(path)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["conv"]
    with pytest.raises(ModelError, match="cannot be read as HDF5"):
        read_weights(path)


def test_names_cut_in_pieces(tmp_path):
    """Keras splits attributes above 64 kB."""
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names0"] = [b"a", b"no_weights"]
        file.attrs["layer_names1"] = [b"b_12"]
        file.create_group("no_weights").attrs["weight_names"] = []
        for name in ("a", "b_12"):
            file.create_group(name).attrs["weight_names"] = [b"k:0"]
            file[name]["k:0"] = np.ones((3, 3, 1, 2))
    found = read_weights(tmp_path / "w.h5")
    assert [(layer.name, layer.number, layer.is_norm) for layer in found.layers] == [
        ("a", 0, False),
        ("b_12", 12, False),
    ]
    assert found.named


def test_weights_of_another_network(models, tmp_path):
    config = read_config(models.folder / "unet2d")
    for other in ("grid2", "channels2", "unet3d"):
        with pytest.raises(ModelError, match="does not hold the weights of the network in config"):
            build_network(config, read_weights(find_weights(models.folder / other)))
    whole = read_weights(find_weights(models.folder / "unet2d"))
    for lost in range(len(whole.layers)):
        rest = tuple(layer for i, layer in enumerate(whole.layers) if i != lost)
        with pytest.raises(ModelError, match="does not hold the weights"):
            build_network(config, WeightFile(whole.path, rest, named=True))


def test_an_unknown_activation(models, tmp_path):
    folder = shutil.copytree(models.folder / "unet2d", tmp_path / "m")
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"unet_activation": "relu"', '"unet_activation": "snake"'))
    with pytest.raises(ModelError, match="activation 'snake' is unknown here; divseg has linear, relu"):
        build_network(read_config(folder), read_weights(find_weights(folder)))


def test_the_order_of_saved_names_does_not_matter(models):
    """Models saved after others in one session have names that count on: conv2d_9, conv2d_10."""
    config = read_config(models.folder / "channels2")
    whole = read_weights(find_weights(models.folder / "channels2"))
    shifted = []
    for layer in reversed(whole.layers):
        name = f"{layer.name.rstrip('_0123456789')}_{layer.number + 9}"
        own = not (layer.name.startswith("conv2d") or layer.is_norm)
        shifted.append(type(layer)(layer.name if own else name, layer.arrays))
    first = build_network(config, whole).state_dict()
    for key, value in build_network(config, WeightFile(whole.path, tuple(shifted), named=True)).state_dict().items():
        assert (value == first[key]).all()
