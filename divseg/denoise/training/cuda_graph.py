"""A step of training as one CUDA graph: recorded once, replayed from then on.

A step is a thousand small operations, and to start each of them takes the host longer than the card needs for it. A
graph starts them all with one call. See "CUDA semantics: CUDA graphs" in the documentation of PyTorch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import torch

from divseg.denoise.training.step import TrainStep
from divseg.errors import DivsegWarning

Work = Callable[[], None]

WARM_UP = 3
"""Steps that are taken one operation at a time before the graph is recorded: libraries choose their algorithms, and
the optimizer makes its state."""


class Recorder(Protocol):
    """How work on a device is done one operation at a time, and how it is recorded."""

    def plainly(self, work: Work) -> None:
        """Do the work."""

    def record(self, work: Work) -> Work:
        """Record the work without doing it; return what does it.

        Raises
        ------
        RuntimeError
            If the work cannot be recorded.
        """


class Repeated:
    """The step of a training run: called plainly at first, then recorded, then replayed.

    Every call takes one step. If recording fails, steps are taken plainly for good, with one warning.

    Parameters
    ----------
    step : TrainStep
        Recorded with its tensors and its generator.
    recorder : Recorder
        Of the step's device.
    """

    def __init__(self, step: TrainStep, recorder: Recorder) -> None:
        self._step, self._recorder = step, recorder
        self._calls = 0
        self._replay: Work | None = None

    def __call__(self) -> None:
        """Take a step."""
        if self._calls == WARM_UP:
            self._record()
        self._calls += 1
        if self._replay is not None:
            self._replay()
        else:
            self._recorder.plainly(self._step.advance)

    def _record(self) -> None:
        state = self._step.generator.get_state()
        try:
            self._replay = self._recorder.record(self._step.advance)
        except RuntimeError as error:
            # a generator may be left in the state of the recording that failed
            self._step.generator = torch.Generator(self._step.device)
            self._step.generator.set_state(state)
            warnings.warn(
                f"training goes on without a CUDA graph, which is slower ({str(error).splitlines()[0]})",
                DivsegWarning,
                stacklevel=2,
            )


class CudaRecorder:
    """Records work on a CUDA GPU, on a stream of its own.

    Parameters
    ----------
    step : TrainStep
        Its generator goes on in the graph where it was.
    """

    def __init__(self, step: TrainStep) -> None:
        self._step = step
        self._stream = torch.cuda.Stream(step.device)

    def plainly(self, work: Work) -> None:
        """Do the work on the stream, after what the current one has begun."""
        current = torch.cuda.current_stream(self._step.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream), _same_sums():
            work()
        current.wait_stream(self._stream)

    def record(self, work: Work) -> Work:
        """Return the graph's replay; work of other threads on the card does not disturb the recording."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._step.generator)
        with (  # the outer stream context: that of a failed recording is never left
            torch.cuda.stream(self._stream),
            _same_sums(),
            torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"),
        ):
            work()
        return graph.replay


def _same_sums() -> AbstractContextManager[None]:
    """Return a context in which cuDNN adds in the same order every time: same seed, same model."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
    return flags


def repeated(step: TrainStep) -> Work:
    """Return what takes a step each time it is called: a graph on a CUDA GPU, the function itself elsewhere."""
    return Repeated(step, CudaRecorder(step)) if step.device.type == "cuda" else step.advance
