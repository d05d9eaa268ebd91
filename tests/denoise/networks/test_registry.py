import json

import pytest

from divseg.denoise import FlatConfig, HierarchicalConfig
from divseg.denoise.networks.registry import build_network, config_from_dict, default_network, parse_network
from divseg.errors import ConfigError, ModelError


def test_settings_in_words():
    assert parse_network("") == default_network() == HierarchicalConfig()
    assert parse_network("flat") == FlatConfig()
    assert parse_network("flat, depth=3, filters=16") == FlatConfig(depth=3, filters=16)
    assert parse_network("hierarchical,width=48,latents=4-8") == HierarchicalConfig(width=48, latents=(4, 8))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("flat,width=3", "no option 'width'.*options: depth"),
        ("hierarchical,depth=3", "no option 'depth'.*options: finest"),
        ("flat,dims=3", "no option 'dims'"),
        ("flat,depth", "write name=value"),
        ("flat,filters=many", "filters must be an integer from 1 to 512"),
        ("hierarchical,latents=8-x", "latents must be whole numbers"),
        ("hierarchical,latents=0-8", "latents must be whole numbers not below 1"),
        ("hierarchical,latents=1-1-1-1-1-1-1", "must be 1 to 6 numbers"),
        ("flat,depth=9", "depth=9"),
        ("flat,depth=2,depth=3", "twice"),
        ("tower", "known: flat, hierarchical"),
        ("hierachical", "did you mean 'hierarchical'"),
        ("width=48", "has no method"),
    ],
)
def test_wrong_words(text, match):
    with pytest.raises(ConfigError, match=match):
        parse_network(text)


@pytest.mark.parametrize("bad", [{"width": 1.5}, {"latents": 8}, {"latents": (4, 2.5)}, {"latents": (4, 2000)}])
def test_impossible_settings(bad):
    with pytest.raises(ConfigError, match=f"hierarchical network: {next(iter(bad))}="):
        HierarchicalConfig(**bad)


@pytest.mark.parametrize("config", [FlatConfig(3, dims=3), HierarchicalConfig(latents=(2, 3), channels=2)])
def test_settings_survive_json(config):
    again = config_from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert build_network(again).config == config


def test_kinds_of_the_future_are_refused():
    with pytest.raises(ModelError, match="update divseg"):
        config_from_dict({"kind": "tower"})
    with pytest.raises(TypeError, match="tower"):
        build_network("tower")


def test_volumes_are_flat():
    assert default_network(3) == FlatConfig(dims=3)
    assert default_network().fitted(3, 2) == HierarchicalConfig(channels=3)
