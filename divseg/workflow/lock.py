"""Locks of a run's folder: two runs must not write to it at once, the shards of one run may.

Each run holds a lock of the operating system on a file of its own, and beside it a card says who it is. Such a lock
ends with its process, however that ends: whether a card still counts is seen by trying its lock. Everything is in the
folder ``.lock``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from divseg.errors import OutputError
from divseg.io.atomic import output_error, write_json
from divseg.io.json_file import read_json_object

LOCK_FOLDER = ".lock"
"""Name of the folder of locks inside that of a run."""
_REGISTER_SECONDS = 60.0


@contextlib.contextmanager
def run_lock(folder: str | os.PathLike[str], plan: str, shard: tuple[int, int] | None = None) -> Iterator[None]:
    """Hold the folder of a run; other runs are refused meanwhile, other shards of the same run are not.

    Parameters
    ----------
    folder : path
        Folder of the run; made if it is missing.
    plan : str
        Stands for everything that the results depend on, such as a hash of the settings and inputs.
    shard : (int, int), optional
        Number of the shard, from 1, and number of shards.

    Raises
    ------
    OutputError
        If a process is at work there with another plan, on the same shard, or on the whole; names it.
    """
    folder = Path(folder).expanduser()
    place = _lock_folder(folder)
    holder = place / f"run-{uuid.uuid4().hex}.lock"
    lock = _file_lock(holder)
    with _writing(folder), _registration(place):
        for path in place.glob("run-*.lock"):
            card = _live_card(path)
            if card is not None:
                _check_compatible(folder, card, plan, shard)
        lock.acquire(timeout=0)
        try:
            write_json(_card(holder), _describe_this_process() | {"plan": plan, "shard": shard})
        except BaseException:
            _remove(holder, lock)
            raise
    try:
        yield
    finally:
        _remove(holder, lock)


@contextlib.contextmanager
def exclusive(
    folder: str | os.PathLike[str], name: str, tell: Callable[[str], None] | None = None, poll: float = 0.5
) -> Iterator[None]:
    """Hold a piece of work that only one process does, such as training; the others wait until it is done.

    Parameters
    ----------
    folder : path
        Folder of the run; made if it is missing.
    name : str
        Name of the work, a word that can be part of a file's name.
    tell : callable, optional
        Takes one line that says who is waited for, once, if anybody is.
    poll : float
        Seconds between two looks.

    Raises
    ------
    OutputError
        If the folder cannot be written to.
    """
    folder = Path(folder).expanduser()
    path = _lock_folder(folder) / f"only-{name}.lock"
    lock = _file_lock(path)
    waiting = False
    with _writing(folder):
        while not _try(lock):
            if tell is not None and not waiting:
                card = _read_card(path)
                tell(f"{name}: waiting for {'another process' if card is None else _who(card)}")
            waiting = True
            time.sleep(poll)
        try:
            write_json(_card(path), _describe_this_process())
        except BaseException:
            lock.release()
            raise
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            _card(path).unlink(missing_ok=True)
        lock.release()  # the file stays: a process that waits has it open


def _check_compatible(folder: Path, card: dict[str, Any], plan: str, shard: tuple[int, int] | None) -> None:
    """Raise if a live run forbids a new one."""
    who, advice = _who(card), "wait until it has ended, stop it, or choose another --out"
    other = card["shard"]
    if card["plan"] != plan:
        raise OutputError(f"{folder}: {who} is at work there with other settings or images; {advice}")
    if shard is None or other is None:
        raise OutputError(f"{folder}: {who} is at work there already; {advice}")
    if other[1] != shard[1]:
        raise OutputError(
            f"{folder}: {who} is at work there on shard {other[0]}/{other[1]}, and this is shard "
            f"{shard[0]}/{shard[1]}; divide into the same number of shards"
        )
    if other[0] == shard[0]:
        raise OutputError(f"{folder}: {who} is at work there on shard {shard[0]}/{shard[1]} already; {advice}")


def _live_card(path: Path) -> dict[str, Any] | None:
    """Return the card of a run that is alive; the files of one that is not are removed."""
    lock = _file_lock(path)
    if _try(lock):
        _remove(path, lock)
        return None
    return _read_card(path)  # None if it has ended just now


def _remove(path: Path, lock: FileLock) -> None:
    """Give back a lock that is held, with its files."""
    with contextlib.suppress(OSError):
        _card(path).unlink(missing_ok=True)
        if os.name == "nt":  # where an open file cannot be removed
            lock.release()
        path.unlink(missing_ok=True)
    lock.release()


def _file_lock(path: Path) -> FileLock:
    return FileLock(path, thread_local=False)


def _try(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


_CARD = {"pid": int, "host": str, "since": str}
"""What the card of a lock says."""


def _card(path: Path) -> Path:
    return path.with_suffix(".json")


def _read_card(path: Path) -> dict[str, Any] | None:
    try:
        card = read_json_object(_card(path))
    except (OSError, ValueError):
        return None
    return card if all(isinstance(card.get(key), kind) for key, kind in _CARD.items()) else None


def _describe_this_process() -> dict[str, Any]:
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since}


def _who(card: dict[str, Any]) -> str:
    return f"process {card['pid']} on {card['host']} (since {card['since']})"


def _lock_folder(folder: Path) -> Path:
    place = folder / LOCK_FOLDER
    with _writing(folder):
        place.mkdir(parents=True, exist_ok=True)
    return place


@contextlib.contextmanager
def _registration(place: Path) -> Iterator[None]:
    """Look at the cards, and add one, while nobody else does."""
    lock = _file_lock(place / "register.lock")
    try:
        lock.acquire(timeout=_REGISTER_SECONDS)
    except Timeout:
        raise OutputError(
            f"{place}: another process has been busy with the locks for {_REGISTER_SECONDS:g} s; "
            "see whether a divseg process is suspended, and end it"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn errors of the file system into those for the user."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise output_error(folder, error) from error
