"""Who works on a run folder: locks of the operating system, which a dead process cannot hold."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from divseg.errors import OutputError
from divseg.io import write_json
from divseg.io.atomic import output_error

_FOLDER = ".lock"
_POLL = 0.2


@contextmanager
def run_lock(folder: str | os.PathLike[str], plan: str, shard: tuple[int, int] | None = None) -> Iterator[None]:
    """Hold a run folder while it is worked on.

    Shards of one plan may share it; every other process is refused. Each process that works on the folder keeps a lock
    of the operating system on a file of its own beside a note of what it does; a note whose lock can be taken is that
    of a dead process, and is removed.

    Parameters
    ----------
    folder : path
        Run folder; the locks lie in its subfolder ``.lock``.
    plan : str
        What is done; two processes with different plans exclude each other.
    shard : (int, int), optional
        Part I of N that this process works on.

    Raises
    ------
    OutputError
        If another process works on the folder with another plan, on the same shard, or on all of it.
    """
    place = _place(folder)
    name = uuid.uuid4().hex
    own, note = FileLock(place / f"{name}.lock"), place / f"{name}.json"
    with FileLock(place / "register.lock"):
        for other in _holders(place):
            if not _may_share(other, plan, shard):
                raise OutputError(
                    f"{folder}: {_describe(other)}; wait for it, end it, or choose another --out"
                    + (" (shards share a folder only if the command is the same)" if shard is not None else "")
                )
        own.acquire(timeout=0)
        holder = {
            "plan": plan,
            "shard": shard,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        write_json(note, holder)
    try:
        yield
    finally:
        note.unlink(missing_ok=True)
        own.release()
        _remove(place / f"{name}.lock")


@contextmanager
def exclusive(folder: str | os.PathLike[str], name: str, tell: Callable[[str], None] | None = None) -> Iterator[None]:
    """Do something that only one of several processes may do at a time, such as training; the others wait.

    Parameters
    ----------
    folder : path
        Run folder.
    name : str
        What is done.
    tell : callable, optional
        Told once if another process has to be waited for.
    """
    lock = FileLock(_place(folder) / f"stage_{name}.lock")
    waiting = False
    while True:
        try:
            lock.acquire(timeout=0)
            break
        except Timeout:
            if tell is not None and not waiting:
                tell(f"waiting for another process that is at work on stage {name}")
            waiting = True
            time.sleep(_POLL)
    try:
        yield
    finally:
        lock.release()


def _place(folder: str | os.PathLike[str]) -> Path:
    place = Path(folder) / _FOLDER
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(place, error) from error
    return place


def _holders(place: Path) -> list[dict[str, Any]]:
    """Return the notes of the processes that are alive; those of dead ones are removed."""
    alive = []
    for note in place.glob("*.json"):
        lock = FileLock(note.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            with contextlib.suppress(OSError, ValueError):
                alive.append(json.loads(note.read_text(encoding="utf-8")))
            continue
        note.unlink(missing_ok=True)
        lock.release()
        _remove(note.with_suffix(".lock"))
    return alive


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _may_share(other: dict[str, Any], plan: str, shard: tuple[int, int] | None) -> bool:
    theirs = other.get("shard")
    if shard is None or theirs is None or other.get("plan") != plan:
        return False
    return bool(theirs[1] == shard[1] and theirs[0] != shard[0])


def _describe(other: dict[str, Any]) -> str:
    part = "" if other.get("shard") is None else f" on shard {other['shard'][0]}/{other['shard'][1]}"
    who, since = f"process {other.get('pid')} on {other.get('host')}", other.get("since")
    return f"{who} has been at work on this folder{part} since {since}"
