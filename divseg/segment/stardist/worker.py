"""A process that turns candidates into objects, job after job: ``python -m divseg.segment.stardist.worker``.

Jobs and results are pickles on standard input and output. The end of the input ends the process, also where the
parent was killed: nothing is left behind.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from typing import BinaryIO


def main() -> None:
    """Serve until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when work ends
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not get between the pickles
    jobs = sys.stdin.buffer

    import numpy as np

    from divseg.segment.stardist.objects import Job, find_objects

    # load everything that a job needs before the first one comes
    ray = np.ones((2, 32), np.float32)
    find_objects(Job(ray[:, 0] * 0.5, ray * 3, np.array([[4, 4], [12, 12]]), (16, 16), 0.4))
    _send(answers, ("ready", None))
    while True:
        try:
            job = pickle.load(jobs)
        except EOFError:
            return
        answer: tuple[str, object]
        try:
            answer = ("done", find_objects(job))
        except Exception:
            answer = ("failed", traceback.format_exc())
        _send(answers, answer)


def _send(stream: BinaryIO, answer: tuple[str, object]) -> None:
    try:
        pickle.dump(answer, stream, protocol=5)
        stream.flush()
    except BrokenPipeError:  # the parent is gone
        os._exit(0)


if __name__ == "__main__":
    main()
