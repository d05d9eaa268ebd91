"""Run mutations: each input is read or refused in one line, soon and in little memory."""

import contextlib
import io
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from divseg.errors import DivsegError, DivsegWarning
from tests.fuzz import kinds as kinds_
from tests.fuzz import mutate

SECONDS = 5  # of the processor: how busy the machine is does not count
GIGABYTES = 2.0


class Hang(BaseException):
    """An input that takes longer than it may."""


@dataclass
class Tally:
    """What became of the inputs.

    Attributes
    ----------
    outcomes : dict of str to Counter
        For each kind: read, refused, traceback, hang.
    findings : list of str
        Kind, number and trace of each input that was neither read nor refused; of one place the first.
    seen : Counter
        How often each place was met.
    slowest : float
        Seconds of the slowest.
    """

    outcomes: dict = field(default_factory=dict)
    findings: list = field(default_factory=list)
    seen: Counter = field(default_factory=Counter)
    slowest: float = 0.0

    def lines(self):
        """Return the table as text."""
        names = ("read", "refused", "traceback", "hang")
        total = Counter()
        for counts in self.outcomes.values():
            total.update(counts)
        rows = [*sorted(self.outcomes.items()), ("all", total)]
        width = max(len(kind) for kind, _ in rows)
        lines = ["kind".ljust(width) + "".join(name.rjust(11) for name in names)]
        lines += [kind.ljust(width) + "".join(str(counts[name]).rjust(11) for name in names) for kind, counts in rows]
        lines += [f"{n} times {place}" for place, n in self.seen.items()]
        return [*lines, f"slowest {self.slowest:.2f} s; peak of memory {peak_gigabytes():.2f} GB"]


def peak_gigabytes():
    """Return the peak of the memory of this process."""
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e9


def fuzz(kinds, work, *, numbers, seed=0, tally=None):
    """Mutate and read.

    Parameters
    ----------
    kinds : dict of str to Kind
        What is mutated.
    work : Path
        Folder for changed files; emptied each time.
    numbers : iterable of int
        Numbers of the inputs; input k is of kind k modulo their number and the same every time.
    seed : int
        Seed of all mutations.
    tally : Tally, optional
        Goes on counting there.
    """
    tally = tally or Tally()
    names = list(kinds)
    for number in numbers:
        name = names[number % len(names)]
        rng = np.random.default_rng([seed, number])
        folder = work / "in"
        shutil.rmtree(folder, ignore_errors=True)
        read = _prepare(kinds[name], folder, rng)
        began = time.process_time()
        outcome = _outcome(read, tally, f"{name}, input {number}")
        tally.slowest = max(tally.slowest, time.process_time() - began)
        tally.outcomes.setdefault(name, Counter())[outcome] += 1
    return tally


def _prepare(kind, folder, rng):
    """Write the changed folder; return what reads it."""
    shutil.copytree(kind.folder, folder)
    if kind.read is None:
        name = mutate.strange_name(rng)
        return lambda: kinds_.read_name(folder, name)
    path = folder / kind.file
    path.write_bytes(kind.change(path.read_bytes(), rng))
    return lambda: kind.read(folder, path)


def _outcome(read, tally, where):
    def expired(*_):
        raise Hang

    before = signal.signal(signal.SIGPROF, expired)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            warnings.simplefilter("ignore", DivsegWarning)
            read()
        return "read"
    except DivsegError as error:
        text = str(error)
        if "\n" in text or any(ord(c) < 32 for c in text) or len(text) > 3000:
            place = f"not one line {type(error).__name__}: {text.partition(': ')[2][:40]!r}"
            tally.seen[place] += 1
            if tally.seen[place] == 1:
                tally.findings.append(f"{where}: {place} {text[:500]!r}")
            return "traceback"
        return "refused"
    except Hang:
        tally.findings.append(f"{where}: longer than {SECONDS} s\n{traceback.format_exc()}")
        return "hang"
    except Exception as error:
        places = [
            f"{f.filename}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__) if "divseg" in f.filename
        ]
        place = f"{type(error).__name__} {places[-1] if places else ''}"
        tally.seen[place] += 1
        if tally.seen[place] == 1:
            tally.findings.append(f"{where}:\n{traceback.format_exc()}")
        return "traceback"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
