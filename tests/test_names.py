"""No exported name hides the module of the same name."""

import importlib
import pkgutil

import pytest

PACKAGES = ("divseg.consensus", "divseg.io", "divseg.metrics")


@pytest.mark.parametrize("name", PACKAGES)
def test_every_module_can_be_imported_as_one(name):
    package = importlib.import_module(name)
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert modules
    assert not modules & set(package.__all__)
