"""Fetch the archive of a model and unpack it into the user's cache: wholly, checked, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import secrets
import shutil
import stat
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from divseg.errors import DAMAGE, ModelError
from divseg.io.atomic import PART, output_error
from divseg.io.json_file import read_json_object

RECORD = "divseg.json"
"""File in an unpacked model that holds the SHA-256 of the archive and of each file."""
TIMEOUT_S = 30.0
MAX_BYTES = 1 << 29
"""Larger than any model; larger archives are refused."""
_CHUNK = 1 << 18
_ATTEMPTS = 20  # at putting a model in its place while other processes do the same


def cache_folder() -> Path:
    """Return the folder for files that can be fetched again; it need not exist.

    The environment variable DIVSEG_CACHE if it is set, else ``divseg`` in XDG_CACHE_HOME if that is set (and
    absolute), else in the platform's cache folder: ``~/.cache``, ``~/Library/Caches`` or ``%LOCALAPPDATA%``.
    """
    if own := os.environ.get("DIVSEG_CACHE"):
        return Path(own).expanduser().absolute()
    if (base := os.environ.get("XDG_CACHE_HOME")) and Path(base).is_absolute():
        return Path(base) / "divseg"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "divseg" / "cache"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "divseg"


def fetch(url: str, sha256: str, folder: Path) -> None:
    """Download an archive, check it and unpack the model in it.

    Parameters
    ----------
    url : str
        Address of the zip archive.
    sha256 : str
        SHA-256 of the archive, 64 hexadecimal digits.
    folder : Path
        Model folder to make; an existing one is replaced. An archive of the right SHA-256 beside it
        (``<folder>.zip``) is used instead of the network.

    Raises
    ------
    ModelError
        If the download fails or the archive is not the registered one; the message names the address, and the
        path for a copy fetched by hand.
    OutputError
        If the cache cannot be written to.
    """
    by_hand = folder.with_name(f"{folder.name}.zip")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if by_hand.is_file() and _sha256(by_hand) == sha256:
            _install(by_hand, sha256, folder)
            return
        part = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.zip{PART}"
        try:
            _download(url, part, by_hand)
            received = _sha256(part)
            if received != sha256:
                raise ModelError(
                    f"{url}: the download is not the registered archive (SHA-256 {received[:12]}..., not "
                    f"{sha256[:12]}...): it was changed on the way; {_advice(by_hand)}"
                )
            _install(part, sha256, folder)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error


def verify(folder: Path, sha256: str) -> str | None:
    """Return what is wrong with an unpacked model, or None if its files are those of the archive.

    Parameters
    ----------
    folder : Path
        Model folder made by :func:`fetch`.
    sha256 : str
        Expected SHA-256 of the archive.
    """
    try:
        record = read_json_object(folder / RECORD)
        archive, files = record["archive"], dict(record["files"])
    except DAMAGE:
        return f"{RECORD} is missing or unreadable"
    if archive != sha256:
        return "it comes from another archive"
    for name, expected in files.items():
        try:
            if _sha256(folder / name) != expected:
                return f"{name} was changed"
        except (OSError, ValueError):
            return f"{name} is missing or unreadable"
    return None


def _advice(by_hand: Path) -> str:
    there = " (the file that is there now is another one)" if by_hand.exists() else ""
    return (
        f"try again, or download it on any computer, put the file at {by_hand}{there}, and run the same command again"
    )


def _download(url: str, target: Path, by_hand: Path) -> None:
    received = 0
    with open(target, "xb") as file:
        for chunk in _chunks(url, by_hand):
            received += len(chunk)
            if received > MAX_BYTES:
                raise ModelError(f"{url}: more than {MAX_BYTES >> 20} MB arrived; that is not a model")
            file.write(chunk)


def _chunks(url: str, by_hand: Path) -> Iterator[bytes]:
    """Yield the bytes from the server; only the network's errors can occur here, not the disk's."""
    try:
        with urlopen(Request(url, headers={"User-Agent": "divseg"}), timeout=TIMEOUT_S) as answer:
            missing = int(answer.headers.get("Content-Length", 0))
            while chunk := answer.read(_CHUNK):
                missing -= len(chunk)
                yield chunk
            if missing > 0:
                raise _failed(url, f"the connection closed {missing} bytes early", by_hand)
    except HTTPError as error:
        raise _failed(url, f"the server answered {error.code} {error.reason}", by_hand) from error
    except URLError as error:
        raise _failed(url, str(error.reason) or type(error.reason).__name__, by_hand) from error
    except (OSError, http.client.HTTPException) as error:
        raise _failed(url, str(error) or type(error).__name__, by_hand) from error


def _failed(url: str, cause: str, by_hand: Path) -> ModelError:
    return ModelError(f"{url} could not be downloaded ({cause}); connect to the network and {_advice(by_hand)}")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _install(archive: Path, sha256: str, folder: Path) -> None:
    """Unpack beside the target, then rename; another process may do the same at the same time."""
    staging = folder.parent / f".{folder.name}.{secrets.token_hex(4)}{PART}"
    staging.mkdir()
    try:
        files = {}
        for name, data in _model_files(archive):
            (staging / name).write_bytes(data)
            files[name] = hashlib.sha256(data).hexdigest()
        (staging / RECORD).write_text(json.dumps({"archive": sha256, "files": files}, indent=2), encoding="utf-8")
        _exchange(staging, folder, sha256)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _exchange(staging: Path, folder: Path, sha256: str) -> None:
    """Put an unpacked model in its place, unless a good one is or arrives there meanwhile."""
    for attempt in range(_ATTEMPTS):
        if verify(folder, sha256) is None:  # another process was first
            return
        old = staging.with_suffix(f".old{attempt}")
        try:
            with contextlib.suppress(FileNotFoundError):
                os.replace(folder, old)
            os.replace(staging, folder)
            return
        except OSError:
            # another process put its model there between the two steps; look at it
            if attempt == _ATTEMPTS - 1:
                raise
        finally:
            shutil.rmtree(old, ignore_errors=True)


def _model_files(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files beside ``config.json``; refuse an archive that reaches out of its folder."""
    try:
        with zipfile.ZipFile(archive) as bundle:
            members = [member for member in bundle.infolist() if not member.is_dir()]
            for member in members:
                _check_member(archive, member)
            if sum(member.file_size for member in members) > MAX_BYTES:
                raise ModelError(f"{archive}: it would unpack to more than {MAX_BYTES >> 20} MB; that is not a model")
            homes = {PurePosixPath(m.filename).parent for m in members if _base(m) == "config.json"}
            if len(homes) != 1:
                count = "several" if homes else "no"
                raise ModelError(f"{archive}: the archive holds {count} config.json; it is not one StarDist model")
            (home,) = homes
            for member in members:
                if PurePosixPath(member.filename).parent == home and _base(member).endswith((".json", ".h5")):
                    yield _base(member), bundle.read(member)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{archive}: the archive cannot be unpacked ({error})") from error


def _base(member: zipfile.ZipInfo) -> str:
    return PurePosixPath(member.filename).name


def _check_member(archive: Path, member: zipfile.ZipInfo) -> None:
    path = PurePosixPath(member.filename)
    out = path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename
    if out or stat.S_ISLNK(member.external_attr >> 16):
        raise ModelError(
            f"{archive}: the archive holds {member.filename!r}, which reaches out of its folder; it is not unpacked"
        )
