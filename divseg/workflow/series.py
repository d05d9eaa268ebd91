"""Frames of one file are results of their own; at the end their labels are put together as a stack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from divseg.io import read_labels
from divseg.io.labels import write_label_stack
from divseg.io.limits import limit_bytes
from divseg.workflow.stage import RunContext, RunStage
from divseg.workflow.units import ImageUnit


def series_stage(units: Sequence[ImageUnit], stage: str) -> RunStage | None:
    """Return the stage that writes a stack of labels for each series of frames, None if there are no frames.

    Labels of different frames are not linked: what is 3 in one frame is not what is 3 in the next. A series of which a
    frame has failed gets no stack, whose planes would stand for the wrong times.

    Parameters
    ----------
    units : sequence of ImageUnit
        All images of the run.
    stage : str
        The stage that writes the labels of an image.
    """
    series: dict[str, list[ImageUnit]] = {}
    for unit in units:
        if unit.ref.frame:
            series.setdefault(unit.ref.frame, []).append(unit)
    if not series:
        return None

    def write(context: RunContext) -> dict[str, Any]:
        done, written = {unit.name for unit in context.units}, []
        for name, frames in series.items():
            size = sum(4 * int(np.prod(unit.ref.shape)) for unit in frames)
            if missing := [unit.name for unit in frames if unit.name not in done]:
                context.reporter.say(f"note: no stack of {name}: {len(missing)} of {len(frames)} frames are missing")
            elif size > limit_bytes():
                context.reporter.say(f"note: no stack of {name}: it would take {size / 1e9:.3g} GB of memory")
            else:
                ref = frames[0].ref
                labels = np.stack([read_labels(context.store.labels(unit.name)) for unit in frames])
                write_label_stack(context.store.series(name), labels, ref.pixel_size, ref.source.interval)
                written.append(name)
        return {"series": written}

    return RunStage(
        "series",
        write,
        {"frames": {name: [unit.name for unit in frames] for name, frames in series.items()}},
        needs=(stage, "failures"),
        recall=lambda context, outcome: all(context.store.series(name).is_file() for name in outcome["series"]),
    )
