"""The state of a training run on disk, so that an interrupted run can go on as if nothing had happened."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any, Literal, TypeAlias

from divseg.errors import ConfigError, DivsegWarning, ModelError
from divseg.io import write_bytes
from divseg.io.atomic import PART, output_error

CHECKPOINT, LOG = "checkpoint.pt", "training.jsonl"
SET_ASIDE = "checkpoint-old.pt"
"""Name that ``resume="auto"`` gives to a checkpoint that it cannot use."""
_FORMAT = 3

Resume: TypeAlias = bool | Literal["auto"]
"""Whether training goes on from a checkpoint: never, always, or if there is one of the same run."""


def write_checkpoint(folder: Path, identity: dict[str, Any], state: dict[str, Any]) -> None:
    """Write ``checkpoint.pt``, wholly or not at all.

    Parameters
    ----------
    folder : Path
        Created if it is missing.
    identity : dict
        What the run is: settings, seed, budget, data, network. Compared when the run is resumed.
    state : dict
        Numbers, strings, lists, dicts and tensors only, so that it can be read safely.
    """
    import torch

    buffer = io.BytesIO()
    torch.save({"format": _FORMAT, "identity": json.dumps(identity, sort_keys=True), "state": state}, buffer)
    write_bytes(folder / CHECKPOINT, buffer.getvalue())


def read_checkpoint(folder: Path, identity: dict[str, Any], resume: Resume) -> dict[str, Any] | None:
    """Return the state of a run that is to be resumed; None if training begins anew.

    Parameters
    ----------
    folder : Path
        Holds ``checkpoint.pt``.
    identity : dict
        What the run is, as for :func:`write_checkpoint`.
    resume : bool or "auto"
        With ``"auto"``, a checkpoint that is damaged or belongs to another run is renamed to
        ``checkpoint-old.pt``, and training begins anew.

    Raises
    ------
    ModelError
        Without ``"auto"``: if there is no checkpoint, or it is damaged or from another version.
    ConfigError
        Without ``"auto"``: if it belongs to another run; names the differences.

    Warns
    -----
    DivsegWarning
        If a checkpoint was renamed.
    """
    path = folder / CHECKPOINT
    if not resume or (resume == "auto" and not path.is_file()):
        return None
    try:
        return _read(path, identity)
    except (ModelError, ConfigError) as error:
        if resume != "auto":
            raise type(error)(f'{error}; train anew, for example with resume="auto"') from error
        try:
            path.replace(folder / SET_ASIDE)
        except OSError as failure:
            raise output_error(folder / SET_ASIDE, failure) from failure
        warnings.warn(f"{error}; it is now {SET_ASIDE}, and training begins anew", DivsegWarning, stacklevel=2)
        return None


def _read(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """Return the state in a checkpoint of this run."""
    import torch

    if not path.is_file():
        raise ModelError(f"{path.parent} holds no checkpoint ({CHECKPOINT}), so there is nothing to resume")
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself does not compare checksums
            if (damaged := archive.testzip()) is not None:
                raise ValueError(damaged)
        content = torch.load(path, map_location="cpu", weights_only=True)
        version, saved, state = content["format"], json.loads(content["identity"]), dict(content["state"])
    except Exception as error:  # torch raises many kinds for a file it cannot read
        raise ModelError(f"{path} is damaged ({type(error).__name__})") from error
    if version != _FORMAT:
        raise ModelError(f"{path} has checkpoint format {version!r}, this version reads {_FORMAT}")
    wanted = json.loads(json.dumps(identity))
    different = sorted(name for name in saved.keys() | wanted.keys() if saved.get(name) != wanted.get(name))
    if different:
        words = ", ".join(f"{name} was {saved.get(name)} and is {wanted.get(name)}" for name in different)
        raise ConfigError(f"{path} belongs to another training run: {words}")
    return state


def remove_checkpoint(folder: Path) -> None:
    """Delete the checkpoint of a run that is finished and saved, and the temporary files of killed processes."""
    for path in (folder / CHECKPOINT, *folder.glob(f".*{PART}")):
        path.unlink(missing_ok=True)
