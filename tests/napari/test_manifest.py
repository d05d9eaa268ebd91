"""The manifest names what there is, and what it names needs no napari to be found."""

import ast
import importlib.util
from pathlib import Path

import yaml

import divseg.napari

FOLDER = Path(divseg.napari.__file__).parent
MANIFEST = yaml.safe_load((FOLDER / "napari.yaml").read_text(encoding="utf-8"))


def test_commands_exist():
    for command in MANIFEST["contributions"]["commands"]:
        module, name = command["python_name"].split(":")
        path = importlib.util.find_spec(module).origin
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_everything_that_is_contributed_is_a_command_and_every_command_is_contributed():
    parts = MANIFEST["contributions"]
    named = {row["command"] for kind in ("readers", "sample_data", "widgets") for row in parts[kind]}
    assert named == {command["id"] for command in parts["commands"]}


def test_the_package_points_at_the_manifest():
    import tomllib

    project = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["napari.manifest"] == {"divseg": "divseg.napari:napari.yaml"}
