"""Versions of what results depend on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("divseg", "torch", "numpy", "scipy", "scikit-image", "stardist", "tifffile", "pandas")


def versions() -> dict[str, str]:
    """Return the installed versions of divseg, of what it computes with, and of Python."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "uninstalled"
    return found
