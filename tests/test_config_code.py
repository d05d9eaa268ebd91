"""Code that a settings file names is run only if it is allowed."""

import json

import pytest

from divseg.config import RunConfig
from divseg.errors import ConfigError
from divseg.workflow.finalize import finalize


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """Return the path of a settings file that names a module, and of what the module would write."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trap.py").write_text("open('sprung', 'w').close()\ndef segment(image):\n    return image > 0\n")
    return tmp_path


@pytest.mark.parametrize(
    "segmenter",
    ["python:trap:segment", "auto:otsu|python:trap:segment", " Python:trap:segment", "python:./trap.py:segment"],
)
def test_a_file_may_not_name_code(trap, segmenter):
    path = trap / "a.toml"
    for text in (f'segmenter = "{segmenter}"', f'[segmentation]\nsegmenter = "{segmenter}"'):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"a\.toml: the file names code .* --allow-code"):
            RunConfig.from_toml(path)
        assert RunConfig.from_toml(path, allow_code=True).segmentation.segmenter == segmenter.strip()
        assert RunConfig.from_toml(path, segmenter="python:mine:f").segmentation.segmenter == "python:mine:f"
    assert not (trap / "sprung").exists()


def test_finalize_does_not_run_code_of_a_folder(trap):
    settings = RunConfig.make(segmenter="python:trap:segment").model_dump(mode="json")
    record = {"format": 2, "command": "run", "invocation": {"source": ".", "settings": settings}}
    (trap / "run").mkdir()
    for changed in (record, {**record, "command": "segment", "invocation": {"segmenter": "python:trap:segment"}}):
        (trap / "run" / "run.json").write_text(json.dumps(changed))
        with pytest.raises(ConfigError, match="names code of its own"):
            finalize(trap / "run")
    assert not (trap / "sprung").exists()


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 50_000,
        "seed = " + "9" * 6000,
        'samples = "' + "x" * 10_000 + '"',
        "preset = [1]",
        "preset = {a = 1}",
        "segmentation = 1",
        "noise = [[1]]",
        "existence = nan",
        "train_minutes = inf",
        "train_minutes = nan",
        "seed = 1979-05-27",
        "[sampling]\nseed = {a = {b = 1}}",
        "\x00",
        "train_steps = 1e400",
    ],
)
def test_strange_settings_are_one_short_line(tmp_path, text):
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_toml(tmp_path / "a.toml")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1200
