import pytest
from hypothesis import given
from hypothesis import strategies as st

from divseg.config import RunConfig
from divseg.errors import ConfigError


@given(
    st.integers(1, 500),
    st.integers(0, 2**31),
    st.sampled_from(["learned", "gaussian,std=20", 'odd"quotes\\'])
    | st.text("abc ,=é", min_size=1).filter(lambda t: t.strip()),
    st.none() | st.floats(0, 1),
)
def test_toml_round_trip(tmp_path_factory, samples, seed, noise, existence):
    config = RunConfig.make(samples=samples, seed=seed, noise=noise, existence=existence)
    path = tmp_path_factory.mktemp("c") / "run.toml"
    path.write_text(config.to_toml(), encoding="utf-8")
    assert RunConfig.from_toml(path) == config


def test_command_line_wins_over_the_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('samples = 8\nnoise = "estimated"\n')
    config = RunConfig.from_toml(path, samples=16)
    assert (config.samples, config.noise) == (16, "estimated")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample": 3}, "unknown setting 'sample'; did you mean 'samples'"),
        ({"colour": 3}, "unknown setting 'colour' "),
        ({"samples": 0}, "samples=0"),
        ({"existence": 2.0}, "existence=2.0"),
        ({"train_minutes": -1}, "train_minutes=-1"),
        ({"segmenter": " "}, "segmenter=' '"),
        ({"seed": "many"}, "seed='many'"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ConfigError, match=message) as caught:
        RunConfig.make(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("samples = [", "no valid TOML"), ("smaples = 3", "did you mean 'samples'"), (None, "cannot read")],
)
def test_wrong_files(tmp_path, text, message):
    path = tmp_path / "run.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        RunConfig.from_toml(path)
    assert "run.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_preset_stands_for_settings_and_what_is_given_wins():
    fast = RunConfig.make(preset="fast")
    assert (fast.samples, fast.train_minutes) == (16, 3.0)
    assert RunConfig.make(preset="fast", samples=5).samples == 5
    steps = RunConfig.make(preset="best", train_steps=10)
    assert (steps.train_steps, steps.train_minutes) == (10, None)
    assert RunConfig.make(preset="default") == RunConfig()
    with pytest.raises(ConfigError, match="unknown preset 'quick'"):
        RunConfig.make(preset="quick")
