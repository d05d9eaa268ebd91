import json

import pytest

from divseg.denoise import LadderConfig, NetworkConfig
from divseg.denoise.networks.registry import build_network, default_network, parse_network, shape_from_dict
from divseg.errors import ConfigError, ModelError


def test_settings_in_words():
    assert parse_network("") == default_network() == LadderConfig()
    assert parse_network("flat") == NetworkConfig()
    assert parse_network("flat, depth=3, filters=16") == NetworkConfig(depth=3, filters=16)
    assert parse_network("ladder,width=48,latents=4-8") == LadderConfig(width=48, latents=(4, 8))
    assert parse_network("width=48") == LadderConfig(width=48)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("flat,width=3", "flat has depth"),
        ("ladder,depth=3", "ladder has finest"),
        ("flat,depth", "NAME=NUMBER"),
        ("flat,filters=many", "no whole number"),
        ("ladder,latents=8-x", "no whole number"),
        ("ladder,latents=0-8", "latents=0"),
        ("ladder,latents=1-1-1-1-1-1-1", "1 to 6 grids"),
        ("flat,depth=9", "depth=9"),
        ("tower", "networks: flat, ladder"),
    ],
)
def test_wrong_words(text, match):
    with pytest.raises(ConfigError, match=match):
        parse_network(text)


@pytest.mark.parametrize("shape", [NetworkConfig(3, dims=3), LadderConfig(latents=(2, 3), channels=2)])
def test_shapes_survive_json(shape):
    again = shape_from_dict(json.loads(json.dumps(shape.to_dict())))
    assert again == shape
    assert build_network(again).config == shape


def test_kinds_of_the_future_are_refused():
    with pytest.raises(ModelError, match="update divseg"):
        shape_from_dict({"kind": "tower"})
    with pytest.raises(TypeError, match="tower"):
        build_network("tower")


def test_volumes_are_flat():
    assert default_network(3) == NetworkConfig(dims=3)
    assert default_network().fitted(3, 2) == LadderConfig(channels=3)
