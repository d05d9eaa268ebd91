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
    """All code blocks of one language, as test parameters: text, package that it needs or "", files beside it.

    A block that begins with ``# name.py`` is also a file that the reader saves: the others of its page find it.
    """
    found = []
    for page in PAGES:
        blocks = re.findall(r"^```(\w+)(?: needs=(\w+))?\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
        files = {name[1]: text for *_, text in blocks if (name := re.match(r"# (\w+\.py)\n", text))}
        mine = [(text, needs, files) for kind, needs, text in blocks if kind == language]
        found += [pytest.param(*values, id=f"{page.name}-{i}") for i, values in enumerate(mine)]
    return found


def prepare(folder, needs, files):
    """Save the page's files; skip where a package that is not divseg's own is absent."""
    if needs:
        pytest.importorskip(needs, reason=f"the snippet needs {needs}, which is not installed")
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def test_there_are_snippets_and_only_of_kinds_that_run():
    assert snippets("python")
    assert snippets("sh")
    for page in PAGES:
        fences = re.findall(r"^```(.*)", page.read_text(encoding="utf-8"), re.M)
        assert {fence.split(" needs=")[0] for fence in fences} <= {"", "python", "sh", "toml"}


@pytest.mark.parametrize(("text", "needs", "files"), snippets("python"))
def test_python(text, needs, files, tmp_path, monkeypatch):
    prepare(tmp_path, needs, files)
    monkeypatch.chdir(tmp_path)
    exec(compile(text, "snippet", "exec"), {"__name__": "snippet"})


@pytest.mark.slow
@pytest.mark.parametrize(("text", "needs", "files"), snippets("sh"))
def test_shell(text, needs, files, tmp_path, make_plate):
    """Each command runs as written, but for a small training budget, and simulated images only where they matter."""
    prepare(tmp_path, needs, files)
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
        if words[1] == "run" and not re.search("simulat|calibrat", text):
            words += ["--simulate", "0"]
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


def test_the_page_on_segmenters_names_every_method_and_option():
    from divseg.segment.options import METHODS
    from divseg.segment.stardist.models import REGISTRY
    from divseg.segment.stardist.options import OPTIONS

    page = (ROOT / "docs" / "segmenters.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w:]+)`", page))
    assert set(METHODS) <= named
    assert {option for options in (*METHODS.values(), OPTIONS) for option in options} <= named
    assert {f"stardist:{entry.name}" for entry in REGISTRY} <= named


def test_the_page_on_fusion_names_every_method_option_and_target():
    from divseg.consensus import METHODS, OBJECTIVES
    from divseg.consensus.fusion import method_options

    page = (ROOT / "docs" / "fusion.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", page))
    assert set(METHODS) <= named
    assert {option for method in METHODS for option in method_options(method)} <= named
    assert set(OBJECTIVES) <= named
