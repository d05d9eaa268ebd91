import pytest

from divseg.cli.options import options
from divseg.errors import ConfigError


def test_how_work_is_shared_out():
    expected = {"jobs": 2, "executor": "dask", "shard": (3, 8), "redo": ("fuse",)}
    assert options(2, "dask", "3/8", ["fuse"]) == expected
    assert options(1, None, None, None) == {"jobs": 1, "executor": None, "shard": None, "redo": ()}


@pytest.mark.parametrize("text", ["5/4", "0/4", "3", "a/b", "1/", "-1/3"])
def test_impossible_shards(text):
    with pytest.raises(ConfigError, match=r"write I/N with I from 1 to N"):
        options(1, None, text, None)
