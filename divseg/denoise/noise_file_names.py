"""Names of noise model files, and what a choice of noise depends on; torch is not needed for it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from divseg.errors import ModelError

SUFFIXES = (".json", ".npz", ".npy")
"""Suffixes of the files of noise models."""


def noise_file(spec: str) -> Path | None:
    """Return the path of the noise model file that `spec` names, None if it does not name a file."""
    path = Path(spec.strip())
    return path if path.suffix.lower() in SUFFIXES else None


def noise_key(spec: str) -> str:
    """Return what training depends on: the choice itself, and the content of the file that it names."""
    path = noise_file(spec)
    if path is None:
        return spec
    try:
        return f"{spec} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    except OSError as error:
        raise ModelError(f"cannot read the noise model {path}: {error.strerror}") from error
