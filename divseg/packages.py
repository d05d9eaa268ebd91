"""Packages: the versions of those that results depend on, and the public names of ours, loaded when first used."""

from __future__ import annotations

import importlib
import platform
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("divseg", "torch", "numpy", "scipy", "scikit-image", "stardist", "tifffile", "pandas")


@cache
def version_of(name: str) -> str:
    """Return the version of an installed package, ``"uninstalled"`` without one, as for a plain source tree."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "uninstalled"


def versions() -> dict[str, str]:
    """Return the installed versions of divseg, of what it computes with, and of Python."""
    return {"python": platform.python_version(), **{name: version_of(name) for name in PACKAGES}}


def public_names(package: str, names: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the functions ``__getattr__`` and ``__dir__`` of a package (PEP 562).

    Parameters
    ----------
    package : str
        Name of the package.
    names : mapping of str to str
        The module that holds each public name; if it does not, the module itself is what the name stands for.
    """

    def load(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(names[name])
        value = getattr(module, name, module)
        setattr(sys.modules[package], name, value)
        return value

    def list_names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *names})

    return load, list_names
