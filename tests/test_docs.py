"""Every snippet in the README and in docs/ runs."""

import ast
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import divseg
from divseg.cli.commands import app
from divseg.errors import CONCERNS

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
        marks = [pytest.mark.slow] if language == "sh" and page.name != "README.md" else []
        found += [pytest.param(*values, id=f"{page.name}-{i}", marks=marks) for i, values in enumerate(mine)]
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
        directives = {"{toctree}", "{eval-rst}"}  # of the site, which another test builds
        assert {fence.split(" needs=")[0] for fence in fences} <= {"", "python", "sh", "toml"} | directives


@pytest.mark.parametrize(("text", "needs", "files"), snippets("python"))
def test_python(text, needs, files, tmp_path, monkeypatch):
    prepare(tmp_path, needs, files)
    monkeypatch.chdir(tmp_path)
    exec(compile(text, "snippet", "exec"), {"__name__": "snippet"})


@pytest.mark.parametrize(("text", "needs", "files"), snippets("sh"))
def test_shell(text, needs, files, tmp_path, make_plate, monkeypatch):
    """Each command runs as written, but trains little, and chooses and simulates only where that is the point."""
    prepare(tmp_path, needs, files)
    for name in ("plate1", "plate2"):
        images, masks = make_plate(tmp_path / "made" / name, n=2, seed=len(name))
        images.rename(tmp_path / name)
        masks.rename(tmp_path / f"{name}_masks")
    monkeypatch.chdir(tmp_path)
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
        if re.search("--(jobs|executor|shard)", text) and words[1] == "run":
            words += ["--segmenter", "otsu,smooth=2"]
        if words[1] == "run" and "--model" not in text:
            words += ["--no-report"]
        done = CliRunner().invoke(app, words[1:])  # in this process: the start of another takes longer than the work
        assert done.exit_code == 0, f"{line}\n{done.stderr}"


SMALL = "simulate=0, fuse_with='samples', network='flat,filters=8,latents=8', baseline_sigmas=(1.0,)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shorter", "says"),
    [
        ("quickstart", [("train_steps=2000", "train_steps=150"), ("n=16", "n=4")], ["consensus", "AP50"]),
        (
            "reviewing",
            [("train_steps=1500", "train_steps=20"), ("samples=16", f"samples=2, report=False, {SMALL}")],
            ["<divseg run in ", "existence of 0.0 or more: ", "rank"],
        ),
    ],
)
def test_notebook(name, shorter, says, capsys, tmp_path, monkeypatch):
    """The notebooks run as they are, only with a shorter training and fewer samples."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    source = (ROOT / "docs" / f"{name}.py").read_text(encoding="utf-8")
    assert len([line for line in source.splitlines() if line.strip() and not line.startswith("#")]) < 25
    for long, short in shorter:
        assert long in source
        source = source.replace(long, short)
    script = tmp_path / f"{name}.py"
    script.write_text(source, encoding="utf-8")
    runpy.run_path(str(script))
    out = capsys.readouterr().out
    assert [words for words in says if words not in out] == []


def messages_of_the_code():
    """Return all texts of the package, with … for what is put in."""
    found = []
    for path in sorted((ROOT / "divseg").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(v.value if isinstance(v, ast.Constant) else "…" for v in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_every_message_of_troubleshooting_is_one_of_the_code():
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\*\*`([^`]+)`\*\*$", page, re.M)
    assert len(listed) >= 25
    known = messages_of_the_code()
    absent = [
        message
        for message in listed
        if not any(message.removesuffix(": …").removesuffix("; …").removesuffix(" …") in text for text in known)
    ]
    assert absent == []


def test_troubleshooting_has_every_kind_of_warning_of_an_image():
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    for concern in CONCERNS:
        assert f"**`{concern.lead}: …`**\n\n{concern.trust} {concern.look}" in page


def commands_of_the_feature_table():
    """Return the commands of the column of divseg."""
    page = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
    cells = [line.split("|")[2] for line in page.splitlines() if line.startswith("|")]
    return [command for cell in cells for command in re.findall(r"yes `(divseg [^`]+)`", cell)]


@pytest.fixture(scope="module")
def folders(make_plate, tmp_path_factory):
    """Folders that the feature table names: images, their masks, a run, and raters."""
    from divseg.workflow.run import run

    root = tmp_path_factory.mktemp("features")
    plate, masks = make_plate(root / "plate", n=2)
    small = {"network": "flat,filters=8,latents=8", "train_steps": 20, "samples": 2, "simulate": 0}
    run(plate, root / "run", segmenter="otsu,smooth=2,min_size=20", report=False, **small)
    for rater in ("a", "b"):
        shutil.copytree(masks, root / "raters" / rater)
    return {"PLATE": plate, "MASKS": masks, "RUN": root / "run", "RATERS": root / "raters"}


@pytest.mark.parametrize("command", commands_of_the_feature_table())
def test_commands_of_the_feature_table_run(command, folders, tmp_path):
    from typer.testing import CliRunner

    from divseg.cli.commands import app

    places = {**folders, "OUT": tmp_path / "out"}
    words = [re.sub("[A-Z]+", lambda match: str(places.get(match[0], match[0])), word) for word in command.split()]
    if words[1] == "run":
        words += ["--segmenter", "otsu,smooth=2"]
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, done.output


def test_the_feature_table_has_a_command_for_most():
    assert len(commands_of_the_feature_table()) >= 10


def test_site_is_built_without_a_warning(tmp_path):
    """Every page and every docstring of a public name; a link to a page or a picture that is not there is a warning."""
    pytest.importorskip("furo", reason="the site needs pip install .[docs]")
    pytest.importorskip("myst_parser", reason="the site needs pip install .[docs]")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-b",
        "html",
        ROOT / "docs",
        tmp_path / "site",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    reference = (tmp_path / "site" / "reference.html").read_text(encoding="utf-8")
    for name in set(divseg.__all__) - {"__version__", "noise"}:
        assert f"divseg.{name}" in reference or f">{name}<" in reference


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
