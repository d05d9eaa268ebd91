"""The rules of the house: who may import whom, how long a file may be, what an import may cost."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import divseg

ROOT = Path(divseg.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

MAY_IMPORT = {
    "errors": set(),
    "config": {"errors"},
    "progress": set(),
    "versions": set(),
    "summary": {"io", "metrics"},
    "io": {"errors"},
    "denoise": {"errors", "io"},
    "segment": {"errors", "io"},
    "consensus": {"errors", "io"},
    "metrics": {"errors", "io"},
    "report": {"errors", "io", "metrics"},
    "demo": {"errors", "io"},
    "pipeline": {"errors", "config", "io", "denoise", "segment", "consensus", "metrics"},
}
"""Rooms and the rooms they may know; rooms not named here (run, cli, the package itself) may know all."""

NO_TORCH = {
    "errors",
    "config",
    "progress",
    "io",
    "consensus",
    "metrics",
    "report",
    "demo",
    "cli",
    "versions",
    "summary",
}


def room(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path):
    """Yield every module that a file imports, at any depth; imports for type checkers do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.dump(branch.test)
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


def test_there_is_a_house():
    assert len(FILES) > 30


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_know_only_what_stands_left_of_them(path):
    allowed = MAY_IMPORT.get(room(path))
    names = list(imported(path))
    if room(path) in NO_TORCH:
        assert not [n for n in names if n.split(".")[0] == "torch"]
    if allowed is None:
        return
    rooms = {n.split(".")[1] for n in names if n.startswith("divseg.")}
    assert rooms <= allowed | {room(path)}, f"{path} imports {rooms - allowed}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_grows_beyond_450_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 450
    assert path.stem not in {"utils", "helpers", "misc", "common"}


@pytest.mark.parametrize("statement", ["import divseg", "import divseg.cli", "import divseg, divseg.metrics"])
def test_import_is_cheap(statement):
    """Without torch, TensorFlow or matplotlib: what is not loaded cannot be slow."""
    code = f"import sys; {statement}; print([m for m in ('torch', 'tensorflow', 'matplotlib') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_public_names_resolve():
    for name in divseg.__all__:
        assert getattr(divseg, name) is not None
    assert set(divseg.__all__) <= set(dir(divseg))
    with pytest.raises(AttributeError, match="no attribute 'denoised'"):
        _ = divseg.denoised
