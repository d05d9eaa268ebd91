"""The state of a training run on disk, so that it can go on after a crash as if nothing had happened."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from divseg.errors import ConfigError, ModelError
from divseg.io import write_bytes, write_text

CHECKPOINT, LOG = "checkpoint.pt", "training.jsonl"
_FORMAT = 1


def write_log(folder: Path, history: Sequence[dict[str, float]]) -> None:
    """Write the training log: one JSON object a line, one line a report."""
    write_text(folder / LOG, "".join(json.dumps(row) + "\n" for row in history))


def write_checkpoint(folder: Path, identity: dict[str, Any], state: dict[str, Any]) -> None:
    """Write ``checkpoint.pt``, wholly or not at all.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    identity : dict
        What the run is: settings, seed, budget in steps, data, network. Checked when the run goes on.
    state : dict
        Plain numbers, strings, lists, dicts and tensors only, so that it can be read safely.
    """
    buffer = io.BytesIO()
    torch.save({"format": _FORMAT, "identity": json.dumps(identity, sort_keys=True), "state": state}, buffer)
    write_bytes(folder / CHECKPOINT, buffer.getvalue())


def read_checkpoint(folder: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """Read the state of a run that is to go on.

    Raises
    ------
    ModelError
        If there is no checkpoint, or it is damaged or from another version.
    ConfigError
        If it belongs to another run: names what differs.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise ModelError(f"{folder} holds no checkpoint ({CHECKPOINT}), so there is nothing to resume; train anew")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        known, was, state = found["format"], json.loads(found["identity"]), found["state"]
    except Exception as error:  # torch raises many kinds for a file it cannot read
        raise ModelError(f"{path} is damaged ({type(error).__name__}); delete it and train anew") from error
    if known != _FORMAT:
        raise ModelError(f"{path} has checkpoint format {known!r}, this version reads {_FORMAT}; train anew")
    now = json.loads(json.dumps(identity))
    different = sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name))
    if different:
        words = ", ".join(f"{name} was {was.get(name)} and is {now.get(name)}" for name in different)
        raise ConfigError(f"{path} belongs to another training run: {words}; use the same settings or train anew")
    return dict(state)


def remove_checkpoint(folder: Path) -> None:
    """Delete the checkpoint of a run that is finished and saved."""
    (folder / CHECKPOINT).unlink(missing_ok=True)
