"""Versions of what results depend on."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("divseg", "torch", "numpy", "scipy", "scikit-image", "stardist", "tifffile", "pandas")


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "uninstalled"


def versions() -> dict[str, str]:
    """Return the installed versions of divseg, of what it computes with, and of Python."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}
