import tomllib
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divseg.config import SECTION_OF, SECTIONS, RunConfig, describe_setting
from divseg.errors import ConfigError


@given(
    st.integers(1, 500),
    st.integers(0, 2**31),
    st.sampled_from(["learned", "gaussian,std=20", 'odd"quotes\\'])
    | st.text("abc ,=é", min_size=1).filter(lambda t: t.strip()),
    st.none() | st.floats(0, 1),
    st.lists(st.floats(0.01, 100), max_size=3),
)
def test_toml_round_trip(tmp_path_factory, samples, seed, noise, existence, sigmas):
    config = RunConfig.make(samples=samples, seed=seed, noise=noise, existence=existence, baseline_sigmas=sigmas)
    path = tmp_path_factory.mktemp("c") / "run.toml"
    path.write_text(config.to_toml(), encoding="utf-8")
    assert RunConfig.from_toml(path) == config
    assert RunConfig.make(**config.model_dump(mode="json")) == config


def test_each_setting_belongs_to_one_section_and_is_described():
    assert list(tomllib.loads(RunConfig().to_toml())) == list(SECTIONS)
    assert len(SECTION_OF) == sum(len(kind.model_fields) for kind in SECTIONS.values())
    for name, section in SECTION_OF.items():
        kind, default, meaning = describe_setting(name)
        assert getattr(getattr(RunConfig(), section), name) == default
        assert meaning.endswith(".")
        assert typing.get_args(kind) or isinstance(kind, type)
    with pytest.raises(ConfigError, match="did you mean 'samples'"):
        describe_setting("sample")


def test_settings_stand_alone_or_in_their_sections(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('samples = 8\n[noise]\nnoise = "estimated"\n[fusion]\nmethod = "mutex"\n')
    config = RunConfig.from_toml(path)
    assert (config.sampling.samples, config.noise.noise, config.fusion.method) == (8, "estimated", "mutex")
    assert config == RunConfig.make(samples=8, noise="estimated", fusion={"method": "mutex"})


def test_command_line_wins_over_the_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('[sampling]\nsamples = 8\n[noise]\nnoise = "estimated"\n[training]\ntrain_minutes = 3\n')
    config = RunConfig.from_toml(path, samples=16)
    assert (config.sampling.samples, config.noise.noise, config.training.train_minutes) == (16, "estimated", 3)
    steps = RunConfig.from_toml(path, train_steps=10)
    assert (steps.training.train_steps, steps.training.train_minutes) == (10, None)
    quick = RunConfig.from_toml(path, preset="fast")
    assert (quick.sampling.samples, quick.training.train_minutes) == (16, 3.0)


def test_replace_changes_nothing_else():
    config = RunConfig.make(samples=8, method="mutex")
    other = config.replace(samples=9)
    assert (other.sampling.samples, other.fusion.method) == (9, "mutex")
    assert other.replace(samples=8) == config
    assert config.sampling.samples == 8


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
        ({"fuse_with": "none"}, "fuse_with='none'"),
        ({"baseline_sigmas": "1,two"}, "baseline_sigmas="),
        ({"sampling": 3}, r"sampling=3: this is a section; write \[sampling\] and below it samples = "),
        ({"sampling": {"sample": 3}}, r"unknown setting 'sample' in \[sampling\]; did you mean 'samples'"),
        ({"fusion": {"samples": 3}}, r"'samples' belongs to section \[sampling\], not to \[fusion\]"),
    ],
)
def test_wrong_settings(settings, message):
    for make in (RunConfig.make, RunConfig().replace):
        with pytest.raises(ConfigError, match=message) as caught:
            make(**settings)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("samples = [", "not a valid TOML"),
        ("smaples = 3", "did you mean 'samples'"),
        ("[sampling]\nsamples = 0", "samples=0"),
        ("[fusion]\nsamples = 3", r"belongs to section \[sampling\]"),
        (None, "cannot read"),
    ],
)
def test_wrong_files(tmp_path, text, message):
    path = tmp_path / "run.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        RunConfig.from_toml(path)
    assert "run.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lists_may_be_texts():
    config = RunConfig.make(compare="mutex | voting,scheme=simple", baseline_sigmas="1, 2.5")
    assert config.evaluation.compare == ("mutex", "voting,scheme=simple")
    assert config.evaluation.baseline_sigmas == (1.0, 2.5)


def test_a_preset_stands_for_settings_and_whatever_is_set_beside_it_wins():
    fast = RunConfig.make(preset="fast")
    assert (fast.sampling.samples, fast.training.train_minutes) == (16, 3.0)
    assert RunConfig.make(preset="fast", samples=5).sampling.samples == 5
    assert RunConfig.make(preset="fast", sampling={"samples": 5}).sampling.samples == 5
    steps = RunConfig.make(preset="best", train_steps=10)
    assert (steps.training.train_steps, steps.training.train_minutes) == (10, None)
    assert RunConfig.make(preset="default") == RunConfig()
    with pytest.raises(ConfigError, match="unknown preset 'quick'"):
        RunConfig.make(preset="quick")
