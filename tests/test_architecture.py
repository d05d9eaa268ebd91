"""The rules of the house: who may import whom, how long a file may be, what an import may cost."""

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import divseg

ROOT = Path(divseg.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
NAMES = [".".join(("divseg", *path.relative_to(ROOT).with_suffix("").parts)) for path in FILES]
MODULES = dict(zip([name.removesuffix(".__init__") for name in NAMES], FILES, strict=True))

BASE = {"errors"}
MAY_IMPORT = {
    "__main__": {"cli"},
    "errors": set(),
    "packages": set(),
    "device": BASE,
    "labels": BASE,
    "specs": BASE,
    "config": BASE,
    "io": BASE | {"labels"},
    "denoise": BASE | {"device", "io", "specs", "packages"},
    "segment": BASE | {"device", "io", "labels", "specs"},
    "consensus": BASE | {"io", "labels", "specs"},
    "metrics": BASE | {"io", "labels", "packages"},
    "ocr": BASE | {"specs"},
    "results": BASE | {"consensus", "denoise", "io", "metrics", "specs"},
    "report": BASE | {"io", "metrics", "results"},
    "workflow": BASE
    | {
        "config",
        "consensus",
        "denoise",
        "device",
        "io",
        "metrics",
        "ocr",
        "report",
        "results",
        "segment",
        "specs",
        "packages",
    },
    "cli": BASE | {"__init__", "config", "metrics", "report", "segment", "workflow"},
    "napari": BASE | {"config", "io", "results", "workflow"},
    "__init__": BASE | {"consensus", "denoise", "io", "metrics", "packages", "results", "segment", "workflow"},
}
"""Every room, and the rooms that it may know, imports for type checkers included."""

NO_TORCH = set(MAY_IMPORT) - {"denoise", "segment", "workflow", "device"}
"""Rooms in which no module imports torch."""


def room(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path, types=True):
    """Yield every module that a file imports, at any depth; those for type checkers only if `types`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.dump(branch.test) and not types
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ([name for name in inner if name in MODULES] or [node.module])


def test_every_room_is_known():
    """A room that nobody has thought about fails here."""
    assert {room(path) for path in FILES} == set(MAY_IMPORT)


def test_rooms_are_few():
    assert len(MAY_IMPORT) <= 19  # the last two are doors that nothing else needs: napari and ocr


def test_no_room_knows_one_that_knows_it():
    order = []
    left = dict(MAY_IMPORT)
    while left:
        free = [name for name, known in left.items() if known <= set(order)]
        assert free, f"a circle among {sorted(left)}"
        order += free
        for name in free:
            del left[name]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_know_only_what_stands_left_of_them(path):
    rooms = {[*name.split("."), "__init__"][1] for name in imported(path) if name.split(".")[0] == "divseg"}
    assert rooms <= MAY_IMPORT[room(path)] | {room(path)}
    if room(path) in NO_TORCH:
        assert not [name for name in imported(path, types=False) if name.split(".")[0] == "torch"]


def test_only_the_plug_in_knows_napari_and_qt_and_it_only_in_its_widgets():
    kinds = {"napari", "qtpy", "magicgui", "npe2"}
    knowing = {path.name for path in FILES if kinds & {name.split(".")[0] for name in imported(path)}}
    assert knowing == {"run_widget.py", "review_widget.py"}
    assert all((ROOT / "napari" / name).is_file() for name in knowing)


def test_no_circle_of_files():
    arrows = {path: {MODULES[name] for name in imported(path) if name in MODULES} - {path} for path in FILES}
    done: set[Path] = set()
    while len(done) < len(FILES):
        free = {path for path in FILES if path not in done and arrows[path] <= done}
        assert free, f"a circle among {sorted(str(p.relative_to(ROOT)) for p in set(FILES) - done)}"
        done |= free


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_grows_beyond_450_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 450
    assert path.stem not in {"utils", "helpers", "misc", "common"}


def test_the_page_on_architecture_lists_the_rooms():
    page = (ROOT.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    for name in MAY_IMPORT:
        assert f"`{name}`" in page or name.startswith("__")


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


@pytest.mark.parametrize(
    "name", [n for n in divseg.__all__ if n not in ("__version__", "noise", "DivsegError", "DivsegWarning", "Result")]
)
def test_examples_of_public_names_run(name):
    """Every public class and function shows how it is used."""
    thing = getattr(divseg, name)
    module = importlib.import_module(thing.__module__)
    tests = [t for t in doctest.DocTestFinder().find(thing, name, module=module) if t.examples]
    assert tests, f"divseg.{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for test in tests:
        assert runner.run(test).failed == 0
