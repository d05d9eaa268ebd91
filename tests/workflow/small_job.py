"""A job of stages that do almost nothing: its units are text files of one number."""

import warnings
from dataclasses import dataclass, field

import pandas as pd

from divseg.errors import DivsegWarning, InputError, OutputError
from divseg.workflow.engine import Job, perform
from divseg.workflow.sharing import Options
from divseg.workflow.stage import RunStage, Stage


@dataclass(frozen=True)
class Note:
    """A unit that is a text file of one number."""

    path: object
    settings: dict = field(default_factory=dict)

    @property
    def name(self):
        return self.path.stem

    @property
    def file(self):
        return self.path

    @property
    def sources(self):
        return ("note",)

    def stat(self, source):
        stat = self.path.stat()
        return [stat.st_size, stat.st_mtime_ns]

    def fingerprint(self, source):
        return self.path.read_text()

    def row(self):
        return {"file": str(self.path)}

    def load(self):
        return int(self.path.read_text())

    def record(self):
        return {"name": self.name}


def double(context):
    value = context.load()
    if value == 13:
        raise InputError("13 is unlucky; choose another number")
    if value == 14:
        raise ZeroDivisionError("fourteen")
    if value == 15:
        raise OutputError("the disk is full")
    if value == 17:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    if value == 16:
        warnings.warn("sixteen is large", DivsegWarning, stacklevel=1)
    context.tools.append(f"double {context.unit.name}")
    context.memory["twice"] = 2 * value
    context.write.info["twice"] = 2 * value
    context.write.row |= {**context.unit.row(), "twice": 2 * value}
    context.write.objects(pd.DataFrame({"label": range(value)}))


def recall_double(context):
    context.tools.append(f"recall {context.unit.name}")
    context.memory["twice"] = context.marker.stages["double"].info["twice"]
    return True


def add(context):
    context.tools.append(f"add {context.unit.name}")
    context.write.row["sum"] = context.memory["twice"] + 1


def stages(addend=1, factor=2, version=1):
    return [
        Stage("double", double, {"factor": factor}, needs=("choose",), reads=("note",), recall=recall_double),
        Stage("add", add, {"addend": addend}, needs=("double",), version=version),
    ]


class Heard:
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)

    def training(self, row):
        raise AssertionError

    def images(self, done, total, now):
        pass


def job(folder, done=None, choice=1, **changes):
    done = [] if done is None else done

    def choose(context):
        done.append("choose")
        return {"choice": choice}

    units = [Note(path) for path in sorted(folder.iterdir())]
    return Job(
        "fuse",
        units,
        lambda _: stages(**changes),
        [RunStage("choose", choose, {"among": choice})],
        tools=lambda *_: done,
        lines=lambda store, tables: [f"{len(tables['images'])} done"],
        invocation={"folder": str(folder)},
    )


def work(folder, tmp_path, options=None, reporter=None, **changes):
    done = []
    result = perform(job(folder, done, **changes), tmp_path / "out", options or Options(), reporter or Heard())
    return result, done
