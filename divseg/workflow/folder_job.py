"""A folder of images, one after the other: what is finished is skipped, what fails is a row, Ctrl-C loses nothing."""

from __future__ import annotations

import logging
import time
import traceback
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from divseg.errors import DivsegError, DivsegWarning, OutputError
from divseg.io import Image, ImageRef, InputReport, config_hash, fingerprint
from divseg.results import RunStore
from divseg.results.rows import failure_rows
from divseg.versions import versions
from divseg.workflow.progress import Reporter

if TYPE_CHECKING:
    from divseg.results import UnitWriter

log = logging.getLogger("divseg")


@dataclass(frozen=True)
class FolderResult:
    """What came of a folder of images."""

    out: Path
    n_images: int
    n_failed: int
    text: str = ""
    """What to show the user at the end."""


class FolderJob(ABC):
    """The images of one folder, and what is done to each.

    Parameters
    ----------
    found : InputReport
        The images, and the files that are none.
    store : RunStore
        Where results go.
    identity : dict
        What the results depend on beside the pixels: images finished with the same are skipped.
    tell : Reporter
    """

    stage = "image"
    """Name of the work in failures.csv."""

    def __init__(self, found: InputReport, store: RunStore, identity: dict[str, Any], tell: Reporter) -> None:
        self.found, self.store, self.tell = found, store, tell
        self.key = config_hash({**identity, "divseg": versions()["divseg"]})
        self.failures = failure_rows(found.problems)
        self.done: list[str] = []

    @abstractmethod
    def work(self, image: Image, writer: UnitWriter) -> dict[str, Any]:
        """Do the work on one image, write its files, and return the figures of its row of images.csv."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Return what run.json tells beside the counts and versions."""

    @abstractmethod
    def words(self, tables: dict[str, pd.DataFrame]) -> str:
        """Return one line on what was done."""

    def go(self, source: Any) -> FolderResult:
        """Work on every image, and write the tables, also where Ctrl-C came in between."""
        refs = self.found.images.refs
        interrupted, skipped = False, 0
        try:
            for i, ref in enumerate(refs):
                self.tell.images(i, len(refs), ref.name)
                skipped += self._one(ref)
            self.tell.images(len(refs), len(refs), "all done")
        except KeyboardInterrupt:
            interrupted = True
            self.tell.say("interrupted: writing the tables of what is finished")
        if skipped:
            self.tell.say(f"{skipped} of {len(refs)} images were finished before and are skipped")
        result = self._finish(source)
        if interrupted:
            raise KeyboardInterrupt
        return result

    @property
    def total(self) -> int:
        """Images and files that are none."""
        return len(self.found.images.refs) + len(self.found.problems)

    def _one(self, ref: ImageRef) -> bool:
        """Work on one image; return True where it was finished before."""
        writer = None
        try:
            image = ref.load()
            mark = fingerprint(image)
            if self.store.is_done(ref.name, self.key, mark):
                self.done.append(ref.name)
                return True
            writer = self.store.start(ref.name, self.key, mark)
            began = time.monotonic()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", DivsegWarning)
                figures = self.work(image, writer)
            told = list(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, DivsegWarning)))
            for words in told:
                self.tell.say(f"note: {ref.name}: {words}")
            seconds = round(time.monotonic() - began, 2)
            row = {"file": str(ref.path), "height": image.shape[0], "width": image.shape[1], **figures}
            writer.finish(row | {"seconds": seconds, "warnings": "\n".join(told)})
            self.done.append(ref.name)
        except OutputError:
            raise  # the disk, not the image: the next one would fail as well
        except Exception as error:
            text = " ".join(str(error).split()) or type(error).__name__
            if not isinstance(error, DivsegError):
                log.error("%s: %s", ref.name, traceback.format_exc())
                text = f"{type(error).__name__}: {text}"
            self.failures.append({"image": ref.name, "file": str(ref.path), "stage": self.stage, "error": text})
            self.tell.say(f"failed: {ref.name}: {text}")
            if writer is not None:
                writer.fail(text)
        return False

    def _finish(self, source: Any) -> FolderResult:
        tables = self.store.collect(self.done)
        kept = {name: tables[name] for name in ("images", "objects") if name == "images" or len(tables[name])}
        failures = pd.DataFrame(self.failures, columns=["image", "file", "stage", "error"])
        self.store.write_tables({**kept, "failures": failures})
        facts = {
            "divseg": versions()["divseg"],
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "input": str(source),
            "n_images": len(self.done),
            "n_failed": len(self.failures),
        }
        self.store.write_run({**facts, **self.facts()})
        lines = [self.words(tables)]
        if self.failures:
            lines.append(f"{len(self.failures)} failed: see {self.store.table('failures')}")
        lines.append(f"results: {self.store.folder}")
        return FolderResult(self.store.folder, len(self.done), len(self.failures), "\n".join(lines))
