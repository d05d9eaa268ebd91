"""Every snippet in the README and in docs/ runs."""

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def snippets(language):
    """All code blocks of one language, as test parameters."""
    found = []
    for page in PAGES:
        blocks = re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
        found += [pytest.param(text, id=f"{page.name}-{i}") for i, text in enumerate(blocks)]
    return found


def test_there_are_snippets_and_only_of_kinds_that_run():
    assert snippets("python")
    assert snippets("sh")
    for page in PAGES:
        fences = re.findall(r"^```(\w*)", page.read_text(encoding="utf-8"), re.M)
        assert set(fences) <= {"", "python", "sh", "toml"}


@pytest.mark.parametrize("text", snippets("python"))
def test_python(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(text, "snippet", "exec"), {"__name__": "snippet"})


@pytest.mark.slow
@pytest.mark.parametrize("text", snippets("sh"))
def test_shell(text, tmp_path, make_plate):
    """Each command runs as written, but for a small training budget where it trains."""
    for name in ("plate1", "plate2"):
        images, masks = make_plate(tmp_path / "made" / name, n=2, seed=len(name))
        images.rename(tmp_path / name)
        masks.rename(tmp_path / f"{name}_masks")
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        assert words[0] == "divseg"
        if words[1] in ("run", "train") and "--model" not in words:
            words += ["--train-steps", "30"]
        if words[1] == "run" and "--samples" not in words:
            words += ["--samples", "4"]
        done = subprocess.run(
            [sys.executable, "-m", "divseg", *words[1:]], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.mark.slow
def test_quickstart(capsys, tmp_path):
    """The notebook runs as it is, only with a shorter training."""
    source = (ROOT / "docs" / "quickstart.py").read_text(encoding="utf-8")
    code = [line for line in source.splitlines() if line.strip() and not line.startswith("#")]
    assert len(code) < 25
    short = source.replace("train_steps=2000", "train_steps=150").replace("n=16", "n=4")
    assert short != source
    script = tmp_path / "quickstart.py"
    script.write_text(short, encoding="utf-8")
    runpy.run_path(str(script))
    out = capsys.readouterr().out
    assert "consensus" in out
    assert "AP50" in out
